//! One-line names: the crash in syzkaller's style, the bug by what was overwritten with what.

use crate::model::{Corruption, Decoded, Fault, FaultClass, Frames};
use crate::normalise;

/// `stack segment fault in __kmalloc`, as syzkaller names an oops by its header and function.
///
/// The allocator's internals come and go with the kernel version, so a fault in one is named after
/// the public entry: the chain's where it is one, else the one that the function stands for.
/// `fault.function` keeps the real function.
///
/// What has no faulting address (a warning, a sanitizer's report, a stall, a panic) is named by the kernel's report,
/// where that is known.
pub fn title(fault: &Fault, frames: &Frames) -> String {
    let class = fault.class.value().copied();
    let by_fault = class.map_or(fault.vector.value().is_some(), FaultClass::has_address);
    match fault.report.value() {
        Some(report) if !by_fault => report.clone(),
        _ => fault_title(fault, frames),
    }
}

/// The title by trap and function alone.
fn fault_title(fault: &Fault, frames: &Frames) -> String {
    let what = match fault.class.value() {
        Some(FaultClass::Null) => "BUG: unable to handle kernel NULL pointer dereference",
        Some(FaultClass::Bug) => "kernel BUG",
        Some(FaultClass::Warning) => "WARNING",
        _ => fault.vector.value().map_or("crash", |&v| vector_title(v)),
    };
    match fault.function.value() {
        Some(function) => format!("{what} in {}", public(function, frames)),
        None => what.to_owned(),
    }
}

/// `kernel panic: NMI: Not continuing`, as syzkaller names a panic without an oops by its message's first line.
pub fn panic_title(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    format!("kernel panic: {}", line.trim())
}

fn public<'a>(function: &'a str, frames: &'a Frames) -> &'a str {
    let entry = frames.chain.value().and_then(|chain| chain.first());
    match entry {
        Some(entry) if normalise::serves_entry(function, &entry.function) => &entry.function,
        _ => normalise::allocator_entry(function).unwrap_or(function),
    }
}

/// Whether a title is the name of an exception and nothing more.
pub(crate) fn is_bare(title: &str) -> bool {
    (0..=u8::MAX).any(|vector| vector_title(vector) == title)
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
        Decoded::SetupPacket { .. } => "a USB SETUP packet".to_owned(),
        Decoded::ErrorPointer { .. } => "an error pointer".to_owned(),
        Decoded::Number {} => "a small number".to_owned(),
        Decoded::Unknown {} => "unknown data".to_owned(),
    };
    Some(format!("{site} overwritten by {by}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Encoding, Fact, Site, Source};

    fn known<T>(value: T) -> Fact<T> {
        Fact::known(value, Source::Vmcore)
    }

    fn check(vector: u8, class: FaultClass, function: Option<&str>, chain: &str, expected: &str) {
        let fault = Fault {
            vector: known(vector),
            trap: Fact::absent(""),
            class: known(class),
            function: Fact::from_option(function.map(str::to_owned), Source::Vmcore, ""),
            offset: Fact::absent(""),
            instruction: Fact::absent(""),
            base_register: Fact::absent(""),
            base_role: Fact::absent(""),
            index_role: Fact::absent(""),
            hardware_vector: Fact::absent(""),
            report: Fact::absent(""),
        };
        let chain = chain.split_ascii_whitespace();
        let frames = Frames {
            chain: known(chain.map(|f| f.parse().unwrap()).collect()),
            syscall: Fact::absent(""),
        };
        assert_eq!(title(&fault, &frames), expected);
    }

    #[test]
    fn a_title_is_the_oops_header_and_the_function() {
        use FaultClass::{Bug, NonCanonical, Null, Other, Unmapped, Warning};
        let f = Some("f");
        check(12, NonCanonical, f, "f", "stack segment fault in f");
        check(13, NonCanonical, f, "f", "general protection fault in f");
        let paging = "BUG: unable to handle kernel paging request in f";
        check(14, Unmapped, f, "f", paging);
        let null = "BUG: unable to handle kernel NULL pointer dereference in f";
        check(14, Null, f, "f", null);
        check(6, Bug, f, "f", "kernel BUG in f");
        check(6, Warning, f, "f", "WARNING in f");
        check(8, Other, None, "", "double fault");
        check(200, Other, f, "f", "unknown exception in f");
    }

    #[test]
    fn a_panic_is_named_by_its_first_line() {
        let check = |message, expected: &str| assert_eq!(panic_title(message), expected);
        check("NMI: Not continuing", "kernel panic: NMI: Not continuing");
        check("hung\nmore", "kernel panic: hung");
    }

    #[test]
    fn an_allocator_internal_is_named_after_the_chain_s_public_entry() {
        let check = |function, chain, entry: &str| {
            let expected = format!("general protection fault in {entry}");
            check(
                13,
                FaultClass::NonCanonical,
                Some(function),
                chain,
                &expected,
            );
        };
        check("__kmem_cache_alloc_node", "__kmalloc f", "__kmalloc");
        check("___slab_alloc", "kmem_cache_alloc f", "kmem_cache_alloc");
        check("__slab_free", "kmem_cache_free f", "kmem_cache_free");
        check("___slab_alloc", "", "__kmalloc");
        check("___slab_alloc", "kfree f", "__kmalloc");
        check("memcpy", "memcpy f", "memcpy");
    }

    #[test]
    fn a_bug_is_the_site_and_what_overwrote_it() {
        let check = |decoded, expected: &str| {
            let cache = "kmalloc-256".into();
            let corruption = Corruption {
                site: known(Site::FreelistPointer { cache }),
                bytes: Fact::absent(""),
                observed: Fact::absent(""),
                decoded: known(decoded),
                confidence: Fact::absent(""),
                proof: Fact::absent(""),
            };
            assert_eq!(bug(&corruption).as_deref(), Some(expected));
        };
        let (encoding, text) = (Encoding::Utf16, "at r".into());
        check(
            Decoded::Text { encoding, text },
            "freelist of kmalloc-256 overwritten by UTF-16 text",
        );
        let name = "POISON_FREE".into();
        check(
            Decoded::Poison { name },
            "freelist of kmalloc-256 overwritten by poison POISON_FREE",
        );
        check(
            Decoded::BitFlip { bit: 3 },
            "freelist of kmalloc-256 has one bit flipped",
        );
        check(
            Decoded::Unknown {},
            "freelist of kmalloc-256 overwritten by unknown data",
        );
    }
}
