//! Exceptions of x86-64: vectors, names, and the kernel's entry points for them. A table; reads nothing.

/// One exception vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// Vector number (Intel SDM volume 3, table 6-1).
    pub vector: u8,
    /// Mnemonic, for example `#GP`.
    pub mnemonic: &'static str,
    /// What the kernel calls it in an oops.
    pub name: &'static str,
    /// Entry points: the name since 5.8 (`asm_exc_*`, arch/x86/include/asm/idtentry.h), then the older one
    /// (arch/x86/entry/entry_64.S).
    entries: [&'static str; 2],
}

const fn trap(
    vector: u8,
    mnemonic: &'static str,
    name: &'static str,
    new: &'static str,
    old: &'static str,
) -> Trap {
    Trap {
        vector,
        mnemonic,
        name,
        entries: [new, old],
    }
}

/// The exceptions that a kernel can die of.
pub const TRAPS: &[Trap] = &[
    trap(
        0,
        "#DE",
        "divide error",
        "asm_exc_divide_error",
        "divide_error",
    ),
    trap(1, "#DB", "debug exception", "asm_exc_debug", "debug"),
    trap(2, "NMI", "non-maskable interrupt", "asm_exc_nmi", "nmi"),
    trap(3, "#BP", "int3", "asm_exc_int3", "int3"),
    trap(4, "#OF", "overflow", "asm_exc_overflow", "overflow"),
    trap(5, "#BR", "bounds", "asm_exc_bounds", "bounds"),
    trap(
        6,
        "#UD",
        "invalid opcode",
        "asm_exc_invalid_op",
        "invalid_op",
    ),
    trap(
        7,
        "#NM",
        "device not available",
        "asm_exc_device_not_available",
        "device_not_available",
    ),
    trap(
        8,
        "#DF",
        "double fault",
        "asm_exc_double_fault",
        "double_fault",
    ),
    trap(
        10,
        "#TS",
        "invalid TSS",
        "asm_exc_invalid_tss",
        "invalid_TSS",
    ),
    trap(
        11,
        "#NP",
        "segment not present",
        "asm_exc_segment_not_present",
        "segment_not_present",
    ),
    trap(
        12,
        "#SS",
        "stack segment",
        "asm_exc_stack_segment",
        "stack_segment",
    ),
    trap(
        13,
        "#GP",
        "general protection fault",
        "asm_exc_general_protection",
        "general_protection",
    ),
    trap(14, "#PF", "page fault", "asm_exc_page_fault", "page_fault"),
    trap(
        16,
        "#MF",
        "fpu exception",
        "asm_exc_coprocessor_error",
        "coprocessor_error",
    ),
    trap(
        17,
        "#AC",
        "alignment check",
        "asm_exc_alignment_check",
        "alignment_check",
    ),
    trap(
        18,
        "#MC",
        "machine check",
        "asm_exc_machine_check",
        "machine_check",
    ),
    trap(
        19,
        "#XF",
        "simd exception",
        "asm_exc_simd_coprocessor_error",
        "simd_coprocessor_error",
    ),
    trap(
        20,
        "#VE",
        "virtualization exception",
        "asm_exc_virtualization_exception",
        "virtualization_exception",
    ),
    trap(
        21,
        "#CP",
        "control protection exception",
        "asm_exc_control_protection",
        "control_protection",
    ),
];

/// The trap whose entry code has this symbol name.
#[must_use]
pub fn by_entry(symbol: &str) -> Option<&'static Trap> {
    TRAPS.iter().find(|trap| trap.entries.contains(&symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_names_its_vector_in_old_and_new_kernels() {
        assert_eq!(by_entry("stack_segment").map(|t| t.vector), Some(12));
        assert_eq!(
            by_entry("asm_exc_general_protection").map(|t| t.mnemonic),
            Some("#GP")
        );
        assert_eq!(by_entry("asm_exc_general_protection_not"), None);
        assert_eq!(
            by_entry("asm_exc_page_fault").map(|t| (t.vector, t.name)),
            Some((14, "page fault"))
        );
    }
}
