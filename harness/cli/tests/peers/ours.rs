//! What recrash says about a dump, as its callers get it: the command with `--json`, and the log as text.
use crate::dumps::Dump;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) pc: u64,
    /// The symbol, without offset and module.
    pub(crate) function: String,
    /// Functions inlined there, innermost first; empty where recrash had no DWARF.
    pub(crate) inlined: Vec<String>,
}

/// The command under test; `RECRASH` may name another build of it.
fn binary() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_recrash").into();
    std::env::var_os("RECRASH").map_or_else(built, PathBuf::from)
}

fn ask(subcommand: &str, dump: &Dump, rest: &[&str]) -> Result<Output, String> {
    let mut command = Command::new(binary());
    command.arg(subcommand);
    if subcommand == "inspect" {
        for file in &dump.paths[1..] {
            command.arg("--split").arg(file);
        }
    }
    let command = command.arg(dump.file()).args(rest);
    command.output().map_err(|error| error.to_string())
}

/// The object that it printed; the error is what it said on stderr.
fn json(output: &Output) -> Result<Value, String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| complaint(output))
}

fn complaint(output: &Output) -> String {
    let why = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = why.split_whitespace().collect();
    words.join(" ")
}

/// The object that `inspect DUMP <words> --json` prints.
pub(crate) fn inspect(dump: &Dump, words: &[&str]) -> Result<Value, String> {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    json(&ask("inspect", dump, &words)?)
}

/// Frames of the task that crashed, innermost first, by `inspect bt`; with DWARF also the functions inlined.
pub(crate) fn frames(dump: &Dump, with_dwarf: bool) -> Result<Vec<Frame>, String> {
    let folder = dump.debug_dir.to_string_lossy();
    let said = match with_dwarf {
        true => inspect(dump, &["bt", "--debug-dir", &folder])?,
        false => inspect(dump, &["bt"])?,
    };
    let frames = said["tasks"][0]["frames"].as_array();
    let frames: Vec<Frame> = frames.into_iter().flatten().filter_map(frame).collect();
    if frames.is_empty() {
        return Err(format!("no frames: {}", said["missing"]));
    }
    Ok(frames)
}

fn frame(row: &Value) -> Option<Frame> {
    let inlined = row["inlined"].as_array();
    let inlined = inlined.into_iter().flatten();
    Some(Frame {
        pc: hexadecimal(&row["pc"])?,
        function: row["symbol"].as_str().unwrap_or("?").to_owned(),
        inlined: inlined
            .filter_map(|at| at["function"].as_str().map(str::to_owned))
            .collect(),
    })
}

/// Registers by their names in lower case.
pub(crate) type Registers = BTreeMap<String, u64>;

/// Registers of the context that crashed by `analyze`.
pub(crate) fn registers(dump: &Dump) -> Result<Registers, String> {
    let said = json(&ask("analyze", dump, &["--json"])?)?;
    let rows = said["report"]["registers"].as_array();
    let registers: Registers = rows
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row["name"].as_str()?.to_owned(), row["value"].as_u64()?)))
        .collect();
    match registers.is_empty() {
        true => Err("no registers".into()),
        false => Ok(registers),
    }
}

/// Registers of everything that was interrupted on the stack of the task that crashed, by `inspect bt`.
pub(crate) fn interrupted(dump: &Dump) -> Result<Vec<Registers>, String> {
    let said = inspect(dump, &["bt"])?;
    let exceptions = said["tasks"][0]["exceptions"].as_array();
    let of_one = |exception: &Value| -> Registers {
        let registers = exception["registers"].as_object();
        registers
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), hexadecimal(value)?)))
            .collect()
    };
    Ok(exceptions.into_iter().flatten().map(of_one).collect())
}

/// What `inspect bt` prints.
pub(crate) fn backtrace(dump: &Dump) -> Result<String, String> {
    let output = ask("inspect", dump, &["bt"])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of `inspect log`, with the callers if wanted.
pub(crate) fn log(dump: &Dump, callers: bool) -> Result<String, String> {
    let command: &[&str] = if callers { &["log", "-c"] } else { &["log"] };
    let output = ask("inspect", dump, command)?;
    match output.status.success() && !output.stdout.is_empty() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(complaint(&output)),
    }
}

/// The members of an object by `inspect struct`.
pub(crate) fn object(dump: &Dump, type_name: &str, at: u64) -> Result<Value, String> {
    let at = format!("{at:#x}");
    let mut said = json(&ask(
        "inspect",
        dump,
        &["struct", type_name, &at, "--json"],
    )?)?;
    match &said["objects"][0]["value"] {
        Value::Null => Err(format!("no value: {}", said["missing"])),
        _ => Ok(said["objects"][0]["value"].take()),
    }
}

fn hexadecimal(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}
