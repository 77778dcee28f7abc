//! `recrash target list`: every target, whether it is set up, and why not. Changes nothing.
use recrash_machine::setup::status::{self, Status};
use recrash_machine::target::Target;
use serde::Serialize;
use std::fmt::Write;

use crate::commands::{Outcome, targets};
use crate::exit::Exit;
use crate::output::{self, BAD, DIM, GOOD, HEAD, WARN};

/// Lists the targets: which kernel each has, or what it lacks.
///
/// A target is a file in qemu/targets. "left out" are kernels that people would look for and that cannot be used,
/// with the reason. Exit code 0, whatever is set up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

/// One target as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "target")]
struct Row {
    name: String,
    summary: String,
    #[serde(flatten)]
    status: Status,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let rows: Vec<Row> = targets::all()?.iter().map(Row::of).collect();
        if self.json {
            for row in &rows {
                output::print_json(row)?;
            }
        } else {
            output::print(&table(&rows))?;
        }
        Ok(Exit::Met)
    }
}

impl Row {
    fn of(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            summary: target.summary.clone(),
            status: status::of(target),
        }
    }
}

fn table(rows: &[Row]) -> String {
    let cells: Vec<(&Row, &str, &str)> = rows
        .iter()
        .map(|row| match &row.status {
            Status::Ready { kernel_release } => (row, "ready", kernel_release.as_str()),
            Status::NotSetUp { .. } => (row, "not set up", "-"),
            Status::LeftOut { .. } => (row, "left out", "-"),
        })
        .collect();
    let wide = |head: &str, cell: &dyn Fn(&(&Row, &str, &str)) -> usize| {
        let widest = cells.iter().map(cell).max();
        widest.unwrap_or(0).max(head.len())
    };
    let name = wide("TARGET", &|cell| cell.0.name.chars().count());
    let state = wide("STATE", &|cell| cell.1.len());
    let kernel = wide("KERNEL", &|cell| cell.2.chars().count());
    let mut out = format!(
        "{HEAD}{:<name$}  {:<state$}  {:<kernel$}  SUMMARY{HEAD:#}\n",
        "TARGET", "STATE", "KERNEL"
    );
    for (row, word, release) in &cells {
        let (style, why) = match &row.status {
            Status::Ready { .. } => (GOOD, None),
            Status::NotSetUp { why } => (WARN, Some(why)),
            Status::LeftOut { why } => (BAD, Some(why)),
        };
        let _ = writeln!(
            out,
            "{:<name$}  {style}{word:<state$}{style:#}  {:<kernel$}  {}",
            output::printable(&row.name),
            output::printable(release),
            output::printable(&row.summary)
        );
        for line in why.into_iter().flat_map(|why| why.lines()) {
            let _ = writeln!(
                out,
                "{:<name$}  {DIM}{}{DIM:#}",
                "",
                output::printable(line)
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_says_its_kernel_or_what_it_lacks() {
        let row = |name: &str, status| Row {
            name: name.into(),
            summary: "a kernel".into(),
            status,
        };
        let rows = [
            row(
                "debian",
                Status::Ready {
                    kernel_release: "6.1.0-56-amd64".into(),
                },
            ),
            row(
                "debian-5.10",
                Status::NotSetUp {
                    why: "the lock file is missing".into(),
                },
            ),
        ];
        let text = anstream::adapter::strip_str(&table(&rows)).to_string();
        let expected = "\
TARGET       STATE       KERNEL          SUMMARY
debian       ready       6.1.0-56-amd64  a kernel
debian-5.10  not set up  -               a kernel
             the lock file is missing
";
        assert_eq!(text, expected);
    }
}
