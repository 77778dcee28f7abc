//! The `Code:` line: the bytes around the instruction (arch/x86/kernel/dumpstack.c, `show_opcodes`).
use super::Code;

/// More than `code_bytes=` allows (8192, arch/x86/kernel/dumpstack.c before 4.18; since then always 64).
const MOST_BYTES: usize = 8192;
/// What is printed unless asked otherwise.
const USUAL_BYTES: usize = 64;

/// The bytes of what follows `Code:`, and what is wrong with them.
pub(super) fn code(text: &str) -> (Option<Code>, Option<String>) {
    let mut code = Code {
        bytes: Vec::new(),
        rip: None,
    };
    let mut wrong = None;
    for word in text.split_ascii_whitespace() {
        let Some((byte, marked)) = byte(word) else {
            wrong = Some(word);
            break;
        };
        if code.bytes.len() >= MOST_BYTES {
            return (
                Some(code),
                Some(format!("Code: only {MOST_BYTES} bytes are read")),
            );
        }
        if marked {
            code.rip = code.rip.or(Some(code.bytes.len()));
        }
        code.bytes.push(byte);
    }
    let lost = lost(&code, wrong, text);
    ((!code.bytes.is_empty()).then_some(code), lost)
}

fn lost(code: &Code, wrong: Option<&str>, text: &str) -> Option<String> {
    let count = code.bytes.len();
    match (wrong, code.rip) {
        (Some(_), None) if count == 0 => {
            let said: String = text.trim().chars().take(80).collect();
            Some(format!("Code: {said}"))
        }
        (None, _) if count == 0 => Some("Code: no bytes follow".to_owned()),
        (_, None) => Some(format!(
            "Code: {count} bytes, none is marked as that at rip: cut off or altered"
        )),
        (Some(_), Some(_)) => Some(format!("Code: cut off or overwritten after {count} bytes")),
        (None, Some(_)) if count < USUAL_BYTES => Some(format!(
            "Code: {count} bytes where {USUAL_BYTES} are usual: may be cut off"
        )),
        (None, Some(_)) => None,
    }
}

/// `48`, or marked `<48>`; `(48)` in old layouts.
fn byte(word: &str) -> Option<(u8, bool)> {
    let inner = |open, close| word.strip_prefix(open)?.strip_suffix(close);
    let marked: Option<&str> = inner('<', '>').or_else(|| inner('(', ')'));
    let digits = marked.unwrap_or(word);
    let whole = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = whole
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()?;
    Some((value, marked.is_some()))
}
