//! `recrash compare`: a signature, run, vmcore or text against a golden. Boots nothing, writes no golden.
use anyhow::anyhow;
use recrash_machine::run::manifest::Manifest;
use recrash_signature::Signature;
use serde_json::Value;
use std::path::{Path, PathBuf};

use super::{Outcome, TargetArg};
use crate::debug_files::DebugArgs;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::golden;
use crate::judge::{Course, Judged, Places};
use crate::output;
use crate::report::comparison as of_comparison;
use crate::report::document::GoldenRef;
use crate::report::emit::ReportArgs;
use crate::report::sides;
use crate::subject::Subject;

/// Compares a signature, a run, a vmcore or a text with a golden.
///
/// Prints the verdict, the differences with and without a rule that explains them, and what the golden
/// leaves open. A vmcore is analysed, a text imported first; which one it is, its contents say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A signature, a run folder, a vmcore, or a crash session or console log as text (`-`: stdin)
    #[arg(value_name = "SIGNATURE|RUN|VMCORE|TEXT")]
    subject: PathBuf,
    /// A second one: the first is taken as the golden, and either may be a golden's name
    #[arg(value_name = "OTHER", conflicts_with_all = ["golden", "target"])]
    other: Option<PathBuf>,
    /// Another file of a split vmcore; once for each
    #[arg(long, value_name = "FILE")]
    split: Vec<PathBuf>,
    /// The golden: case, name, case/name, or a .snap file [default: the target's]
    #[arg(long, value_name = "GOLDEN")]
    golden: Option<String>,
    /// What exit code 0 shall mean
    #[arg(long, value_name = "VERDICT", default_value = "same-crash")]
    expect: Expect,
    #[command(flatten)]
    target: TargetArg,
    #[command(flatten)]
    debug: DebugArgs,
    /// Show every fact side by side, not only those that differ
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// A comparison with what was compared, ready to be shown.
#[derive(Debug)]
pub(crate) struct Compared {
    judged: Judged,
    golden: Signature,
    subject: Subject,
    /// The folder, if it is a run's.
    run: Option<PathBuf>,
}

impl Compared {
    /// Compares what was read from `path` with a golden, which comes with its name.
    pub(crate) fn new(
        (name, golden): (String, Signature),
        subject: Subject,
        path: &Path,
        expect: Expect,
    ) -> Self {
        let judged = Judged {
            comparison: subject.compare(&golden),
            golden: name,
            expect,
        };
        let run = Manifest::load(path).is_ok().then(|| path.to_owned());
        Self {
            judged,
            golden,
            subject,
            run,
        }
    }

    /// As it is printed, with styles; `full` shows facts that are equal too.
    pub(crate) fn text(&self, full: bool, width: usize) -> String {
        let mut text = self.judged.text();
        if let Subject::Crash(found) = &self.subject {
            let table = sides::sides(&self.golden, found, full, width);
            if !table.is_empty() {
                text.push('\n');
                text.push_str(&table);
            }
        }
        format!("{text}\n{}", self.judged.conclusion())
    }

    /// The object that `--json` prints.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let places = Places {
            run: self.run.clone(),
            ..Places::default()
        };
        let course = Course {
            stage: self.subject.stage().map(str::to_owned),
            ..Course::default()
        };
        self.judged.json(&places, &course)
    }
}

/// A subject in the place of a golden.
///
/// # Errors
/// There was no crash.
pub(crate) fn as_golden(name: String, subject: Subject) -> Result<(String, Signature), Failure> {
    match subject {
        Subject::Crash(signature) => Ok((name, *signature)),
        Subject::NoCrash(why) | Subject::Inconclusive { why, .. } => {
            let error = anyhow!("{name} has no crash to compare with: {why}");
            Err(Failure::usage(error).hint("give a golden, or the file or run of a crash"))
        }
    }
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        let (named, golden) = self.golden()?;
        let path = self.other.as_ref().unwrap_or(&self.subject);
        let subject = match &self.other {
            Some(other) => self.named_or_read(other, &self.split)?.1,
            None => Subject::read(path, &self.split, &self.debug)?,
        };
        let golden = (named.name.clone(), golden);
        let compared = Compared::new(golden, subject, path, self.expect);
        if self.json {
            output::print_json(&compared.json()?)?;
        } else if !self.report.takes_stdout() {
            output::print(&compared.text(self.full, sides::width()))?;
        }
        let document = of_comparison::document(&of_comparison::Compared {
            path,
            subject: &compared.subject,
            judged: &compared.judged,
            golden: &compared.golden,
            named,
        });
        self.report.emit(&document)?;
        Ok(compared.judged.exit())
    }

    /// The golden to compare with, and its name: the target's, the one that was named, or the first of two subjects.
    fn golden(&self) -> Result<(GoldenRef, Signature), Failure> {
        if self.other.is_some() {
            let (name, first) = self.named_or_read(&self.subject, &[])?;
            let (_, signature) = as_golden(name.name.clone(), first)?;
            return Ok((name, signature));
        }
        let wanted = match &self.golden {
            Some(name) => name.clone(),
            None => self.target.load()?.default.golden,
        };
        let golden = golden::find(&super::checkout()?.join("golden"), &wanted)?;
        Ok((GoldenRef::of(&golden), golden.signature))
    }

    /// A file or folder, or else the golden of this name.
    fn named_or_read(
        &self,
        subject: &Path,
        split: &[PathBuf],
    ) -> Result<(GoldenRef, Subject), Failure> {
        if subject.exists() || subject == Path::new("-") {
            let read = Subject::read(subject, split, &self.debug)?;
            return Ok((GoldenRef::named(subject.display().to_string()), read));
        }
        let wanted = subject.display().to_string();
        let golden =
            golden::find(&super::checkout()?.join("golden"), &wanted).map_err(|failure| {
                let names = failure.next().unwrap_or_default();
                failure.hint(format!(
                    "there is no such file, and no golden of that name; {names}"
                ))
            })?;
        let name = GoldenRef::of(&golden);
        Ok((name, Subject::Crash(Box::new(golden.signature))))
    }
}
