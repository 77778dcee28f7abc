//! `recrash compare`: a signature, run, vmcore or text against a golden. Boots nothing, writes no golden.
use anyhow::anyhow;
use recrash_machine::run::manifest::Manifest;
use recrash_signature::Signature;
use std::path::{Path, PathBuf};

use super::{Outcome, TargetArg};
use crate::debug_files::DebugArgs;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::golden;
use crate::judge::{Course, Judged, Places};
use crate::output;
use crate::report::comparison::{self as of_comparison, Compared};
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
        let judged = Judged {
            comparison: subject.compare(&golden),
            golden: named.name.clone(),
            expect: self.expect,
        };
        if self.json {
            let run = Manifest::load(path).is_ok();
            let places = Places {
                run: run.then(|| path.clone()),
                ..Places::default()
            };
            let course = Course {
                stage: subject.stage().map(str::to_owned),
                ..Course::default()
            };
            judged.print_json(&places, &course)?;
        } else if !self.report.takes_stdout() {
            let mut text = judged.text();
            if let Subject::Crash(found) = &subject {
                let table = sides::sides(&golden, found, self.full, sides::width());
                if !table.is_empty() {
                    text.push('\n');
                    text.push_str(&table);
                }
            }
            output::print(&format!("{text}\n{}", judged.conclusion()))?;
        }
        let document = of_comparison::document(&Compared {
            path,
            subject: &subject,
            judged: &judged,
            golden: &golden,
            named,
        });
        self.report.emit(&document)?;
        Ok(judged.exit())
    }

    /// The golden to compare with, and its name: the target's, the one that was named, or the first of two subjects.
    fn golden(&self) -> Result<(GoldenRef, Signature), Failure> {
        if self.other.is_some() {
            let (name, first) = self.named_or_read(&self.subject, &[])?;
            return match first {
                Subject::Crash(signature) => Ok((name, *signature)),
                Subject::NoCrash(why) | Subject::Inconclusive { why, .. } => {
                    let error = anyhow!("{} has no crash to compare with: {why}", name.name);
                    Err(Failure::usage(error))
                }
            };
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
        let golden = golden::find(&super::checkout()?.join("golden"), &wanted)
            .map_err(|failure| failure.hint("there is no such file, and no golden of that name"))?;
        let name = GoldenRef::of(&golden);
        Ok((name, Subject::Crash(Box::new(golden.signature))))
    }
}
