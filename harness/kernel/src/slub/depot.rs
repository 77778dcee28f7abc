//! The stack depot: a handle of 32 bits to the return addresses that were saved under it (lib/stackdepot.c).
//! Layout from the types; the record's own copy of the handle says that it is the right one.
use crate::kernel::{Kernel, missing};
use crate::object::Missing;
use recrash_vmcore::{VirtAddr, VirtMem};

/// Records lie at multiples of 16 bytes (DEPOT_STACK_ALIGN).
const ALIGN_SHIFT: u32 = 4;
/// CONFIG_STACKDEPOT_MAX_FRAMES is at most 256; the depot before 6.9 had no limit of its own.
const MAX_FRAMES: u64 = 256;
/// The names that the pool index had, oldest first.
const INDEX_NAMES: [&str; 4] = ["slabindex", "slab_index", "pool_index", "pool_index_plus_1"];

/// The return addresses under a handle, innermost first.
pub(super) fn frames(kernel: &Kernel<'_>, handle: u32) -> Result<Vec<VirtAddr>, Missing> {
    let index = INDEX_NAMES
        .iter()
        .find_map(|name| part(kernel, handle, name).ok())
        .ok_or_else(|| Missing::Type("handle_parts".into()))?;
    let offset = part(kernel, handle, "offset")? << ALIGN_SHIFT;
    // `stack_slabs` until 6.2 (commit cd0fc64e76844 "lib/stackdepot: rename slab to pool").
    let pools = kernel
        .symbol("stack_pools")
        .or_else(|_| kernel.symbol("stack_slabs"))?;
    // Since 6.9 the handle counts pools from 1 (commit 3ee34eabac2a "lib/stackdepot: fix first entry having a
    // 0-handle"), for a while under the old name: the record decides.
    let mut why = Missing::Implausible(format!("stack depot handle {handle:#x} leads nowhere"));
    for pool in [index.checked_sub(1), Some(index)].into_iter().flatten() {
        let pool = pools.wrapping_add(pool.wrapping_mul(8));
        match pointer(kernel, pool)
            .and_then(|pool| record(kernel, pool.wrapping_add(offset), handle))
        {
            Ok(frames) => return Ok(frames),
            Err(missing) => why = missing,
        }
    }
    Err(why)
}

fn pointer(kernel: &Kernel<'_>, at: VirtAddr) -> Result<VirtAddr, Missing> {
    let pool = kernel.memory().u64_at(at).map_err(missing("stack_pools"))?;
    if pool == 0 {
        return Err(Missing::Implausible(
            "no such pool of the stack depot".into(),
        ));
    }
    Ok(VirtAddr(pool))
}

/// One part of a handle.
fn part(kernel: &Kernel<'_>, handle: u32, name: &str) -> Result<u64, Missing> {
    let field = kernel.field("handle_parts", name)?;
    let (shift, width) = field.bits.unwrap_or((0, 32));
    let shift = u32::from(shift) + u32::try_from(field.offset * 8).unwrap_or(64);
    let mask = 1u64
        .checked_shl(width.into())
        .map_or(u64::MAX, |bit| bit - 1);
    Ok(u64::from(handle).checked_shr(shift).unwrap_or(0) & mask)
}

fn record(kernel: &Kernel<'_>, at: VirtAddr, handle: u32) -> Result<Vec<VirtAddr>, Missing> {
    let field = |name: &str| -> Result<VirtAddr, Missing> {
        Ok(at.wrapping_add(kernel.field("stack_record", name)?.offset))
    };
    let read = |at| kernel.memory().u32_at(at).map_err(missing("stack_record"));
    let own = read(field("handle")?)?;
    // The users' extra bits are not in the record.
    let extra = kernel.field("handle_parts", "extra").ok();
    let extra = extra.and_then(|extra| extra.bits);
    let mask = extra.map_or(0, |(shift, width)| {
        ((1u64 << width.min(32)) - 1)
            .checked_shl(shift.into())
            .unwrap_or(0)
    });
    let differs = u64::from(own ^ handle) & !mask & u64::from(u32::MAX);
    if differs != 0 {
        return Err(Missing::Implausible(format!(
            "the stack depot has another record at {at}"
        )));
    }
    let count = u64::from(read(field("size")?)?);
    if count > MAX_FRAMES {
        return Err(Missing::Implausible(format!("a stack of {count} frames")));
    }
    let bytes = kernel.table(field("entries")?, count * 8, "stack_record.entries")?;
    Ok(bytes
        .chunks_exact(8)
        .filter_map(|word| Some(VirtAddr(u64::from_le_bytes(word.try_into().ok()?))))
        .collect())
}
