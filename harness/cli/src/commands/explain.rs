//! `recrash explain`: the account of one crash, for people. Composes and renders nothing itself.
use anyhow::{Context as _, anyhow};
use recrash_machine::run::folder::VMCORE;
use recrash_signature::Signature;
use recrash_signature::store;
use recrash_transcript::{account, evidence};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::debug_files::DebugArgs;
use crate::exit::Exit;
use crate::explain::compose::{self, Others};
use crate::explain::facts::Facts;
use crate::explain::others::{Another, Own};
use crate::explain::render::{self, CHINESE, ENGLISH};
use crate::explain::story::Story;
use crate::explain::ties::Essence;
use crate::explain::{from_account, from_crash};
use crate::extract::{self, How};
use crate::failure::Failure;
use crate::subject::Subject;
use crate::{dump, golden, output};

/// What is read to tell a dump from a text, in bytes.
const HEAD: u64 = 64;
/// Largest text that is read, in bytes: consoles log a few MiB a day.
const MAX_TEXT: u64 = 256 << 20;

/// Writes the account of a crash as an engineer would, with the evidence for each statement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A vmcore, the folder of a run, a crash session or a kernel log as text
    #[arg(value_name = "FILE|RUN")]
    path: PathBuf,
    /// Another file of a split dump (makedumpfile --split); once for each
    #[arg(long, value_name = "FILE")]
    split: Vec<PathBuf>,
    /// Of a text: the text of another crash of the same kernel, to borrow symbols and instructions from
    #[arg(long, value_name = "FILE")]
    like: Option<PathBuf>,
    /// Compare with this crash too: a vmcore, a run, a signature, a text; once for each
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
        let own = Own {
            signature,
            essence: Essence::of_facts(&facts),
        };
        let others = self.others(&own);
        let story = compose::story(&facts, &others);
        self.write(&story)?;
        Ok(Exit::Met)
    }

    fn read(&self) -> Result<(Facts, Option<Signature>), Failure> {
        let name = name(&self.path);
        if let Some(text) = self.text(&self.path)? {
            return Ok((self.of_text(&name, &text)?, None));
        }
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
        Ok((facts, Some(analysis.signature)))
    }

    fn of_text(&self, name: &str, text: &str) -> Result<Facts, Failure> {
        let evidence = evidence::read(text);
        let like = match &self.like {
            Some(path) => {
                let text = self
                    .text(path)?
                    .ok_or_else(|| Failure::usage(anyhow!("{}: no text", path.display())))?;
                Some(evidence::read(&text))
            }
            None => None,
        };
        let account = account::of(&evidence, like.as_ref());
        Ok(from_account::facts(name, &evidence, account))
    }

    /// The text of a file that is one; `None` for a vmcore and for a folder.
    fn text(&self, path: &Path) -> Result<Option<String>, Failure> {
        if path.is_dir() {
            return Ok(None);
        }
        dump::must_be_files(path, &[])?;
        let context = || path.display().to_string();
        let file = std::fs::File::open(path).with_context(context)?;
        let mut bytes = Vec::new();
        (&file)
            .take(HEAD)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        if is_dump(&bytes) {
            return Ok(None);
        }
        (&file)
            .take(MAX_TEXT)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        if bytes.len() as u64 > MAX_TEXT {
            return Err(Failure::usage(anyhow!(
                "{}: over 256 MiB of text",
                context()
            )));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The goldens of the checkout, where there is one, and what `--with` names.
    fn others(&self, own: &Own) -> Others {
        let mut others = Others::default();
        self.goldens(own, &mut others);
        for path in &self.with {
            let name = name(path);
            match self.another(path) {
                Ok(other) => others.compare(&name, &other, own, true),
                Err(why) => others.why_not.push(format!("{name}: {why}")),
            }
        }
        others
    }

    fn goldens(&self, own: &Own, others: &mut Others) {
        let listed = super::checkout()
            .map_err(|failure| failure.chain())
            .and_then(|root| store::list(&root.join("golden")).map_err(|why| why.to_string()));
        let paths = match listed {
            Ok(paths) => paths,
            Err(why) => return others.why_not.push(why),
        };
        for path in paths {
            match store::read(&path) {
                Ok(known) => {
                    let name = golden::name(&known);
                    let other = Another::Signature(Box::new(known.signature));
                    others.compare(&name, &other, own, false);
                }
                Err(why) => others.why_not.push(format!("{}: {why}", name(&path))),
            }
        }
    }

    fn another(&self, path: &Path) -> Result<Another, String> {
        let signature = matches!(
            path.extension().and_then(|extension| extension.to_str()),
            Some("snap" | "toml")
        );
        let text = if signature {
            None
        } else {
            self.text(path).map_err(|failure| failure.chain())?
        };
        if let Some(text) = text {
            let evidence = evidence::read(&text);
            let account = account::of(&evidence, None);
            let facts = from_account::facts("", &evidence, account);
            return Ok(Another::Text(Essence::of_facts(&facts)));
        }
        match Subject::read(path, &[], &self.debug).map_err(|failure| failure.chain())? {
            Subject::Crash(other) => Ok(Another::Signature(other)),
            Subject::NoCrash(why) | Subject::Inconclusive { why, .. } => Err(why),
        }
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

/// Whether a file begins as a dump does: ELF, kdump-compressed, flattened; or with a NUL, which no text has.
fn is_dump(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [b"\x7fELF", b"KDUMP   ", b"DISKDUMP", b"makedumpfile"];
    MAGIC.iter().any(|magic| head.starts_with(magic)) || head.starts_with(&[0])
}
