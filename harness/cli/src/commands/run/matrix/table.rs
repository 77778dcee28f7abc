//! The table of a matrix, for a terminal and as Markdown: expected and got, and why. Sees finished cells only.
use std::fmt::Write;

use super::cell::{Cell, Counts, Key, State, Wanted};
use crate::exit::Exit;
use crate::output::{BAD, DIM, GOOD, HEAD, WARN};

const HEADINGS: [&str; 9] = [
    "target",
    "controller",
    "speed",
    "fault",
    "capture",
    "expected",
    "got",
    "differences",
    "time",
];

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Good,
    Bad,
    Doubtful,
    Plain,
}

struct Row {
    cells: [String; HEADINGS.len()],
    /// Behind the row, where it is not as expected.
    mark: &'static str,
    look: Look,
}

/// What one that has not been run is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Waiting {
    /// It will be, or would be.
    Planned,
    /// The matrix ended before.
    NotRun,
}

impl Waiting {
    /// The word in JSON.
    pub(in crate::commands) fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::NotRun => "not-run",
        }
    }
}

fn row(cell: &Cell, waiting: Waiting) -> Row {
    let Key {
        target,
        controller,
        speed,
        fault,
        capture,
        device: _,
        scenario: _,
    } = &cell.key;
    let none = || "-".to_owned();
    let expected = |wanted: &Wanted| wanted.expect.name().to_owned();
    let (expected, got, differences, time) = match &cell.state {
        State::Impossible(_) => (none(), "impossible".into(), none(), none()),
        State::Waiting(wanted) => {
            let got = match waiting {
                Waiting::Planned => none(),
                Waiting::NotRun => "not run".into(),
            };
            (expected(wanted), got, none(), none())
        }
        State::Done(wanted, got) => (
            expected(wanted),
            got.verdict.to_string(),
            match (got.explained, got.unexplained.len()) {
                (0, 0) => none(),
                (explained, 0) => format!("{explained} explained"),
                (explained, unexplained) => {
                    format!("{explained} explained, {unexplained} unexplained")
                }
            },
            format!("{:.1} s", got.took.as_secs_f64()),
        ),
    };
    let (look, mark) = match (&cell.state, cell.exit()) {
        (State::Impossible(_) | State::Waiting(_), _) => (Look::Plain, ""),
        (_, Some(Exit::Met)) => (Look::Good, ""),
        (_, Some(Exit::Inconclusive)) => (Look::Doubtful, "inconclusive"),
        _ => (Look::Bad, "not as expected"),
    };
    Row {
        cells: [
            target.clone(),
            controller.clone(),
            speed.clone(),
            fault.clone(),
            capture.clone(),
            expected,
            got,
            differences,
            time,
        ],
        mark,
        look,
    }
}

/// For a terminal, with styles.
pub(in crate::commands) fn text(cells: &[Cell], waiting: Waiting) -> String {
    let rows: Vec<Row> = cells.iter().map(|cell| row(cell, waiting)).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ")
    };
    let mut out = format!(
        "{HEAD}{}{HEAD:#}\n",
        line(&HEADINGS.map(str::to_owned)).trim_end()
    );
    for row in &rows {
        let style = match row.look {
            Look::Good => GOOD,
            Look::Bad => BAD,
            Look::Doubtful => WARN,
            Look::Plain => DIM,
        };
        let line = line(&row.cells);
        let line = line.trim_end();
        let _ = match row.mark {
            "" => writeln!(out, "{line}"),
            mark => writeln!(out, "{line}  {style}← {mark}{style:#}"),
        };
    }
    for (heading, lines) in notes(cells) {
        let _ = writeln!(out, "\n{HEAD}{heading}{HEAD:#}");
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = writeln!(out, "\n{}", summary(cells, waiting));
    out
}

/// For an issue or a wiki.
pub(in crate::commands) fn markdown(cells: &[Cell], waiting: Waiting) -> String {
    let mut out = format!("| {} | |\n", HEADINGS.join(" | "));
    out.push_str(&"|---".repeat(HEADINGS.len() + 1));
    out.push_str("|\n");
    for row in cells.iter().map(|cell| row(cell, waiting)) {
        let cells: Vec<String> = row.cells.iter().map(|cell| escape(cell)).collect();
        let mark = match row.look {
            Look::Bad | Look::Doubtful => format!("**{}**", row.mark),
            Look::Good | Look::Plain => String::new(),
        };
        let _ = writeln!(out, "| {} | {mark} |", cells.join(" | "));
    }
    for (heading, lines) in notes(cells) {
        let _ = writeln!(out, "\n{heading}:\n");
        for line in lines {
            let _ = writeln!(out, "- {}", escape(&line));
        }
    }
    let _ = writeln!(out, "\n{}", summary(cells, waiting));
    out
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

/// What stands below the table: expectations with their reasons, what is impossible and why, what came out otherwise.
fn notes(cells: &[Cell]) -> Vec<(&'static str, Vec<String>)> {
    let mut expected: Vec<String> = Vec::new();
    let mut impossible = Vec::new();
    let mut otherwise = Vec::new();
    for cell in cells {
        let key = &cell.key;
        match &cell.state {
            // The same for each fault and each capture.
            State::Impossible(why) if impossible.contains(why) => {}
            State::Impossible(why) => impossible.push(why.clone()),
            State::Waiting(wanted) | State::Done(wanted, _) => {
                let line = format!("{}: {}", wanted.expect.name(), wanted.reason);
                if !expected.contains(&line) {
                    expected.push(line);
                }
            }
        }
        if let State::Done(_, got) = &cell.state
            && cell.exit() != Some(Exit::Met)
        {
            let run = got.run.as_ref();
            let run = run.map_or_else(String::new, |run| format!(" ({})", run.display()));
            otherwise.push(format!("{key}: {}: {}{run}", got.verdict, got.why));
        }
    }
    let all = [
        ("Expected", expected),
        ("Impossible", impossible),
        ("Not as expected", otherwise),
    ];
    all.into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

/// One line: how many came out how.
fn summary(cells: &[Cell], waiting: Waiting) -> String {
    let Counts {
        cells,
        as_expected,
        unexpected,
        not_run,
        impossible,
    } = Counts::of(cells);
    let mut parts = vec![match cells {
        1 => "1 combination".to_owned(),
        cells => format!("{cells} combinations"),
    }];
    match waiting {
        Waiting::Planned => parts.push(format!("{not_run} to run")),
        Waiting::NotRun => {
            parts.push(format!("{as_expected} as expected"));
            parts.push(format!("{unexpected} not as expected"));
            if not_run > 0 {
                parts.push(format!("{not_run} not run"));
            }
        }
    }
    if impossible > 0 {
        parts.push(format!("{impossible} impossible"));
    }
    let tail = parts.split_off(1);
    format!("{}: {}", parts.concat(), tail.join(", "))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
