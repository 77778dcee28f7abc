//! Lines of a text as they were before mailers, Markdown, terminals and recorders put things around them. What a line
//! means is not decided here.
use std::borrow::Cow;

/// Longest line that is looked at, in bytes; the rest of a longer one is left out. The longest that a session prints
/// are those of the kernel log, which the kernel itself cuts at 1 KiB.
pub const MAX_LINE: usize = 4096;

/// One line without what was put around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'t> {
    /// Number in the text, 1 the first.
    pub number: usize,
    /// The text, without quoting, escapes, stamps and the end of line; leading spaces stay.
    pub text: Cow<'t, str>,
    /// Characters that the line had in the text, by which wrapping is recognised.
    pub width: usize,
    /// It opens or closes a block of code in Markdown.
    pub fence: bool,
    /// It was longer than [`MAX_LINE`], and its end is left out.
    pub long: bool,
}

/// A text without its last line, where that may have been cut off: it has no end of line, and does not end as a whole
/// one. The number of the line that was left out.
pub fn without_cut_end(text: &str) -> (&str, Option<usize>) {
    let (before, last) = match text.rfind('\n') {
        Some(end) => text.split_at_checked(end + 1).unwrap_or((text, "")),
        None => ("", text),
    };
    if last.trim().is_empty() || ends_whole(without_escapes(last).trim_end()) {
        return (text, None);
    }
    (before, Some(before.matches('\n').count() + 1))
}

/// Whether a line ends with what a line ends with when nothing is missing: a bracket or a quote, a word of memory or
/// another number of full width, `SS: 002b`, a fence.
fn ends_whole(line: &str) -> bool {
    const FULL: usize = 16;
    let last = line
        .rsplit(|c: char| c.is_whitespace())
        .next()
        .unwrap_or_default();
    let segment = line.len() > last.len() + 4 && line.contains("SS: ") && last.len() == 4;
    let hex = !last.is_empty() && last.bytes().all(|b| b.is_ascii_hexdigit());
    line.ends_with(['}', ']', '"', '>', '`', '~']) || hex && (last.len() == FULL || segment)
}

/// All lines of a text.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split('\n').enumerate().map(|(index, raw)| {
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let long = raw.len() > MAX_LINE;
        let raw = cut(raw);
        let width = raw.chars().count();
        let shown = without_escapes(overwritten(raw));
        let bare = match shown {
            Cow::Borrowed(text) => Cow::Borrowed(inside(text)),
            Cow::Owned(text) => Cow::Owned(inside(&text).to_owned()),
        };
        let fence = bare.trim_start().starts_with("```") || bare.trim_start().starts_with("~~~");
        Line {
            number: index + 1,
            text: bare,
            width,
            fence,
            long,
        }
    })
}

/// What a terminal shows in the end of a line that was written over: crash does that to `please wait…` and to its
/// pager's prompt, which stays where a recorder has dropped the carriage returns.
fn overwritten(raw: &str) -> &str {
    let mut parts = raw.rsplit('\r');
    let last = parts.find(|part| !part.trim().is_empty()).unwrap_or(raw);
    match last.trim_start().strip_prefix("-- MORE --") {
        Some(rest) => rest.split_once("quit: q").map_or("", |(_, rest)| rest),
        None => last,
    }
}

/// At most [`MAX_LINE`] bytes, whole characters.
fn cut(raw: &str) -> &str {
    let mut end = raw.len().min(MAX_LINE);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw.get(..end).unwrap_or_default()
}

/// Without quoting and stamps, in whichever order they were put on.
fn inside(text: &str) -> &str {
    let mut text = text.trim_end();
    // Each round takes at least one character away, and a line has few.
    while let Some(rest) = without_quote(text).or_else(|| without_stamp(text)) {
        text = rest;
    }
    text
}

/// A line without a mailer's quoting and the end of line, with the stamps that recorders and the kernel put on it.
pub fn without_quotes(line: &str) -> &str {
    let mut text = line.trim_end_matches('\r');
    while let Some(rest) = without_quote(text) {
        text = rest;
    }
    text
}

