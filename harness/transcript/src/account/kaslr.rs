//! Whether KASLR moved the kernel: by the regions that it moves together with the text.
use super::case::Case;
use super::registers::{basis, value};
use super::slab::member;
use super::{Basis, Known, Registers, Told};

/// `struct page` array of kernels whose memory is not moved (Documentation/x86/x86_64/mm.txt, 4 levels).
const PAGES: std::ops::Range<u64> = 0xffff_ea00_0000_0000..0xffff_eb00_0000_0000;
/// vmalloc area, where stacks lie with VMAP_STACK (there).
const VMALLOC: std::ops::Range<u64> = 0xffff_c900_0000_0000..0xffff_e900_0000_0000;
/// Direct map of machines with up to 1 TiB, before and since 4.20.
const DIRECT: [std::ops::Range<u64>; 2] = [
    0xffff_8800_0000_0000..0xffff_8900_0000_0000,
    0xffff_8880_0000_0000..0xffff_8980_0000_0000,
];

pub(super) fn of(case: &Case<'_>, registers: Option<&Registers>) -> Told<bool> {
    let page = case
        .structs("kmem_cache_cpu")
        .find_map(|found| member(found, "page").or_else(|| member(found, "slab")));
    let (value, mut known, default) = if let Some((page, line)) = page.filter(|page| page.0 != 0) {
        (page, vec![line], PAGES.contains(&page))
    } else {
        let registers = registers.ok_or("no address tells where the kernel's regions lie")?;
        let rsp = registers
            .at
            .or_else(|| value(registers, "rsp"))
            .filter(|at| at >> 47 == 0x1_ffff)
            .ok_or("no stack address")?;
        (
            rsp,
            basis(registers, "rsp"),
            VMALLOC.contains(&rsp) || DIRECT.iter().any(|range| range.contains(&rsp)),
        )
    };
    known.push(Basis::Rule(format!("{value:#x} {} the region's place without KASLR (arch/x86/mm/kaslr.c moves the regions only where the text is moved)", if default { "lies in" } else { "lies outside" })));
    Ok(Known {
        value: !default,
        basis: known,
    })
}
