//! `recrash compare`: a signature, run, vmcore or text against a golden. Boots nothing, writes no golden.
use recrash_machine::run::manifest::Manifest;
use std::path::PathBuf;

use super::{Outcome, TargetArg};
use crate::debug_files::DebugArgs;
use crate::expect::Expect;
use crate::golden;
use crate::judge::{Course, Judged, Places};
use crate::output;
use crate::subject::Subject;

/// Compares a signature, a run, a vmcore or a text with a golden.
///
/// Prints the verdict, the differences with and without a rule that explains them, and what the golden
/// leaves open. A vmcore is analysed, a text imported first; which one it is, its contents say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A signature, a run folder, a vmcore, or a crash session or console log as text
    #[arg(value_name = "SIGNATURE|RUN|VMCORE|TEXT")]
    subject: PathBuf,
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
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let subject = Subject::read(&self.subject, &self.split, &self.debug)?;
        let wanted = match self.golden {
            Some(name) => name,
            None => self.target.load()?.default.golden,
        };
        let golden = golden::find(&super::checkout()?.join("golden"), &wanted)?;
        let judged = Judged {
            comparison: subject.compare(&golden.signature),
            golden: golden::name(&golden),
            expect: self.expect,
        };
        if self.json {
            let run = Manifest::load(&self.subject).is_ok();
            let places = Places {
                run: run.then(|| self.subject.clone()),
                ..Places::default()
            };
            let course = Course {
                stage: subject.stage().map(str::to_owned),
                ..Course::default()
            };
            judged.print_json(&places, &course)?;
        } else {
            output::print(&format!("{}\n{}", judged.text(), judged.conclusion()))?;
        }
        Ok(judged.exit())
    }
}
