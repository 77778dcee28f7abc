//! A file of a folder of logs: header lines, an empty line, the log. It reads, and judges nothing.
use std::path::Path;

use crate::failure::Failure;
use crate::import;

/// One log and what is expected of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    /// It begins with a header, be it an empty one.
    pub(super) headed: bool,
    /// `TITLE:` and every `ALT:`; empty where no report is expected.
    pub(super) titles: Vec<String>,
    /// `CORRUPTED: Y`.
    pub(super) corrupted: bool,
    /// The log.
    pub(super) log: String,
    /// Lines above it in the file.
    pub(super) first_line: usize,
}

impl Case {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        Ok(Self::parse(&import::text(path)?))
    }

    /// Carriage returns at the ends of lines do not count.
    fn parse(text: &str) -> Self {
        let mut case = Self::default();
        let mut rest = text;
        let mut line_count = 0;
        while let Some((line, below)) = rest.split_once('\n') {
            let line = line.trim_end();
            rest = below;
            line_count += 1;
            if line.is_empty() {
                case.headed = true;
                case.first_line = line_count;
                case.log = without_report(rest).to_owned();
                return case;
            }
            if !case.take(line) {
                break;
            }
        }
        Self {
            log: text.to_owned(),
            ..Self::default()
        }
    }

    /// Takes a header line; false where it is none.
    fn take(&mut self, line: &str) -> bool {
        if line.starts_with('#') {
            return true;
        }
        let Some((key, value)) = line.split_once(':') else {
            return false;
        };
        match key {
            "TITLE" | "ALT" if value.trim().is_empty() => {}
            "TITLE" | "ALT" => self.titles.push(value.trim().to_owned()),
            "CORRUPTED" => self.corrupted = value.trim() == "Y",
            _ => return KEYS.contains(&key),
        }
        true
    }
}

/// Keys that say nothing about titles.
const KEYS: [&str; 7] = [
    "TYPE",
    "FRAME",
    "SUPPRESSED",
    "PANICKED",
    "EXECUTOR",
    "START",
    "END",
];

/// The log without the copy of its report below it.
fn without_report(log: &str) -> &str {
    let mut offset = 0;
    for line in log.split_inclusive('\n') {
        if line.trim_end() == "REPORT:" {
            return log.get(..offset).unwrap_or(log);
        }
        offset += line.len();
    }
    log
}

#[cfg(test)]
mod tests {
    use super::Case;

    fn check(text: &str, headed: bool, titles: &[&str], log: &str) {
        let case = Case::parse(text);
        assert_eq!(
            (
                case.headed,
                case.titles.iter().map(String::as_str).collect::<Vec<_>>(),
                case.log.as_str()
            ),
            (headed, titles.to_vec(), log)
        );
    }

    #[test]
    fn header_log_and_report_are_told_apart() {
        check(
            "TITLE: a\nALT: b\nTYPE: X\n\nlog\nREPORT:\nrest\n",
            true,
            &["a", "b"],
            "log\n",
        );
        check("TITLE: a\r\n# note\r\n\r\nlog\r\n", true, &["a"], "log\r\n");
        check("\nlog\n", true, &[], "log\n");
    }

    #[test]
    fn a_log_without_a_header_is_all_log() {
        check(
            "[ 1.0] BUG: x\n\nmore\n",
            false,
            &[],
            "[ 1.0] BUG: x\n\nmore\n",
        );
        check("TITLE: a\nBUG: x\n", false, &[], "TITLE: a\nBUG: x\n");
        check("", false, &[], "");
    }
}
