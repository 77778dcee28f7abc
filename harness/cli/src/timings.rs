//! Where a run's time went, and what of it is QEMU's own. Measures nothing: sums and renders.
use recrash_machine::run::Manifest;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

use crate::output::{DIM, HEAD};

/// Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Timings {
    /// Every stage by name, in order: the machine's, then analysis and report.
    pub(crate) stages: Vec<(String, u64)>,
    /// From QEMU's start to the last byte of the vmcore, or its end: boot, crash and capture.
    pub(crate) qemu_ms: u64,
    /// From the beginning of the run (after set-up) to the verdict.
    pub(crate) total_ms: u64,
}

impl Timings {
    /// The machine's stages, and what came after them.
    pub(crate) fn new(manifest: &Manifest, after: &[(&str, Duration)], total: Duration) -> Self {
        let machine = manifest
            .stages
            .iter()
            .map(|time| (time.stage.to_string(), time.took_ms));
        let after = after
            .iter()
            .map(|(name, took)| ((*name).to_owned(), millis(*took)));
        Self {
            stages: machine.chain(after).collect(),
            qemu_ms: manifest.qemu_ms,
            total_ms: millis(total),
        }
    }

    /// The table of `--timings`.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{HEAD}Timings{HEAD:#}\n");
        for (name, took) in &self.stages {
            let _ = writeln!(out, "  {name:<14} {:>8} s", seconds(*took));
        }
        let _ = writeln!(
            out,
            "  {:<14} {:>8} s  {DIM}boot, crash and capture{DIM:#}",
            "QEMU's own",
            seconds(self.qemu_ms)
        );
        let ratio = self
            .ratio()
            .map_or_else(String::new, |(whole, hundredths)| {
                format!("{DIM}{whole}.{hundredths:02} times QEMU's own{DIM:#}")
            });
        let _ = writeln!(
            out,
            "  {:<14} {:>8} s  {ratio}",
            "the run",
            seconds(self.total_ms)
        );
        out
    }

    /// Whole run over QEMU's own time, in hundredths, rounded up.
    fn ratio(&self) -> Option<(u64, u64)> {
        let hundredths = self
            .total_ms
            .checked_mul(100)?
            .checked_add(self.qemu_ms.saturating_sub(1))?
            .checked_div(self.qemu_ms)?;
        Some((hundredths / 100, hundredths % 100))
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(qemu_ms: u64, total_ms: u64, expected: Option<(u64, u64)>) {
        let timings = Timings {
            stages: Vec::new(),
            qemu_ms,
            total_ms,
        };
        assert_eq!(timings.ratio(), expected);
    }

    #[test]
    fn the_ratio_is_rounded_against_us() {
        check(1000, 1150, Some((1, 15)));
        check(1000, 1151, Some((1, 16)));
        check(0, 5, None);
        check(1, u64::MAX, None);
    }
}