/// A line without one level of a mailer's quoting.
fn without_quote(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix('>')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// A line without the time that a recorder put before it: `[   12.345678] `, `[12:34:56] `, `2022-06-05T11:04:06Z `.
fn without_stamp(text: &str) -> Option<&str> {
    let trimmed = text.trim_start();
    if let Some(rest) = trimmed.strip_prefix('[') {
        let (stamp, after) = rest.split_once(']')?;
        let time = stamp.contains(['.', ':']) && stamp.bytes().all(is_time);
        let digits = stamp.bytes().filter(u8::is_ascii_digit).count();
        return (time && digits >= 4).then(|| after.strip_prefix(' ').unwrap_or(after));
    }
    // `11:04:06 `, `11:04:06.123 `.
    let (clock, after) = trimmed.split_once(' ')?;
    if clock.len() >= 8 && clock.matches(':').count() == 2 && clock.bytes().all(is_time) {
        return Some(after);
    }
    let (date, rest) = trimmed.split_at_checked(10)?;
    let mut parts = date.split('-').map(str::len);
    let dated = date.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        && parts.next() == Some(4)
        && parts.next() == Some(2);
    let rest = rest.strip_prefix(['T', ' ']).filter(|_| dated)?;
    let (time, after) = rest.split_once(' ')?;
    (time.contains(':')
        && time
            .bytes()
            .all(|b| is_time(b) || matches!(b, b'Z' | b'+' | b',' | b'-')))
    .then_some(after)
}

fn is_time(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b':' | b' ')
}

/// Without terminal escapes (ECMA-48, 5.4) and other control characters; tabs stay.
fn without_escapes(text: &str) -> Cow<'_, str> {
    let control = |c: char| c.is_control() && c != '\t';
    if !text.contains(control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            let sequence = rest.clone().next() == Some('[');
            if sequence {
                rest.next();
                // Parameters, then one final letter.
                let _ = rest.find(|c| ('@'..='~').contains(c));
            }
        } else if !control(c) {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, expected: &str) {
        let line = lines(raw).next().unwrap();
        assert_eq!(line.text, expected, "{raw:?}");
    }

    #[test]
    fn a_last_line_that_may_be_cut_off_is_left_out() {
        for (text, left_out) in [
            ("a\n  tid = 2075", Some(2)),
            ("#7 [ffff] __kmall", Some(1)),
            ("a\n  tid = 207514\n", None),
            ("a\n}", None),
            ("a\n #7 [ffffabfa4b0ebc08] f at ffffffff84287f8b", None),
            ("ORIG_RAX: 0000000000000010  CS: 0033  SS: 002b", None),
            ("", None),
            ("a\n\n  ", None),
        ] {
            let (kept, number) = without_cut_end(text);
            assert_eq!(number, left_out, "{text:?}");
            assert_eq!(kept.len() == text.len(), left_out.is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_line_is_freed_of_what_was_put_around_it() {
        check("  #7 [ff] f at ff\r\n", "  #7 [ff] f at ff");
        check("> >  #7 [ff] f", " #7 [ff] f");
        check("\u{1b}[1;31mcrash> bt\u{1b}[0m", "crash> bt");
        check("[   12.345678]  #7 [ff] f", " #7 [ff] f");
        check("[12:34:56] crash> bt", "crash> bt");
        check("2022-06-05T11:04:06.123Z crash> bt", "crash> bt");
        check("> [   12.345678] crash> bt", "crash> bt");
        check("11:04:06  #7 [ff] f", " #7 [ff] f");
        check("please wait... (x)\r       \r    CPUS: 2", "    CPUS: 2");
        check(
            "-- MORE --  forward: <SPACE>, <ENTER> or j  backward: b or k  quit: q\r   \r #7 [ff] f",
            " #7 [ff] f",
        );
        check(
            "-- MORE --  forward: <SPACE>, <ENTER> or j  backward: b or k  quit: q #7 [ff] f",
            " #7 [ff] f",
        );
    }

    #[test]
    fn what_belongs_to_a_line_stays() {
        check("crash> bt", "crash> bt");
        check("    [exception RIP: f+1]", "    [exception RIP: f+1]");
        check("  [0] unsigned long f;", "  [0] unsigned long f;");
        check("2022-06-05", "2022-06-05");
        check("[kmalloc-256] 1", "[kmalloc-256] 1");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let raw = "ä".repeat(MAX_LINE);
        let line = lines(&raw).next().unwrap();
        assert_eq!(line.text.len(), MAX_LINE);
        let quoted = ">".repeat(1 << 20);
        assert_eq!(lines(&quoted).next().unwrap().text, "");
    }

    #[test]
    fn lines_are_numbered_as_in_the_text_and_fences_are_known() {
        let found: Vec<_> = lines("a\n> ```c\nb")
            .map(|line| (line.number, line.fence))
            .collect();
        assert_eq!(found, [(1, false), (2, true), (3, false)]);
    }
}
