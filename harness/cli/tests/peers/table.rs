//! The table of agreement in Markdown, one row a dump, and the differences below it. Compares nothing.
use crate::agreement::{Outcome, Row};
use std::fmt::Write;

/// The questions, as columns.
pub(crate) const QUESTIONS: [&str; 4] = ["frames", "registers", "log", "structs"];

impl Row {
    /// The outcomes in the order of [`QUESTIONS`].
    pub(crate) fn outcomes(&self) -> [&Outcome; 4] {
        [&self.frames, &self.registers, &self.log, &self.structs]
    }
}

/// The whole table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| dump | kernel | format | KASLR | CPUs | VMCOREINFO | frames = drgn | registers = crash | log = makedumpfile | structs = drgn |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut notes = String::new();
    for row in rows {
        let dump = &row.dump;
        let yes = |set| if set { "yes" } else { "no" };
        let name = dump.name();
        let _ = write!(
            out,
            "| {name} | {} | {} | {} | {} | {} |",
            dump.release,
            format_and_note(row),
            yes(dump.kaslr),
            dump.cpus,
            yes(dump.vmcoreinfo)
        );
        for (question, outcome) in QUESTIONS.iter().zip(row.outcomes()) {
            let _ = write!(out, " {} |", cell(outcome));
            explain(&mut notes, &name, question, outcome);
        }
        out.push('\n');
    }
    let equal = |index: usize| {
        let all = rows
            .iter()
            .filter(|row| matches!(row.outcomes()[index], Outcome::Equal(_)));
        all.count()
    };
    let _ = writeln!(out, "\n{} dumps.", rows.len());
    for (index, question) in QUESTIONS.iter().enumerate() {
        let _ = writeln!(out, "- {question}: equal in {}", equal(index));
    }
    format!("{out}\n{notes}")
}

fn format_and_note(row: &Row) -> String {
    match row.dump.note.as_str() {
        "" => format!("{} ({})", row.dump.format, row.dump.how),
        note => format!("{} ({}; {note})", row.dump.format, row.dump.how),
    }
}

fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Equal(what) => format!("equal ({what})"),
        Outcome::Differs(_) => "**differs**".into(),
        Outcome::NoJudge(_) => "no judge".into(),
    }
}

fn explain(notes: &mut String, name: &str, question: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Equal(_) => {}
        Outcome::NoJudge(why) => {
            let _ = writeln!(notes, "- {name}, {question}: no judge: {why}");
        }
        Outcome::Differs(all) => {
            let _ = writeln!(notes, "- {name}, {question}: differs");
            for one in all {
                let _ = writeln!(notes, "  - {one}");
            }
        }
    }
}
