//! `recrash import`: the signature of a crash of which only text is left. Compares nothing.
use anyhow::{Context, anyhow};
use recrash_signature::store;
use recrash_transcript::without_prose;
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::import::{self, Imported, table};
use crate::output;

/// Turns a crash-utility session or a console log into a signature.
///
/// The text may be embedded in Markdown or mail, annotated, wrapped, cut off, and in any order. Registers are found in
/// the stack words of `bt -f` by their shape, also where the session's own backtrace is wrong; what the text says twice
/// is compared. A fact that the text does not give is absent, with the reason.
///
/// Exit codes: 0 a signature was made; 2 the file cannot be read, or has nothing of a crash in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The text; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The text of another crash of the same kernel build: lends symbols and disassembly, if its addresses fit
    #[arg(long, value_name = "FILE")]
    like: Option<PathBuf>,
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
        let imported = import::read(&self.file, self.like.as_deref())?;
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
        if let Some(golden) = &self.golden {
            self.propose(golden, &imported)?;
        }
        Ok(Exit::Met)
    }

    fn propose(&self, golden: &str, imported: &Imported) -> Result<(), Failure> {
        let (case, name) = golden
            .split_once('/')
            .ok_or_else(|| Failure::usage(anyhow!("{golden:?} is not of the form CASE/NAME")))?;
        if self.file == Path::new("-") {
            return Err(Failure::usage(anyhow!(
                "a golden's evidence must be a file, not stdin"
            )));
        }
        let root = super::checkout()?.join("golden");
        let ci = store::under_ci();
        let proposal = store::propose_as(&root, case, name, &imported.signature, ci)
            .map_err(Failure::usage)?;
        match proposal {
            Some(proposal) => eprintln!("proposed: {} (cargo insta review)", proposal.display()),
            None if ci => eprintln!("nothing is proposed under CI"),
            None => eprintln!("the golden says the same already"),
        }
        if ci {
            return Ok(());
        }
        let evidence = root.join(case).join(format!("{name}.txt"));
        let text = without_prose(&import::text(&self.file)?);
        if evidence.exists() && std::fs::read_to_string(&evidence).ok().as_deref() != Some(&text) {
            eprintln!(
                "{} is there and says something else: left as it is",
                evidence.display()
            );
            return Ok(());
        }
        std::fs::write(&evidence, text).with_context(|| evidence.display().to_string())?;
        Ok(())
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
