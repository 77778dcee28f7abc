//! The guest's console around the kernel's message: which lines a report shows, and which of them are the oops. What a
//! line means, the oops crate says.
use recrash_machine::run::folder::CONSOLE;
use recrash_oops::report::reports;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::document::crash::{Console, ConsoleLine};
use crate::output::printable;

/// How much of the console's end is looked at, in bytes: the kernel dies at the end, and the second boot is short.
const MAX_BYTES: u64 = 4 << 20;
/// Lines before the kernel's message that are shown.
const BEFORE: usize = 16;
/// Lines after it.
const AFTER: usize = 10;
/// Most lines of the message.
const MOST: usize = 200;
/// Characters of a line.
const MAX_LINE: usize = 512;

/// The console of the run in this folder.
///
/// # Errors
/// Why there is none to show.
pub(crate) fn of_run(folder: &Path) -> Result<Console, String> {
    let path = folder.join(CONSOLE);
    let io = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(&path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let begin = length.saturating_sub(MAX_BYTES);
    file.seek(SeekFrom::Start(begin)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    if bytes.is_empty() {
        return Err(format!("{}: the guest wrote nothing", path.display()));
    }
    Ok(excerpt(&String::from_utf8_lossy(&bytes)))
}

/// The part of a console that a report shows.
fn excerpt(log: &str) -> Console {
    let lines: Vec<&str> = log.split_terminator('\n').collect();
    let oops = death(&lines, log);
    let shown = match &oops {
        Some(oops) => {
            let to = oops.end.min(oops.start + MOST) + AFTER;
            oops.start.saturating_sub(BEFORE)..to.min(lines.len())
        }
        None => lines.len().saturating_sub(BEFORE)..lines.len(),
    };
    let mark = |number: usize| oops.as_ref().is_some_and(|oops| oops.contains(&number));
    let kept: Vec<ConsoleLine> = (0..)
        .zip(&lines)
        .skip(shown.start)
        .take(shown.len())
        .map(|(number, line)| ConsoleLine {
            text: text(line),
            oops: mark(number),
        })
        .collect();
    Console {
        from: shown.start as u64 + 1,
        left_out: (lines.len() - kept.len()) as u64,
        lines: kept,
    }
}

/// The lines of the first report that is a death and no warning: what the machine went down of. A panic's own words
/// belong to the report before it.
fn death(lines: &[&str], log: &str) -> Option<Range<usize>> {
    use recrash_oops::report::Kind;
    let all = reports(log);
    let deadly = |kind: Kind| {
        !matches!(
            kind,
            Kind::Warning | Kind::Leak | Kind::Locking | Kind::Stall
        )
    };
    let first = all.iter().find(|report| deadly(report.kind));
    let range = first.or(all.last())?.lines.clone();
    (range.start < lines.len()).then_some(range)
}

/// A line without line end and control characters, not longer than it is worth.
fn text(line: &str) -> String {
    let line = printable(line.trim_end_matches('\r'));
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OOPS: &str = "\
[   11.0] BUG: unable to handle page fault for address: 0000000000001000
[   11.0] #PF: supervisor read access in kernel mode
[   11.0] Oops: 0000 [#1] PREEMPT SMP PTI
[   11.0] CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1
[   11.0] RIP: 0010:victim+0x1/0x2
[   11.0] Call Trace:
[   11.0]  <TASK>
[   11.0]  caller+0x1/0x2
[   11.0]  </TASK>
[   11.0] ---[ end trace 0000000000000000 ]---
";

    #[test]
    fn the_kernel_s_message_is_marked_and_stands_among_its_neighbours() {
        let before: String = (0..100)
            .map(|n| format!("[    1.{n}] line {n}\r\n"))
            .collect();
        let console = excerpt(&format!("{before}{OOPS}after\x1b[2J\n"));
        assert_eq!(console.from, 85);
        assert_eq!(console.left_out, 84);
        let marked = |line: &&ConsoleLine| line.oops;
        assert!(console.lines[15].text.ends_with("line 99") && !console.lines[15].oops);
        assert!(console.lines[16].text.contains("BUG: unable") && console.lines[16].oops);
        assert!(console.lines.iter().filter(marked).count() >= 9);
        assert_eq!(console.lines.last().unwrap().text, "after\u{fffd}[2J");
    }

    #[test]
    fn a_console_without_a_message_shows_its_end() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let console = excerpt(&text);
        assert_eq!(console.lines.len(), BEFORE);
        assert!(console.lines.iter().all(|line| !line.oops));
        assert_eq!(excerpt("").lines.len(), 0);
    }
}
