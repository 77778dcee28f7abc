//! General registers by any of their names. Knows no values.

/// 64-bit name, 32, 16 and 8 bits; the high byte where there is one.
const REGISTERS: [[&str; 5]; 17] = [
    ["rax", "eax", "ax", "al", "ah"],
    ["rbx", "ebx", "bx", "bl", "bh"],
    ["rcx", "ecx", "cx", "cl", "ch"],
    ["rdx", "edx", "dx", "dl", "dh"],
    ["rsi", "esi", "si", "sil", ""],
    ["rdi", "edi", "di", "dil", ""],
    ["rbp", "ebp", "bp", "bpl", ""],
    ["rsp", "esp", "sp", "spl", ""],
    ["r8", "r8d", "r8w", "r8b", ""],
    ["r9", "r9d", "r9w", "r9b", ""],
    ["r10", "r10d", "r10w", "r10b", ""],
    ["r11", "r11d", "r11w", "r11b", ""],
    ["r12", "r12d", "r12w", "r12b", ""],
    ["r13", "r13d", "r13w", "r13b", ""],
    ["r14", "r14d", "r14w", "r14b", ""],
    ["r15", "r15d", "r15w", "r15b", ""],
    ["rip", "eip", "ip", "", ""],
];

fn find(name: &str) -> Option<(&'static str, usize)> {
    if name.is_empty() {
        return None;
    }
    REGISTERS.iter().find_map(|names| {
        let column = names.iter().position(|known| *known == name)?;
        Some((*names.first()?, column))
    })
}

/// The 64-bit register that a name is a part of; `None` for what is no general register.
#[must_use]
pub fn full_name(name: &str) -> Option<&'static str> {
    find(name).map(|(full, _)| full)
}

/// Width in bits. A write of 32 bits clears the upper half (Intel SDM volume 1, 3.4.1.1), a narrower one keeps it.
#[must_use]
pub fn width(name: &str) -> Option<u32> {
    let (_, column) = find(name)?;
    [64, 32, 16, 8, 8].get(column).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_to_its_register_and_width() {
        for (name, full, bits) in [
            ("eax", "rax", 32),
            ("ah", "rax", 8),
            ("r15", "r15", 64),
            ("r9d", "r9", 32),
        ] {
            assert_eq!((full_name(name), width(name)), (Some(full), Some(bits)));
        }
        assert_eq!((full_name("xmm0"), full_name("")), (None, None));
    }
}
