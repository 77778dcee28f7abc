//! recrash against its peers, on real dumps: frames and struct values by drgn, registers by crash, the log by
//! makedumpfile. (Pages by makedumpfile and libkdumpfile: the tests of `recrash-vmcore`.)
//!
//! `RECRASH_DUMPS=FOLDER cargo test -p recrash --test peers -- --nocapture`, where the folder's `dumps.toml` says what
//! lies in it. `RECRASH_AGREEMENT=FILE` gets the table. `RECRASH_DUMPS_ONLY=TEXT` takes the dumps whose name has it;
//! `RECRASH_DRGN`, `RECRASH_CRASH`, `RECRASH_MAKEDUMPFILE` name the peers where the path does not. What is not there
//! is skipped, and said so.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test whose set-up fails has failed"
)]
mod agreement;
mod dumps;
mod expected;
mod judges;
mod ours;
mod table;
mod values;

use agreement::{Outcome, Row};
use expected::Expected;
use std::sync::OnceLock;

/// Asked once for all tests.
fn rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows = Vec::new();
        let table = std::env::var_os("RECRASH_AGREEMENT");
        for dump in dumps::all() {
            rows.push(Row::of(dump));
            // After each: crash alone takes half a minute for one, and someone may want to look.
            if let Some(file) = &table {
                let written = std::fs::write(file, table::markdown(&rows));
                written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
        }
        rows
    })
}

fn check(question: &str, outcome: impl Fn(&Row) -> &Outcome) {
    let mut differ = Vec::new();
    for row in rows() {
        let name = row.dump.name();
        match outcome(row) {
            Outcome::Equal(what) => println!("{name}: {question} equal ({what})"),
            Outcome::NoJudge(why) => println!("{name}: {question} skipped: {why}"),
            Outcome::Differs(all) => differ.push(format!("{name}:\n  {}", all.join("\n  "))),
        }
    }
    assert!(differ.is_empty(), "{question}:\n{}", differ.join("\n"));
}

#[test]
fn the_frames_of_the_task_that_crashed_are_drgns() {
    check("frames", |row| &row.frames);
}

#[test]
fn the_registers_of_the_exception_are_crashs() {
    check("registers", |row| &row.registers);
}

#[test]
fn the_log_is_makedumpfiles() {
    check("log", |row| &row.log);
}

#[test]
fn the_values_of_structs_are_drgns() {
    check("structs", |row| &row.structs);
}

#[test]
fn the_stored_expectations_hold_for_the_dumps_they_speak_of() {
    for dump in dumps::all().into_iter().filter(|dump| dump.expected) {
        let name = dump.name();
        let registers = ours::registers(&dump).unwrap_or_else(|why| panic!("{name}: {why}"));
        let ask = |words: &[&str]| {
            ours::inspect(&dump, words).unwrap_or_else(|why| panic!("{name}: {words:?}: {why}"))
        };
        let differences = Expected::read("debian-6.1").differences(&dump.release, &registers, &ask);
        assert!(differences.is_empty(), "{name}: {differences:#?}");
        println!("{name}: as expected");
    }
}
