//! The exception that the first lines of an oops name (arch/x86/kernel/traps.c, arch/x86/mm/fault.c, `__die`).
use super::Exception;
use super::place::{hex, hex_with_0x};

/// Words of the headline and the vector (Intel SDM volume 3A, table 6-1). The first that the line holds decides.
const WORDS: &[(&str, u8)] = &[
    ("general protection fault", 13),
    ("stack segment", 12),
    ("divide error", 0),
    ("invalid opcode", 6),
    ("double fault", 8),
    ("double-fault", 8),
    ("stack guard page", 8),
    ("unable to handle kernel paging request", 14),
    ("unable to handle kernel NULL pointer", 14),
    ("unable to handle page fault", 14),
    ("kernel NULL pointer dereference", 14),
    ("Corrupted page table at address", 14),
    ("Bad pagetable", 14),
    ("segment not present", 11),
    ("invalid TSS", 10),
    ("coprocessor segment overrun", 9),
    ("device not available", 7),
    ("alignment check", 17),
    ("fpu exception", 16),
    ("simd exception", 19),
    ("control protection fault", 21),
    ("Missing ENDBR", 21),
    ("VMM Communication Exception", 29),
];

/// Words that say it only where the kernel dies of it: other headlines have them too (`out-of-bounds`).
const WORDS_OF_DIE: &[(&str, u8)] = &[
    ("overflow: ", 4),
    ("bounds: ", 5),
    ("int3: ", 3),
    ("int 3: ", 3),
];

/// What `text` says of the exception, where it is a headline, or a line that goes on with `known`.
pub(super) fn exception(text: &str, known: Option<&Exception>) -> Option<Exception> {
    let text = text.trim_start();
    let died = error_code_of_die(text);
    let head = begins(text);
    if let Some(known) = known {
        let code = died.or_else(|| error_code_of_page_fault(text))?;
        let same = vector(text).is_none_or(|vector| known.vector == Some(vector));
        return (same && known.error_code.is_none()).then(|| Exception {
            error_code: Some(code),
            ..known.clone()
        });
    }
    if !head && died.is_none() {
        return None;
    }
    let headline = headline(text);
    Some(Exception {
        vector: vector(text),
        address: address(text),
        non_canonical: text.contains("non-canonical address"),
        error_code: died.or_else(|| error_code_of_panic(text)),
        headline,
    })
    .filter(|found| found.vector.is_some() || died.is_some())
}

/// Headlines that carry no `[#1]` themselves.
fn begins(text: &str) -> bool {
    let text = text.strip_prefix("traps: ").unwrap_or(text);
    text.starts_with("BUG: ")
        || text.starts_with("PANIC: double fault")
        || text.contains(": Corrupted page table at")
}

fn vector(text: &str) -> Option<u8> {
    let died = error_code_of_die(text).is_some();
    let own = WORDS.iter().find(|(words, _)| text.contains(words));
    let short = || {
        let text = text.strip_prefix("Oops: ").unwrap_or(text);
        WORDS_OF_DIE
            .iter()
            .find(|(words, _)| died && text.starts_with(words))
    };
    own.or_else(short).map(|(_, vector)| *vector)
}

/// The words before the colon; `BUG: ` and `Oops: ` belong to them.
fn headline(text: &str) -> String {
    let mut end = 0;
    for prefix in ["traps: ", "Oops: ", "BUG: ", "PANIC: ", "Oops: "] {
        let rest = text.get(end..).unwrap_or_default();
        if rest.starts_with(prefix) {
            end += prefix.len();
        }
    }
    let rest = text.get(end..).unwrap_or_default();
    let length = rest.find(':').unwrap_or(rest.len());
    let words = text.get(..end + length).unwrap_or(text);
    words.chars().take(200).collect()
}

/// `…: 0002 [#1] SMP`.
fn error_code_of_die(text: &str) -> Option<u64> {
    let (before, after) = text.split_once(" [#")?;
    let counted = after.starts_with(|c: char| c.is_ascii_digit());
    let (_, code) = before.rsplit_once(' ')?;
    (counted && code.len() >= 4).then(|| hex(code)).flatten()
}

/// `#PF: error_code(0x0002) - not-present page` (since 5.1).
fn error_code_of_page_fault(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("#PF: error_code(")?;
    hex_with_0x(rest.split(')').next()?)
}

/// `PANIC: double fault, error_code: 0x0`.
fn error_code_of_panic(text: &str) -> Option<u64> {
    hex_with_0x(text.split_once("error_code: ")?.1.trim())
}

/// What follows the word before an address. `(null)` is how `%p` wrote 0 before 4.15.
fn address(text: &str) -> Option<u64> {
    // `%p` of a kernel address is a hash since 4.15 (arch/x86/kernel/traps.c, `handle_stack_overflow`).
    if text.contains("guard page was hit") {
        return None;
    }
    const BEFORE: [&str; 4] = ["address: ", "address ", "dereference at ", " at "];
    BEFORE.iter().find_map(|words| {
        let (_, rest) = text.split_once(words)?;
        let word = rest.trim_start().split([' ', ':', ',']).next()?;
        match word {
            "(null)" => Some(0),
            _ => hex_with_0x(word).or_else(|| hex(word).filter(|_| word.len() == 16)),
        }
    })
}
