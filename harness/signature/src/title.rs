//! One-line names: the crash in syzkaller's style, the bug by what was overwritten with what.

use crate::model::{Corruption, Decoded, Fault, FaultClass};

/// `stack segment fault in __kmalloc`, as syzkaller names an oops by its header and function.
pub fn title(fault: &Fault) -> String {
    let what = match fault.class.value() {
        Some(FaultClass::Null) => "BUG: unable to handle kernel NULL pointer dereference",
        Some(FaultClass::Bug) => "kernel BUG",
        Some(FaultClass::Warning) => "WARNING",
        _ => fault.vector.value().map_or("crash", |&v| vector_title(v)),
    };
    match fault.function.value() {
        Some(function) => format!("{what} in {function}"),
        None => what.to_owned(),
    }
}

/// How the oops header calls an exception (Linux arch/x86/kernel/traps.c and mm/fault.c).
fn vector_title(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        3 => "int3",
        4 => "overflow",
        5 => "bounds",
        6 => "invalid opcode",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        14 => "BUG: unable to handle kernel paging request",
        17 => "alignment check",
        18 => "machine check",
        19 => "simd exception",
        21 => "control protection",
        _ => "unknown exception",
    }
}

/// `freelist of kmalloc-256 overwritten by a USB string descriptor`; `None` where the site or the
/// contents are not known.
pub fn bug(corruption: &Corruption) -> Option<String> {
    let site = corruption.site.value()?;
    let by = match corruption.decoded.value()? {
        Decoded::UsbDescriptor { descriptor, .. } => format!("a USB {descriptor} descriptor"),
        Decoded::Text { encoding, .. } => format!("{encoding} text"),
        Decoded::Poison { name } => format!("poison {name}"),
        Decoded::BitFlip { .. } => return Some(format!("{site} has one bit flipped")),
        Decoded::Unknown {} => "unknown data".to_owned(),
    };
    Some(format!("{site} overwritten by {by}"))
}
