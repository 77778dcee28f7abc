//! `dis`, `dis -l` and gdb's `x/…i`: instructions in AT&T syntax, and the source lines around them.
use super::numbers::{address, hex, is_symbol, offset, prefixed};
use crate::evidence::Instruction;

/// What begins a remark that a person wrote behind an instruction.
const REMARKS: [&str; 6] = ["//", "--->", "<---", "===>", "<===", "/*"];
/// What only operands begin with.
const OPERANDS: [char; 4] = ['$', '%', '*', '('];

/// `0xffffffff84287f8b <__kmalloc+171>:     mov    0x0(%rbp,%rax,1),%rbx`.
///
/// `within` is the function that the lines above named, for gdb's `disassemble` and objdump.
pub(super) fn instruction(
    text: &str,
    line: usize,
    within: Option<&Function>,
) -> Option<Instruction> {
    let text = text.trim_start();
    let text = text.strip_prefix("=>").map_or(text, str::trim_start);
    let (at, symbol, rest) = match text.split_once(">:") {
        Some((head, rest)) => {
            let (at, symbol) = head.split_once('<')?;
            (prefixed(at.trim())?, symbol, rest)
        }
        // objdump: an address, the bytes between tabs, the instruction.
        None => {
            let (at, rest) = text.split_once(":\t")?;
            rest.contains('\t').then_some((address(at)?, "", rest))?
        }
    };
    let place = place(symbol, at, within);
    let text = without_bytes(normalised(before_remark(rest)));
    let mnemonic = text.split(' ').next().unwrap_or_default();
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'(' || b == b')';
    let fits = mnemonic.starts_with(|c: char| c.is_ascii_lowercase() || c == '(')
        && mnemonic.bytes().all(lower);
    (fits && mnemonic.len() <= 24).then_some(Instruction {
        address: Some(at),
        place,
        text,
        source: None,
        line,
    })
}

/// The function that the following instructions lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    name: String,
    /// Where it begins, where the line says so.
    at: Option<u64>,
}

/// `Dump of assembler code for function schedule_idle:`, or objdump's `ffffffff810ed420 <schedule_idle>:`.
pub(super) fn function(text: &str) -> Option<Function> {
    let text = text.trim();
    let head = text.strip_suffix(':')?;
    let (name, at) = match head.strip_prefix("Dump of assembler code for function ") {
        Some(name) => (name, None),
        None => {
            let (at, symbol) = head.split_once(" <")?;
            (symbol.strip_suffix('>')?, Some(address(at)?))
        }
    };
    is_symbol(name).then(|| Function {
        name: name.to_owned(),
        at,
    })
}

/// The place that a line names: with a function, or by an offset alone, or not at all.
fn place(symbol: &str, at: u64, within: Option<&Function>) -> Option<(String, u64)> {
    let inside = |offset_in: Option<u64>| Some((within?.name.clone(), offset_in?));
    match symbol.strip_prefix('+') {
        Some(offset_text) => inside(offset(offset_text)),
        None if symbol.is_empty() => inside(at.checked_sub(within?.at?)),
        None => named(symbol),
    }
}

/// An instruction without its bytes before it and crash's mark behind it.
fn without_bytes(text: String) -> String {
    let byte = |word: &str| word.len() == 2 && hex(word).is_some();
    let words: Vec<&str> = text.split(' ').skip_while(|word| byte(word)).collect();
    let text = words.join(" ");
    match text.strip_suffix(" [FTRACE NOP]") {
        Some(plain) => plain.to_owned(),
        None => text,
    }
}

/// `__kmalloc+171`.
fn named(symbol: &str) -> Option<(String, u64)> {
    let (name, offset_text) = symbol.split_once('+').unwrap_or((symbol, "0"));
    is_symbol(name).then(|| Some((name.to_owned(), offset(offset_text)?)))?
}

/// One blank between words.
fn normalised(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ")
}

/// An instruction's line without what a person wrote behind it; other lines as they are.
pub(super) fn without_remark(text: &str) -> &str {
    match text.find(">:") {
        Some(head) => {
            let after = text.get(head..).unwrap_or_default();
            let kept = head + before_remark(after).len();
            text.get(..kept).unwrap_or(text).trim_end()
        }
        None => text,
    }
}

fn before_remark(text: &str) -> &str {
    let first = REMARKS.iter().filter_map(|mark| text.find(mark)).min();
    first.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Whether `next` continues an instruction that was wrapped: `Some(true)` in the middle of a word, `Some(false)` at a
/// blank.
pub(super) fn goes_on(text: &str, next: &str, at_the_edge: bool) -> Option<bool> {
    if next.split_ascii_whitespace().count() > 3 {
        return None;
    }
    let operand = next.starts_with(OPERANDS) || next.starts_with("0x");
    // What crash and gdb add behind an instruction.
    let remarked = next.starts_with("# ")
        || next.starts_with("[FTRACE")
        || text.ends_with(" [FTRACE")
        || (text.ends_with(" #") && next.starts_with("0x"));
    if next.starts_with('<') || remarked || (operand && !text.contains(' ')) {
        return Some(false);
    }
    at_the_edge.then_some(true)
}

/// Whether a line begins as an instruction does.
pub(super) fn looks_like_instruction(text: &str) -> bool {
    let text = text.trim_start();
    let (at, rest) = text.split_once(' ').unwrap_or((text, ""));
    prefixed(at).is_some_and(|at| at >> 47 != 0) && rest.trim_start().starts_with('<')
}

/// `/usr/src/linux/mm/slub.c: 283`, with `dis -l` above instructions and with `bt -l` below frames.
pub(super) fn source(text: &str) -> Option<String> {
    let text = text.trim();
    let (file, line) = text.rsplit_once(':')?;
    let line = line.trim();
    let number = !line.is_empty() && line.len() <= 7 && line.bytes().all(|b| b.is_ascii_digit());
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    let known = matches!(extension, Some("c" | "h" | "S" | "s" | "rs"));
    (number && known && !file.contains(char::is_whitespace)).then(|| format!("{file}: {line}"))
}
