//! `recrash golden check`: every pair of goldens by the rules as they are, and what an older set of rules said.
use anyhow::{Context, anyhow};
use recrash_signature::matrix::{self, Matrix};
use recrash_signature::store;
use recrash_signature::triage::Member;
use serde::Serialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::golden;
use crate::output;

/// A table of a thousand pairs takes 1 MB.
const MAX_TABLE: u64 = 64 << 20;

const EXITS: &str = "\
Exit codes:
  0  all goldens can be read and are as themselves; with --rules-diff, nothing moved
  1  with --rules-diff: something moved
  2  a golden cannot be read or differs from itself, or OLD is neither a table nor a recrash";

/// Compares every golden with every golden, and says which rules carried each verdict and which bugs they come to.
#[derive(Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(super) struct Args {
    /// Show what moved since OLD: a file that `recrash golden check --json` wrote, or an older recrash, which is run
    #[arg(long, value_name = "OLD")]
    rules_diff: Option<PathBuf>,
    /// Folder of the goldens [default: golden in the checkout]
    #[arg(long, value_name = "DIR")]
    golden_dir: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// What `--rules-diff --json` prints.
#[derive(Serialize)]
#[serde(tag = "type", rename = "rules-diff")]
struct Diff<'a> {
    moved: &'a [String],
}

impl Args {
    pub(super) fn run(self) -> Outcome {
        let folder = super::folder(self.golden_dir)?;
        let members = members(&folder)?;
        let wrong: Vec<String> = members
            .iter()
            .filter_map(|member| matrix::unlike_itself(&member.name, &member.signature))
            .collect();
        if !wrong.is_empty() {
            return Err(Failure::usage(anyhow!("{}", wrong.join("; "))));
        }
        let now = matrix::of(&members);
        let Some(old) = &self.rules_diff else {
            if self.json {
                output::print_json(&now)?;
            } else {
                output::print(&now.text())?;
            }
            return Ok(Exit::Met);
        };
        let moved = matrix::moved(&table(old, &folder)?, &now);
        if self.json {
            output::print_json(&Diff { moved: &moved })?;
        } else if moved.is_empty() {
            output::print("nothing moved\n")?;
        } else {
            output::print(&output::printable_lines(&moved))?;
        }
        Ok(if moved.is_empty() {
            Exit::Met
        } else {
            Exit::Differs
        })
    }
}

fn members(folder: &Path) -> Result<Vec<Member>, Failure> {
    let files = store::list(folder).map_err(Failure::usage)?;
    let read = |file: &PathBuf| {
        let golden = store::read(file).map_err(Failure::usage)?;
        Ok(Member {
            name: golden::name(&golden),
            signature: golden.signature,
        })
    };
    files.iter().map(read).collect()
}

/// The older table: read, or made by the older recrash.
fn table(old: &Path, folder: &Path) -> Result<Matrix, Failure> {
    let name = old.display();
    let mut file = std::fs::File::open(old).with_context(|| name.to_string())?;
    let mut magic = [0; 4];
    let executable = file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF";
    let text = if executable {
        of_executable(old, folder)?
    } else {
        std::fs::read(old).with_context(|| name.to_string())?
    };
    let table: Matrix = serde_json::from_slice(&text)
        .with_context(|| format!("{name}: no table that `recrash golden check --json` wrote"))?;
    if table.version != matrix::VERSION {
        return Err(Failure::usage(anyhow!(
            "{name}: a table of version {}, this is version {}",
            table.version,
            matrix::VERSION
        )));
    }
    Ok(table)
}

/// What an older recrash says of the same goldens.
fn of_executable(old: &Path, folder: &Path) -> Result<Vec<u8>, Failure> {
    let name = old.display();
    // A bare name would be looked up in PATH.
    let old = std::fs::canonicalize(old)?;
    let mut child = Command::new(&old)
        .args(["golden", "check", "--json", "--golden-dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name}: cannot be run"))?;
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_TABLE).read_to_end(&mut text)?;
    }
    let status = child.wait()?;
    if !status.success() {
        let error = anyhow!("{name} could not check these goldens ({status})");
        return Err(Failure::usage(error).hint(
            "a recrash of another schema cannot read them: give the table that it wrote then",
        ));
    }
    Ok(text)
}
