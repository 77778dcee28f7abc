//! `dis`, `dis -l` and gdb's `x/…i`: instructions in AT&T syntax, and the source lines around them.
use super::numbers::{is_symbol, offset, prefixed};
use crate::evidence::Instruction;

/// What begins a remark that a person wrote behind an instruction.
const REMARKS: [&str; 6] = ["//", "--->", "<---", "===>", "<===", "/*"];
/// What only operands begin with.
const OPERANDS: [char; 4] = ['$', '%', '*', '('];

/// `0xffffffff84287f8b <__kmalloc+171>:     mov    0x0(%rbp,%rax,1),%rbx`.
pub(super) fn instruction(text: &str, line: usize) -> Option<Instruction> {
    let text = text.trim_start();
    let text = text.strip_prefix("=>").map_or(text, str::trim_start);
    let (head, rest) = text.split_once(">:")?;
    let (at, symbol) = head.split_once('<')?;
    let address = prefixed(at.trim())?;
    let place = named(symbol);
    let text = normalised(before_remark(rest));
    let mnemonic = text.split(' ').next().unwrap_or_default();
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'(' || b == b')';
    let fits = mnemonic.starts_with(|c: char| c.is_ascii_lowercase() || c == '(')
        && mnemonic.bytes().all(lower);
    (fits && mnemonic.len() <= 24).then_some(Instruction {
        address: Some(address),
        place,
        text,
        source: None,
        line,
    })
}

/// `__kmalloc+171`; gdb's `+171` names no function.
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
    if next.starts_with('<') || (operand && !text.contains(' ')) {
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
