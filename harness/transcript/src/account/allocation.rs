//! What the allocator was asked for, by elimination: the only register values that fit.
use super::registers::value;
use super::{Allocation, Basis, Cache, Check, Known, Registers, Told};
use recrash_kernel::gfp::GfpNames;
use recrash_kernel::regs::PT_REGS_NAMES;

/// Sizes of kmalloc's caches (include/linux/slab.h, kmalloc_index).
const CLASSES: &[u64] = &[
    0, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192,
];

pub(super) fn of(
    registers: Option<&Registers>,
    cache: &Told<Cache>,
    release: &Told<String>,
    checks: &[Check],
) -> Told<Allocation> {
    let registers = registers.ok_or("no registers")?;
    let explained: Vec<&str> = checks
        .iter()
        .filter(|check| check.holds)
        .filter_map(|check| check.what.rsplit(" == ").next())
        .collect();
    let free: Vec<(&str, u64)> = PT_REGS_NAMES
        .iter()
        .take(15)
        .filter(|name| !explained.contains(*name))
        .filter_map(|name| Some((*name, value(registers, name)?)))
        .collect();
    let size = size(&free, cache);
    let names = release
        .as_ref()
        .ok()
        .and_then(|known| GfpNames::of_release(&known.value));
    let flags = match &names {
        Some(names) => flags(&free, names),
        None => Err("the names of allocation flags of this kernel are not known".into()),
    };
    let flag_names = flags
        .as_ref()
        .ok()
        .zip(names)
        .map(|(known, names)| names.spell(known.value));
    if size.is_err() && flags.is_err() {
        return Err(format!(
            "size: {}; flags: {}",
            size.err().unwrap_or_default(),
            flags.err().unwrap_or_default()
        ));
    }
    let basis = vec![Basis::Follows("by elimination among the registers".into())];
    Ok(Known {
        value: Allocation {
            size,
            flags,
            flag_names,
        },
        basis,
    })
}

fn only(fits: Vec<(&str, u64)>, what: &str) -> Told<u64> {
    let Some((_, value)) = fits.first().copied() else {
        return Err(format!("no register holds {what}"));
    };
    if fits.iter().any(|(_, other)| *other != value) {
        return Err(format!(
            "several registers hold {what}, with different values"
        ));
    }
    let registers: Vec<&str> = fits.iter().map(|(name, _)| *name).collect();
    Ok(Known {
        value,
        basis: vec![Basis::Follows(format!(
            "by elimination: only {} holds {what}",
            registers.join(", ")
        ))],
    })
}

fn size(free: &[(&str, u64)], cache: &Told<Cache>) -> Told<u64> {
    let cache = &cache
        .as_ref()
        .map_err(|why| format!("the cache is not known: {why}"))?
        .value;
    let is_kmalloc = cache
        .name
        .as_ref()
        .is_some_and(|name| name.starts_with("kmalloc-"));
    let size = cache
        .object_size
        .filter(|size| is_kmalloc && CLASSES.contains(size))
        .ok_or("the cache is none of kmalloc's size classes")?;
    let below = CLASSES
        .iter()
        .rev()
        .find(|class| **class < size)
        .copied()
        .unwrap_or(0);
    let fits = free
        .iter()
        .copied()
        .filter(|(_, value)| *value > below && *value <= size)
        .collect();
    only(
        fits,
        &format!(
            "a size of {} to {size}, which the cache serves",
            below.saturating_add(1)
        ),
    )
}

fn flags(free: &[(&str, u64)], names: &GfpNames) -> Told<u64> {
    let zones = ["__GFP_DMA", "__GFP_HIGHMEM", "__GFP_DMA32"];
    let reclaim = names.bits("__GFP_KSWAPD_RECLAIM").unwrap_or(0);
    let fits = free.iter().copied().filter(|(_, value)| {
        let zones = zones
            .iter()
            .filter(|zone| names.bits(zone).is_some_and(|bit| value & bit != 0))
            .count();
        value & !names.mask() == 0 && value & reclaim != 0 && zones <= 1
    });
    only(fits.collect(), "a valid set of allocation flags")
}
