//! The kernel's reports in a text: those of a console log, and of `log` in a session. The lines that a session claims
//! are none of a log's.
use crate::evidence::Evidence;
use crate::session::{self, Kept};
use recrash_oops::{details, report};

/// Reads a text: what a session says in it, and what the kernel reported.
pub(crate) fn with_reports(text: &str) -> (Evidence, Vec<Kept>) {
    let (mut evidence, mut kept) = session::read(text);
    let session = kept.iter().any(|line| !line.head);
    let log = unclaimed(text, &kept);
    for found in report::reports(&log) {
        let told = details::details(&log, &found);
        // Prose about a crash has the words of a headline, but not what follows one.
        if session && told.rip.is_none() && told.frames.is_empty() {
            continue;
        }
        let lines = found.lines.clone();
        let shown = log
            .split('\n')
            .enumerate()
            .skip(lines.start)
            .take(lines.len());
        kept.extend(shown.map(|(index, line)| Kept {
            line: index + 1,
            head: index == lines.start,
            text: line.trim_end().to_owned(),
        }));
        evidence.oopses.push((found, told));
    }
    kept.sort_by_key(|line| line.line);
    kept.dedup_by_key(|line| line.line);
    kept.retain(|line| line.head || !line.text.is_empty());
    (evidence, kept)
}

/// The text with each line empty that the session claims, so that numbers stay.
fn unclaimed(text: &str, kept: &[Kept]) -> String {
    let mut claimed = kept.iter().map(|line| line.line).peekable();
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        let number = index + 1;
        while claimed.next_if(|claimed| *claimed < number).is_some() {}
        if claimed.peek() != Some(&number) {
            out.push_str(line);
        }
        out.push('\n');
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OOPS: &str = "\
[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    1.0] #PF: supervisor read access in kernel mode
[    1.0] Oops: 0000 [#1] SMP
[    1.0] CPU: 0 PID: 7 Comm: a Not tainted 6.1.0 #1
[    1.0] RIP: 0010:some_function+0x10/0x20
[    1.0] Call Trace:
[    1.0]  other_function+0x1/0x2
[    1.0] ---[ end trace 0000000000000000 ]---
";

    #[test]
    fn a_console_log_is_evidence() {
        let (evidence, kept) = with_reports(OOPS);
        assert_eq!(evidence.oopses.len(), 1);
        assert_eq!(
            evidence.oopses[0].1.cpu.as_ref().map(|cpu| cpu.value),
            Some(0)
        );
        assert!(kept.len() >= 7, "{kept:?}");
    }

    #[test]
    fn a_log_within_a_session_keeps_its_line_numbers() {
        let text = format!(
            "crash> rd ffff888000000000\nffff888000000000:  0000000000000001\ncrash> log\n{OOPS}"
        );
        let (evidence, _) = with_reports(&text);
        assert_eq!(evidence.words.len(), 1);
        assert_eq!(
            evidence.oopses[0].1.rip.as_ref().map(|rip| rip.line),
            Some(7)
        );
    }

    #[test]
    fn words_about_a_crash_are_none() {
        let text = "crash> rd ffff888000000000\nffff888000000000:  0000000000000001\n\nWe saw a general protection fault: 0000 [#1].\n";
        assert_eq!(with_reports(text).0.oopses, []);
    }
}
