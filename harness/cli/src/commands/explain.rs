//! `recrash explain`: the account of one crash, for people. Composes and renders nothing itself.
use anyhow::{Context as _, anyhow};
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
use crate::explain::story::Story;
use crate::explain::{from_account, from_crash};
use crate::extract::{self, How};
use crate::failure::Failure;
use crate::subject::{Subject, looks_like_text};
use crate::{dump, golden, import, output};

/// Writes the account of a crash as an engineer would, each statement with its evidence.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    question: Question,
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

/// Which crash, and what to compare it with.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Question {
    /// A vmcore, the folder of a run, a crash session or a kernel log as text; `-` reads text from stdin
    #[arg(value_name = "FILE|RUN")]
    pub(crate) path: PathBuf,
    /// Another file of a split dump (makedumpfile --split); once for each
    #[arg(long, value_name = "FILE")]
    pub(crate) split: Vec<PathBuf>,
    /// Of a text: the text of another crash of the same kernel, to borrow symbols and instructions from
    #[arg(long, value_name = "FILE")]
    pub(crate) like: Vec<PathBuf>,
    /// Compare with this crash too: a vmcore, a run, a signature, a text; once for each
    #[arg(long, value_name = "PATH")]
    pub(crate) with: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    /// English
    En,
    /// Chinese
    Zh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For reading here
    Terminal,
    /// For an issue or a wiki
    Markdown,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let story = self.question.story(&self.debug)?;
        self.write(&story)?;
        Ok(Exit::Met)
    }

    fn write(&self, story: &Story) -> Result<(), Failure> {
        let text = if self.json {
            let mut line = serde_json::to_string(story).context("the account as JSON")?;
            line.push('\n');
            line
        } else {
            rendered(story, self.lang, self.format)
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

/// The account as text, with styles.
pub(crate) fn rendered(story: &Story, lang: Lang, format: Format) -> String {
    let language = match lang {
        Lang::En => &ENGLISH,
        Lang::Zh => &CHINESE,
    };
    match format {
        Format::Markdown => render::markdown(story, language),
        Format::Terminal => render::terminal(story, language),
    }
}

impl Question {
    /// The account.
    ///
    /// # Errors
    /// The crash cannot be read; what it was to be compared with is told in the account instead.
    pub(crate) fn story(&self, debug: &DebugArgs) -> Result<Story, Failure> {
        let (facts, signature) = self.read(debug)?;
        let others = self.others(&signature, debug);
        Ok(compose::story(&facts, &others))
    }

    fn read(&self, debug: &DebugArgs) -> Result<(Facts, Signature), Failure> {
        let name = name(&self.path);
        let stdin = self.path == Path::new("-");
        if stdin || (self.path.is_file() && looks_like_text(&self.path)?) {
            let imported = import::read(&self.path, &self.like)?;
            let facts = from_account::facts(&name, &imported.evidence, imported.account);
            return Ok((facts, imported.signature));
        }
        let vmcore = if self.path.is_dir() {
            let vmcore = self.path.join(VMCORE);
            if !vmcore.exists() {
                let error = anyhow!("{} has no vmcore in it", self.path.display());
                return Err(Failure::usage(error).hint(
                    "name a file, or the folder of a run that crashed (recrash runs); recrash triage looks through others",
                ));
            }
            vmcore
        } else {
            self.path.clone()
        };
        dump::must_be_files(&vmcore, &self.split)?;
        let how = How {
            accelerator: None,
            debug: Some(debug),
            lines: false,
            split: &self.split,
        };
        let (analysis, mut facts) = extract::analyze_with(&vmcore, how, |kernel, crash| {
            from_crash::facts(&name, kernel, crash)
        })?;
        facts.reported(&analysis.signature);
        Ok((facts, analysis.signature))
    }

    /// The goldens of the checkout, where there is one, and what `--with` names.
    fn others(&self, own: &Signature, debug: &DebugArgs) -> Others {
        let mut others = Others::default();
        self.goldens(own, &mut others);
        for path in &self.with {
            let name = name(path);
            match Subject::read(path, &[], debug) {
                Ok(Subject::Crash(other)) => others.compare(&name, &other, own, true),
                Ok(Subject::NoCrash(why) | Subject::Inconclusive { why, .. }) => {
                    others.why_not.push(format!("{name}: {why}"));
                }
                Err(failure) => others.why_not.push(format!("{name}: {}", failure.chain())),
            }
        }
        others
    }

    /// All goldens but the one that was made from the file itself.
    fn goldens(&self, own: &Signature, others: &mut Others) {
        let listed = super::checkout()
            .map_err(|failure| failure.chain())
            .and_then(|root| store::list(&root.join("golden")).map_err(|why| why.to_string()));
        let paths = match listed {
            Ok(paths) => paths,
            Err(why) => return others.why_not.push(why),
        };
        for path in paths {
            if path.file_stem() == self.path.file_stem() {
                continue;
            }
            match store::read(&path) {
                Ok(known) => others.compare(&golden::name(&known), &known.signature, own, false),
                Err(why) => others.why_not.push(format!("{}: {why}", name(&path))),
            }
        }
    }
}

/// The last part of a path.
fn name(path: &Path) -> String {
    let last = path.file_name().unwrap_or(path.as_os_str());
    last.to_string_lossy().into_owned()
}
