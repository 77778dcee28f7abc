//! Where text goes: results to stdout, progress and errors to stderr. A reader that went away
//! (`recrash runs | head`) is no error. Colours only for people. Knows nothing of what is printed.
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::sync::OnceLock;

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Neither.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Headings.
pub(crate) const HEAD: Style = Style::new().bold();
/// What may be skipped.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Writes a result to stdout; styles are dropped unless it is a terminal that wants them (`NO_COLOR`).
pub(crate) fn print(text: &str) -> io::Result<()> {
    tolerate_closed(write_all(&mut anstream::stdout().lock(), text))
}

/// Writes one JSON value and a newline to stdout.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    // Not through anstream: JSON has no styles, and its strings must arrive as they are.
    Ok(tolerate_closed(write_all(&mut io::stdout().lock(), &line))?)
}

/// Writes a result to stdout as it is: a file's contents, which have no styles.
pub(crate) fn print_plain(text: &str) -> io::Result<()> {
    tolerate_closed(write_all(&mut io::stdout().lock(), text))
}

/// Writes to stderr; nobody is left to tell if that fails.
pub(crate) fn note(text: &str) {
    let _ = write_all(&mut anstream::stderr().lock(), text);
}

fn write_all(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn tolerate_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Guest text made safe for a terminal: no control characters, so no escape sequences either; on GitHub no commands of
/// its runner either.
pub(crate) fn printable(line: &str) -> String {
    static ON_GITHUB: OnceLock<bool> = OnceLock::new();
    let text: String = line
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    if *ON_GITHUB.get_or_init(|| std::env::var_os("GITHUB_ACTIONS").is_some()) {
        without_commands(&text)
    } else {
        text
    }
}

/// Breaks what GitHub's runner would take as a command, by an invisible joiner: `::name::` at the begin of a line, blanks
/// or not, and `##[name]` anywhere (actions/runner, ActionCommand.cs).
fn without_commands(text: &str) -> String {
    let text = text.replace("##[", "##\u{2060}[");
    let begin = text.len() - text.trim_start().len();
    match text.split_at_checked(begin) {
        Some((blanks, rest)) if rest.starts_with("::") => format!("{blanks}\u{2060}{rest}"),
        _ => text,
    }
}

/// Each of these on a line of its own, safe for a terminal.
pub(crate) fn printable_lines(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| printable(line) + "\n");
    lines.collect()
}

/// Bytes as people write them: `38 03 56 00`.
pub(crate) fn bytes<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> String {
    let digits: Vec<String> = bytes
        .into_iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.join(" ")
}

/// A size as people write it, in units of 1024 bytes.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Precise enough for three digits; a size is nowhere computed with.
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A span of time in the largest unit that fits, for lists.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_text_cannot_drive_the_terminal() {
        assert_eq!(
            printable("\x1b[2Jhi\tthere\r"),
            "\u{fffd}[2Jhi there\u{fffd}"
        );
    }

    #[test]
    fn guest_text_gives_no_commands_to_a_runner() {
        for (text, expected) in [
            ("  ::error::x", "  \u{2060}::error::x"),
            ("a ::error::x", "a ::error::x"),
            ("a ##[error]x", "a ##\u{2060}[error]x"),
            ("::", "\u{2060}::"),
            ("", ""),
        ] {
            assert_eq!(without_commands(text), expected);
        }
    }

    #[test]
    fn sizes_have_one_decimal_from_a_kibibyte_on() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (23_068_672, "22.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn ages_use_the_largest_unit_that_fits() {
        for (seconds, expected) in [
            (59, "59 s"),
            (60, "1 min"),
            (7200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(tolerate_closed(Err(gone)).is_ok());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(tolerate_closed(Err(full)).is_err());
    }
}
