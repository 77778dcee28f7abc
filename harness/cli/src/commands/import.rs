//! `recrash import`: the signature of a crash of which only text is left. Compares nothing.
use anyhow::Context;
use recrash_machine::setup::root;
use recrash_transcript::without_prose;
use std::path::PathBuf;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::import::{self, Imported, table};
use crate::progress::Progress;
use crate::{golden, output};

/// Texts from here on, in bytes, may take over a second to read.
const LONG: usize = 8 << 20;

/// Turns a crash-utility session or a console log into a signature.
///
/// The text may be embedded in Markdown or mail, annotated, wrapped, cut off, and in any order. Registers are found in
/// the stack words of `bt -f` by their shape, also where the session's own backtrace is wrong; what the text says twice
/// is compared. A fact that the text does not give is absent, with the reason.
///
/// Exit codes: 0 a signature was made; 2 the file cannot be read, or has nothing of a crash in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The text, at most 256 MiB; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The text of another crash of the same kernel build: lends symbols and disassembly, if its addresses fit; of
    /// several, the first that fits
    #[arg(long, value_name = "FILE")]
    like: Vec<PathBuf>,
    /// Propose it as this golden (.snap.new, for review; never under CI), with the evidence as .txt beside it
    #[arg(long, value_name = "CASE/NAME")]
    golden: Option<String>,
    /// Write the signature to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print every statement with the lines that it rests on, instead of the signature
    #[arg(long, conflicts_with = "json")]
    report: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The result as `--json` prints it.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "import")]
struct Line<'a> {
    signature: &'a recrash_signature::Signature,
    dropped_frames: Vec<Told<'a>>,
    contradictions: Vec<Told<'a>>,
    lost: Vec<Told<'a>>,
    lent: &'a [String],
}

/// Something that was found, and why.
#[derive(serde::Serialize)]
struct Told<'a> {
    what: String,
    why: &'a str,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        // Before any work: a golden is for review in the checkout that the caller works in, and in no other.
        let goldens = match self.golden {
            Some(_) => Some(root::here().map_err(Failure::usage)?.join("golden")),
            None => None,
        };
        let text = import::text(&self.file)?;
        let progress = (text.len() > LONG && !self.json).then(|| Progress::new(false, false));
        if let Some(progress) = &progress {
            progress.named_stage("read", &format!("read {}", output::size(text.len() as u64)));
        }
        let imported = import::of_text(&self.file, &text, &self.like);
        if let Some(progress) = &progress {
            progress.end();
        }
        let imported = imported?;
        if !self.like.is_empty() && imported.account.lent.is_empty() {
            output::note("nothing is lent: no other text's addresses fit this one's\n");
        }
        let signature = imported.signature.to_toml().map_err(Failure::usage)?;
        if let Some(file) = &self.output {
            std::fs::write(file, &signature).with_context(|| file.display().to_string())?;
        }
        if self.json {
            output::print_json(&line(&imported))?;
        } else if self.report {
            output::print(&table::text(&imported))?;
        } else if self.output.is_none() {
            output::print(&signature)?;
        }
        if let (Some(golden), Some(folder)) = (&self.golden, goldens) {
            let evidence = without_prose(&text);
            golden::propose(&folder, golden, &imported.signature, Some(&evidence))?;
        }
        Ok(Exit::Met)
    }
}

fn line(imported: &Imported) -> Line<'_> {
    let account = &imported.account;
    Line {
        signature: &imported.signature,
        dropped_frames: account
            .dropped
            .iter()
            .map(|dropped| Told {
                what: dropped.function.clone(),
                why: &dropped.why,
            })
            .collect(),
        contradictions: account
            .contradictions
            .iter()
            .map(|found| Told {
                what: format!("{}: {}", found.what, found.one),
                why: &found.other,
            })
            .collect(),
        lost: imported
            .evidence
            .lost
            .iter()
            .map(|lost| Told {
                what: format!("line {}", lost.line),
                why: &lost.why,
            })
            .collect(),
        lent: &account.lent,
    }
}
