//! Lines of a log from a given one on: a log of 100 MB may be all line ends, and its lines are not all kept.
use crate::lines::{Line, line};

/// Where a line begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// Line number, 0 the first.
    line: usize,
    /// Byte in the log.
    byte: usize,
}

impl Start {
    /// Where `target` begins, looked for from here on, or from the log's begin where it lies before.
    pub(crate) fn seek(self, log: &str, target: usize) -> Self {
        let mut at = if self.line <= target {
            self
        } else {
            Self::default()
        };
        while at.line < target {
            let rest = log.as_bytes().get(at.byte..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                at.byte = log.len();
                break;
            };
            at.byte += end + 1;
            at.line += 1;
        }
        at
    }

    /// The text of the lines from here on, as it stands.
    pub(crate) fn raw(self, log: &str) -> impl Iterator<Item = (usize, &str)> {
        let rest = log.get(self.byte..).unwrap_or_default();
        (self.line..).zip(rest.split_terminator('\n'))
    }

    /// At most `count` lines from here on.
    pub(crate) fn lines(self, log: &str, count: usize) -> Vec<Line<'_>> {
        let lines = self.raw(log).take(count);
        lines.map(|(number, raw)| line(number, raw)).collect()
    }
}
