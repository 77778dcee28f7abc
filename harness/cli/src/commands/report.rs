//! `recrash report`: renders kept results again, several together as one. Boots nothing and analyses no dump.
use anyhow::anyhow;
use std::path::PathBuf;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::report::document::{Document, load, merge, schema};
use crate::report::emit::{Format, ReportArgs};

const EXITS: &str = "\
Exit codes:
  0  rendered, whatever the result was
  2  wrong command line, no such file, or no result in it
With --exit-code, what the results themselves ended with: of several the first of 1, 3, 4, 2 that any has, else 0.";

/// Renders kept results: as a page, Markdown, JUnit XML, SARIF or JSON; several as one.
///
/// Takes what runs, campaigns, matrices and verifications leave: their folders, folders of such, or report.json files.
/// Of a run without one, the report is put together from its other files, and says what is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Folders of results, folders of such folders, or report.json files
    #[arg(value_name = "RUN|DIR|FILE", required_unless_present = "schema")]
    results: Vec<PathBuf>,
    /// The form
    #[arg(long, value_name = "FORMAT", default_value = "markdown")]
    format: Format,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// End with the results' own exit code
    #[arg(long)]
    exit_code: bool,
    /// Print the JSON Schema of the json form
    #[arg(long, conflicts_with_all = ["results", "output", "exit_code"])]
    schema: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        if self.schema {
            let text = schema().map_err(Failure::usage)?;
            output::print_plain(&text)?;
            return Ok(Exit::Met);
        }
        let document = self.document()?;
        let report = match &self.output {
            Some(file) => ReportArgs::one(self.format, Some(file.clone())),
            None => ReportArgs::one(self.format, None),
        };
        report.check(false)?;
        report.write(&document)?;
        Ok(if self.exit_code {
            merge::exit([document.exit])
        } else {
            Exit::Met
        })
    }

    fn document(&self) -> Result<Document, Failure> {
        let documents = load::all(&self.results)?;
        merge::merged(documents).ok_or_else(|| Failure::usage(anyhow!("there is no result")))
    }
}
