//! `recrash analyze`: the signature and report of one vmcore. Compares nothing.
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};

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

/// What a dump tells. Where no kernel is found in it: what its headers tell, if it has any, and the failure.
///
/// # Errors
/// Usage: no such file, or a debug file that was named is of another kernel.
pub(crate) fn analysis(
    vmcore: &Path,
    split: &[PathBuf],
    debug: &DebugArgs,
    lines: bool,
) -> Result<(Option<Analysis>, Option<Failure>), Failure> {
    dump::must_be_files(vmcore, split)?;
    let how = How {
        accelerator: None,
        debug: Some(debug),
        lines,
        split,
    };
    match extract::analyze(vmcore, how) {
        Ok(analysis) => Ok((Some(analysis), None)),
        Err(failure) if failure.is_usage() => Err(failure),
        Err(failure) => Ok((
            extract::headers(vmcore, split),
            Some(dump::advised(failure, vmcore)),
        )),
    }
}

/// The object that `--json` prints.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn json(analysis: &Analysis) -> anyhow::Result<Value> {
    let value = serde_json::to_value(Line::of(analysis));
    value.context("the analysis as JSON")
}

impl<'a> Line<'a> {
    fn of(analysis: &'a Analysis) -> Self {
        Self {
            signature: &analysis.signature,
            report: &analysis.report,
        }
    }
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let lines = self.report || self.json || self.output.is_some();
        let (analysis, failure) = analysis(&self.vmcore, &self.split, &self.debug, lines)?;
        if let Some(analysis) = &analysis {
            self.print(analysis)?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let (Some(wanted), Some(analysis)) = (&self.golden, &analysis) {
            let folder = super::checkout()?.join("golden");
            golden::propose(&folder, wanted, &analysis.signature, None)?;
        }
        Ok(Exit::Met)
    }

    fn print(&self, analysis: &Analysis) -> Result<(), Failure> {
        let signature = analysis.signature.to_toml().map_err(Failure::usage)?;
        if let Some(file) = &self.output {
            std::fs::write(file, &signature).with_context(|| file.display().to_string())?;
        }
        if self.json {
            output::print_json(&Line::of(analysis))?;
        } else if self.report || self.output.is_some() {
            output::print(&text::crash(&analysis.report))?;
        } else {
            output::print(&signature)?;
        }
        Ok(())
    }
}
