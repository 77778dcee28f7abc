//! `recrash golden`: lists goldens, rewrites those of an older schema, and shows what the rules make of them. Accepting
//! one is a person's work, with cargo-insta.
mod check;
mod diff;
mod migrate;

use recrash_signature::{schema, store};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::golden;
use crate::output::{self, DIM, printable};

/// Looks after the goldens: the signatures that people accepted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(List),
    Schema(SchemaArgs),
    Migrate(migrate::Args),
    Check(check::Args),
    Diff(diff::Args),
}

/// Lists the goldens with title and bug.
#[derive(Debug, clap::Args)]
struct List {
    /// Folder of the goldens [default: golden in the checkout]
    #[arg(long, value_name = "DIR")]
    golden_dir: Option<PathBuf>,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::List(args) => args.run(),
            Action::Schema(SchemaArgs {}) => print_schema(),
            Action::Migrate(args) => args.run(),
            Action::Check(args) => args.run(),
            Action::Diff(args) => args.run(),
        }
    }
}

/// Prints the JSON Schema of signatures, generated from the types.
#[derive(Debug, clap::Args)]
struct SchemaArgs {}

fn print_schema() -> Outcome {
    output::print(&schema::text().map_err(Failure::usage)?)?;
    Ok(Exit::Met)
}

/// The folder that was named, or the checkout's.
fn folder(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => Ok(folder),
        None => Ok(super::checkout()?.join("golden")),
    }
}

/// One golden, as `--json` lists it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    name: String,
    title: &'a str,
    bug: Option<&'a str>,
    schema: u32,
}

impl List {
    fn run(self) -> Outcome {
        let mut out = String::new();
        for file in store::list(&folder(self.golden_dir)?).map_err(Failure::usage)? {
            let golden = store::read(&file).map_err(Failure::usage)?;
            let name = golden::name(&golden);
            let signature = &golden.signature;
            let line = Line {
                name,
                title: &signature.title,
                bug: signature.bug.as_deref(),
                schema: signature.schema,
            };
            if self.json {
                output::print_json(&line)?;
                continue;
            }
            let _ = writeln!(out, "{}", printable(&line.name));
            let _ = writeln!(out, "  {}", printable(line.title));
            if let Some(bug) = line.bug {
                let _ = writeln!(out, "  {DIM}{}{DIM:#}", printable(bug));
            }
        }
        output::print(&out)?;
        Ok(Exit::Met)
    }
}
