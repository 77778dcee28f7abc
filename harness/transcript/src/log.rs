//! The kernel's reports in a text: those of a console log, and of `log` in a session. The lines that a session claims
//! are none of a log's.
use crate::evidence::{Evidence, Lost};
use crate::session::{self, Kept};
use crate::text::{self, without_quotes};
use recrash_oops::{details, report};
use std::borrow::Cow;
use std::ops::Range;

/// Lines of a text that are searched for reports. The kernel's buffer has at most 32 MiB (`CONFIG_LOG_BUF_SHIFT`,
/// init/Kconfig), which is half as many lines of a log's usual length.
const MAX_LOG_LINES: usize = 1 << 20;

/// Reads a text: what a session says in it, and what the kernel reported.
pub(crate) fn with_reports(text: &str) -> (Evidence, Vec<Kept>) {
    let (whole, cut) = text::without_cut_end(text);
    let (mut evidence, mut kept) = session::read(&without_logged(text));
    if let Some(line) = cut.filter(|line| kept.iter().any(|kept| kept.line == *line)) {
        (evidence, kept) = session::read(&without_logged(whole));
        evidence.lost.push(Lost {
            line,
            why: "the text ends within this line: it was not read".into(),
        });
    }
    let text = whole;
    let session = kept.iter().any(|line| !line.head);
    let log = unclaimed(text, &kept);
    if text.split('\n').nth(MAX_LOG_LINES).is_some() {
        evidence.lost.push(Lost {
            line: MAX_LOG_LINES + 1,
            why: format!("not searched for reports of the kernel: only {MAX_LOG_LINES} lines are"),
        });
    }
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

/// The text with each line empty that surely is a log's: stamped with its time by printk, in a report that has a place
/// and a call trace. Some of those (`CPU: 1 PID: 86`, `RAX: … RBX: …`) look like a session's.
fn without_logged(text: &str) -> Cow<'_, str> {
    // Most texts have none, and a search for reports takes longer than this.
    if !text.split('\n').any(is_stamped) {
        return text.into();
    }
    let reports = report::reports(text);
    let told = details::all(text, &reports);
    let sure: Vec<Range<usize>> = reports
        .into_iter()
        .zip(told)
        .filter(|(_, told)| told.rip.is_some() && !told.frames.is_empty())
        .map(|(report, _)| report.lines)
        .collect();
    if sure.is_empty() {
        return text.into();
    }
    let mut lines: Vec<&str> = text.split('\n').collect();
    let mut done = 0;
    for range in sure {
        let fresh = range.start.max(done)..range.end;
        done = done.max(range.end);
        blank(&mut lines, fresh);
    }
    lines.join("\n").into()
}

fn blank(lines: &mut [&str], range: Range<usize>) {
    for line in range {
        if let Some(line) = lines.get_mut(line).filter(|line| is_stamped(line)) {
            *line = "";
        }
    }
}

/// `[   12.345678]` near the line's start, behind what quotes, colours or records it.
fn is_stamped(line: &str) -> bool {
    /// Of a line that are looked at, in bytes.
    const NEAR: usize = 96;
    let near = line.get(..NEAR).unwrap_or(line);
    near.split('[').skip(1).take(NEAR).any(|rest| {
        let time = rest.split_once(']').map(|(time, _)| time);
        let parts = time.and_then(|time| time.trim_start().split_once('.'));
        parts.is_some_and(|(seconds, fraction)| {
            digits(seconds) && fraction.len() == 6 && digits(fraction)
        })
    })
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text with each line empty that the session claims, so that numbers stay.
fn unclaimed(text: &str, kept: &[Kept]) -> String {
    let mut claimed = kept.iter().map(|line| line.line).peekable();
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate().take(MAX_LOG_LINES) {
        let number = index + 1;
        while claimed.next_if(|claimed| *claimed < number).is_some() {}
        if claimed.peek() != Some(&number) {
            out.push_str(without_quotes(line));
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
    fn a_stamped_line_is_the_logs_even_where_it_looks_like_a_sessions() {
        let log = "\
[   11.368804] general protection fault, probably for non-canonical address 0x7c2b895377ef87c9: 0000 [#1] SMP
[   11.369822] CPU: 1 PID: 86 Comm: esdm-agent Tainted: G           OE      6.1.0-56-amd64 #1  Debian 6.1.192-2
[   11.370691] RIP: 0010:__kmem_cache_alloc_node+0x12e/0x2a0
[   11.370691] RAX: 7c2b895377ef8749 RBX: 0000000000000dc0 RCX: 7c2b895377ef87c9
[   11.370691] Call Trace:
[   11.370691]  __kmalloc+0x49/0x150
[   11.370691]  usb_hcd_submit_urb+0x1b6/0xc30 [usbcore]
";
        let (evidence, _) = with_reports(log);
        assert_eq!(evidence.backtraces, []);
        let (_, told) = evidence.oopses.first().unwrap();
        let comm = told.comm.as_ref().map(|comm| comm.value.as_str());
        assert_eq!(comm, Some("esdm-agent"));
        let rax = told.registers.iter().find(|found| found.value.0 == "rax");
        assert_eq!(rax.map(|found| found.value.1), Some(0x7c2b_8953_77ef_8749));
    }

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
    fn a_console_log_that_a_mailer_quoted_is_read() {
        let quoted: String = OOPS.lines().map(|line| format!("> > {line}\r\n")).collect();
        let (evidence, _) = with_reports(&quoted);
        assert_eq!(evidence.oopses, with_reports(OOPS).0.oopses);
    }

    #[test]
    fn words_about_a_crash_are_none() {
        let text = "crash> rd ffff888000000000\nffff888000000000:  0000000000000001\n\nWe saw a general protection fault: 0000 [#1].\n";
        assert_eq!(with_reports(text).0.oopses, []);
    }
}
