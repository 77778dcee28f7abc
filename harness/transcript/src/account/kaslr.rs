//! Whether KASLR moved the kernel: by the regions that it moves together with the text.
use super::case::Case;
use super::registers::{basis, value};
use super::slab::member;
use super::{Basis, Known, Registers, Told};

/// Where regions begin on kernels whose memory is not moved (Documentation/x86/x86_64/mm.txt, 4 levels): the `struct
/// page` array, the vmalloc area where stacks lie with VMAP_STACK, and the direct map before and since 4.20.
const PAGES: u64 = 0xffff_ea00_0000_0000;
const STACKS: [u64; 3] = [
    0xffff_c900_0000_0000,
    0xffff_8800_0000_0000,
    0xffff_8880_0000_0000,
];
/// So near to its region's beginning that a region moved by chance to there is not the better reading.
const NEAR: u64 = 16 << 30;
/// Farther than any machine fills these regions.
const FAR: u64 = 4 << 40;

pub(super) fn of(case: &Case<'_>, registers: Option<&Registers>) -> Told<bool> {
    let page = case
        .structs("kmem_cache_cpu")
        .find_map(|found| member(found, "page").or_else(|| member(found, "slab")));
    let (value, mut known, begins): (_, _, &[u64]) = match page.filter(|page| page.0 != 0) {
        Some((page, line)) => (page, vec![line], &[PAGES]),
        None => {
            let registers = registers.ok_or("no address tells where the kernel's regions lie")?;
            let rsp = registers
                .at
                .or_else(|| value(registers, "rsp"))
                .filter(|at| at >> 47 == 0x1_ffff)
                .ok_or("no stack address")?;
            (rsp, basis(registers, "rsp"), &STACKS)
        }
    };
    let distance = begins.iter().map(|begin| value.wrapping_sub(*begin)).min();
    let (moved, how) = match distance.unwrap_or(u64::MAX) {
        0..NEAR => (false, "lies where its region begins"),
        FAR.. => (true, "lies outside of its region"),
        _ => {
            return Err(format!(
                "{value:#x} fits a kernel that was moved and one that was not"
            ));
        }
    };
    known.push(Basis::Rule(format!(
        "{value:#x} {how} without KASLR (arch/x86/mm/kaslr.c moves the regions only where the text is moved)"
    )));
    Ok(Known {
        value: moved,
        basis: known,
    })
}
