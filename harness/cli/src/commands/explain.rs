//! `recrash explain`: the account of one crash, for people. Composes and renders nothing itself.
use anyhow::Context as _;
use recrash_machine::run::folder::VMCORE;
use recrash_signature::Signature;
use recrash_signature::store;
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::debug_files::DebugArgs;
use crate::exit::Exit;
use crate::explain::compose::{self, Others};
use crate::explain::facts::Facts;
use crate::explain::render::{self, CHINESE, ENGLISH};
use crate::explain::{from_crash, story::Story};
use crate::extract::{self, How};
use crate::failure::Failure;
use crate::subject::Subject;
use crate::{dump, golden, output};

/// Writes the account of a crash as an engineer would, with the evidence for each statement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The vmcore, or the folder of a run
    #[arg(value_name = "FILE|RUN")]
    path: PathBuf,
    /// Another file of a split dump (makedumpfile --split); once for each
    #[arg(long, value_name = "FILE")]
    split: Vec<PathBuf>,
    /// Compare with this crash too: a vmcore, a signature, a run; once for each
    #[arg(long, value_name = "PATH")]
    with: Vec<PathBuf>,
    /// The language
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
    /// The format
    #[arg(long, value_enum, default_value_t = Format::Terminal, conflicts_with = "json")]
    format: Format,
    /// Print the account as one JSON object
    #[arg(long)]
    json: bool,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    debug: DebugArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    /// English
    En,
    /// Chinese
    Zh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For reading here
    Terminal,
    /// For an issue or a wiki
    Markdown,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let (facts, signature) = self.read()?;
        let others = self.others(&signature);
        let story = compose::story(&facts, &others);
        self.write(&story)?;
        Ok(Exit::Met)
    }

    fn read(&self) -> Result<(Facts, Signature), Failure> {
        let name = name(&self.path);
        let vmcore = if self.path.is_dir() {
            self.path.join(VMCORE)
        } else {
            self.path.clone()
        };
        dump::must_be_files(&vmcore, &self.split)?;
        let how = How {
            accelerator: None,
            debug: Some(&self.debug),
            lines: false,
            split: &self.split,
        };
        let (analysis, facts) = extract::analyze_with(&vmcore, how, |kernel, crash| {
            from_crash::facts(&name, kernel, crash)
        })?;
        Ok((facts, analysis.signature))
    }

    /// The goldens of the checkout, where there is one, and what `--with` names.
    fn others(&self, own: &Signature) -> Others {
        let mut others = Others::default();
        if let Ok(root) = super::checkout() {
            match store::list(&root.join("golden")) {
                Ok(paths) => {
                    for path in paths {
                        match store::read(&path) {
                            Ok(known) => {
                                others.compare(&golden::name(&known), &known.signature, own, false);
                            }
                            Err(why) => others.why_not.push(format!("{}: {why}", name(&path))),
                        }
                    }
                }
                Err(why) => others.why_not.push(why.to_string()),
            }
        } else {
            others.why_not.push("no checkout with goldens".into());
        }
        for path in &self.with {
            match Subject::read(path, &[], &self.debug) {
                Ok(Subject::Crash(other)) => others.compare(&name(path), &other, own, true),
                Ok(Subject::NoCrash(why) | Subject::Inconclusive { why, .. }) => {
                    others.why_not.push(format!("{}: {why}", name(path)));
                }
                Err(failure) => others.why_not.push(failure.chain()),
            }
        }
        others
    }

    fn write(&self, story: &Story) -> Result<(), Failure> {
        let language = match self.lang {
            Lang::En => &ENGLISH,
            Lang::Zh => &CHINESE,
        };
        let text = if self.json {
            let mut line = serde_json::to_string(story).context("the account as JSON")?;
            line.push('\n');
            line
        } else {
            match self.format {
                Format::Markdown => render::markdown(story, language),
                Format::Terminal => render::terminal(story, language),
            }
        };
        match &self.output {
            Some(file) => {
                let plain = anstream::adapter::strip_str(&text).to_string();
                std::fs::write(file, plain).with_context(|| file.display().to_string())?;
            }
            None if self.json => output::print_json(story)?,
            None => output::print(&text)?,
        }
        Ok(())
    }
}

/// The last part of a path.
fn name(path: &Path) -> String {
    let last = path.file_name().unwrap_or(path.as_os_str());
    last.to_string_lossy().into_owned()
}
