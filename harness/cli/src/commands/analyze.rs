//! `recrash analyze`: the signature and report of one vmcore. Compares nothing.
use anyhow::Context;
use std::path::PathBuf;

use super::Outcome;
use crate::debug_files::DebugArgs;
use crate::dump;
use crate::exit::Exit;
use crate::extract::{self, Analysis, How};
use crate::failure::Failure;
use crate::report::{CrashReport, text};
use crate::{golden, output};

/// Reads a vmcore and prints its signature.
///
/// The vmcore alone is enough: symbols, types and unwind tables are read from it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The vmcore: ELF, or what makedumpfile writes
    vmcore: PathBuf,
    /// Another file of a split dump (makedumpfile --split); once for each
    #[arg(long, value_name = "FILE")]
    split: Vec<PathBuf>,
    /// Write the signature to FILE, and the report to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the report instead of the signature
    #[arg(long, conflicts_with_all = ["output", "json"])]
    report: bool,
    /// Propose the signature as this golden (.snap.new, for review; never under CI)
    #[arg(long, value_name = "CASE/NAME")]
    golden: Option<String>,
    /// Print signature and report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    debug: DebugArgs,
}

/// The result as `--json` prints it.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "analysis")]
struct Line<'a> {
    signature: &'a recrash_signature::Signature,
    report: &'a CrashReport,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        dump::must_be_files(&self.vmcore, &self.split)?;
        let how = How {
            accelerator: None,
            debug: Some(&self.debug),
            lines: self.report || self.json || self.output.is_some(),
            split: &self.split,
        };
        match extract::analyze(&self.vmcore, how) {
            Ok(analysis) => {
                self.print(&analysis)?;
                if let Some(wanted) = &self.golden {
                    let folder = super::checkout()?.join("golden");
                    golden::propose(&folder, wanted, &analysis.signature, None)?;
                }
                Ok(Exit::Met)
            }
            Err(failure) => {
                let left = (!failure.is_usage())
                    .then(|| extract::headers(&self.vmcore, &self.split))
                    .flatten();
                if let Some(analysis) = left {
                    self.print(&analysis)?;
                }
                Err(failure)
            }
        }
    }

    fn print(&self, analysis: &Analysis) -> Result<(), Failure> {
        let signature = analysis.signature.to_toml().map_err(Failure::usage)?;
        if let Some(file) = &self.output {
            std::fs::write(file, &signature).with_context(|| file.display().to_string())?;
        }
        if self.json {
            output::print_json(&Line {
                signature: &analysis.signature,
                report: &analysis.report,
            })?;
        } else if self.report || self.output.is_some() {
            output::print(&text::crash(&analysis.report))?;
        } else {
            output::print(&signature)?;
        }
        Ok(())
    }
}
