//! What follows a boot: analysis, comparison, the files that the run's folder gets, and what is printed.
//! Boots nothing.
use recrash_machine::run::{self, Manifest, RunError, RunRecord};
use recrash_signature::Signature;
use recrash_signature::compare::{Comparison, Verdict};
use recrash_signature::store::{self, Golden};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::campaign::record::Record;
use crate::captures::{self, Captures};
use crate::debug_files::DebugArgs;
use crate::exit::Exit;
use crate::expect::Expect;
use crate::extract::How;
use crate::judge::{Course, Judged, Places};
use crate::output::{self, DIM, HEAD};
use crate::progress::Progress;
use crate::report::document::{Case, Document, GoldenRef};
use crate::report::run::{Judgement, Parts};
use crate::report::{CrashReport, device, emit, run as run_report, text};
use crate::subject::{SIGNATURE, Subject};
use crate::timings::Timings;
use crate::{extract, golden};

/// Name of the report in a run folder.
const REPORT: &str = "report.txt";
/// Name of the signature of QEMU's dump, where there is another.
const QEMU_SIGNATURE: &str = "signature.qemu.toml";
/// Lines of the console that are shown of a run that says nothing.
const CONSOLE_TAIL: usize = 12;

/// A run that is judged and written down.
pub(crate) struct Aftermath {
    judged: Judged,
    places: Places,
    course: Course,
    report: CrashReport,
    proposal: Option<PathBuf>,
    document: Document,
}

impl Aftermath {
    /// Analyses, compares, and writes signature, report and verdict into the run's folder.
    pub(crate) fn of(
        ended: Result<RunRecord, RunError>,
        golden: &Golden,
        expect: Expect,
        progress: &Progress,
        begin: Instant,
    ) -> Self {
        let mut places = Places::default();
        let mut course = Course::default();
        let mut report = CrashReport::default();
        let analysis_begin = Instant::now();
        // Until everything is written nobody may prune the run.
        let locked = match &ended {
            Ok(record) => Some(Arc::clone(&record.folder)),
            Err(error) => error.folder.clone(),
        };
        places.run = locked.as_ref().map(|folder| folder.path().to_owned());
        let (subject, manifest) = match ended {
            Ok(record) => {
                let mut captures = Captures {
                    note: record.manifest.capture.clone(),
                    ..Captures::default()
                };
                let subject = subject(&record, progress, &mut places, &mut report, &mut captures);
                course.capture = Some(captures);
                (subject, Some(record.manifest))
            }
            Err(error) => {
                course.failure = Some(error.kind);
                course.console_tail = tail(&error);
                let subject = Subject::Inconclusive {
                    stage: Some(error.stage.to_string()),
                    why: error.detail,
                };
                (subject, None)
            }
        };
        let analysis = analysis_begin.elapsed();
        course.stage = subject.stage().map(str::to_owned);
        let report_begin = Instant::now();
        let judged = Judged {
            comparison: subject.compare(&golden.signature),
            golden: golden::name(golden),
            expect,
        };
        if let Some(manifest) = &manifest {
            course.physical_device.clone_from(&manifest.physical);
        }
        let document = document(
            &judged,
            &subject,
            golden,
            manifest.as_ref(),
            &places,
            &course,
            &report,
        );
        let mut aftermath = Self {
            judged,
            places,
            course,
            report,
            proposal: None,
            document,
        };
        aftermath.write_down(&subject, golden);
        drop(locked);
        progress.end();
        aftermath.course.timings = manifest.map(|manifest| {
            let after = [("analyze", analysis), ("report", report_begin.elapsed())];
            Timings::new(&manifest, &after, begin.elapsed())
        });
        aftermath
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.judged.exit()
    }

    /// What the run gave, against the golden.
    pub(crate) fn comparison(&self) -> &Comparison {
        &self.judged.comparison
    }

    /// The run's folder, if it got so far.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.places.run.as_deref()
    }

    /// All there is to tell of the run.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// The run as a case of something larger, with its own name.
    pub(crate) fn case(&self) -> Option<&Case> {
        self.document.cases.first()
    }

    /// The same outcome as one of a campaign's, under its number.
    pub(crate) fn record(&self, number: u32, took: Duration) -> anyhow::Result<Record> {
        let Comparison { verdict, why, .. } = &self.judged.comparison;
        Ok(Record {
            number,
            verdict: *verdict,
            exit: self.exit(),
            why: why.clone(),
            failure: self.course.failure,
            took,
            run: self.places.run.clone(),
            case: self.case().cloned().map(Box::new),
            result: self.judged.json(&self.places, &self.course)?,
        })
    }

    /// Prints the result: one JSON object, or the report and the conclusion.
    pub(crate) fn print(&self, json: bool, timings: bool) -> anyhow::Result<()> {
        if json {
            return self.judged.print_json(&self.places, &self.course);
        }
        let mut out = format!("\n{}", self.text());
        if timings && let Some(timings) = &self.course.timings {
            let _ = write!(out, "\n{}", timings.text());
        }
        let _ = write!(out, "\n{}", self.judged.conclusion());
        if let Some(proposal) = &self.proposal {
            let _ = writeln!(
                out,
                "a new golden is proposed in {} (cargo insta review)",
                proposal.display()
            );
        }
        match (&self.places.report, &self.places.run) {
            (Some(report), _) => {
                let _ = writeln!(out, "report: {}", report.display());
                if let Some(page) = &self.places.page {
                    let _ = writeln!(out, "page: {}", page.display());
                }
            }
            (None, Some(folder)) => {
                let _ = writeln!(out, "run: {}", folder.display());
            }
            (None, None) => {}
        }
        output::print(&out)?;
        Ok(())
    }

    /// The report: what crashed, verdict and differences, then the account of the crash.
    fn text(&self) -> String {
        let mut out = self.judged.text();
        if !self.course.console_tail.is_empty() {
            text::heading(&mut out, "Last lines of the console");
            for line in &self.course.console_tail {
                let _ = writeln!(out, "  {DIM}{}{DIM:#}", output::printable(line));
            }
        }
        let capture = self.course.capture.as_ref().map(Captures::text);
        if let Some(capture) = capture.filter(|text| !text.is_empty()) {
            let _ = write!(out, "\n{capture}");
        }
        if let Some(device) = &self.course.physical_device {
            text::facts(&mut out, "Physical device", &device::facts(device));
        }
        let crash = text::crash(&self.report);
        if !crash.is_empty() {
            let _ = write!(out, "\n{crash}");
        }
        out
    }

    /// Signature, report, verdict and, where the crash is another one, a proposal. The verdict stands even
    /// if its folder is full.
    fn write_down(&mut self, subject: &Subject, golden: &Golden) {
        let Some(folder) = self.places.run.clone() else {
            return;
        };
        let mut title = None;
        if let Subject::Crash(signature) = subject {
            title = Some(signature.title.clone());
            self.places.signature = warned("the signature", write_signature(&folder, signature));
        }
        let equal = self.course.capture.as_ref().and_then(|c| c.note.equal);
        if let Some(equal) = equal {
            let noted = Manifest::set_equal(&folder, equal);
            warned("that the captures were compared", noted.map_err(Into::into));
        }
        let plain = plain_report(title.as_deref(), &self.text());
        let file = folder.join(REPORT);
        self.places.report = warned(
            "the report",
            std::fs::write(&file, plain)
                .map(|()| file)
                .map_err(Into::into),
        );
        self.places.page = emit::keep(&mut self.document, &folder);
        let verdict = self.judged.comparison.verdict.to_string();
        let noted = Manifest::set_verdict(&folder, &verdict, title.as_deref());
        warned("the verdict", noted.map_err(Into::into));
        // A same crash with another value than `--exact` wants is the golden's crash all the same.
        let is_the_goldens = self.judged.comparison.verdict == Verdict::SameCrash;
        if let (Subject::Crash(signature), Exit::Differs, false) =
            (subject, self.exit(), is_the_goldens)
        {
            let proposal = store::propose(golden, signature, store::under_ci());
            self.proposal = warned("the proposed golden", proposal.map_err(Into::into)).flatten();
        }
    }
}

/// What there is to tell of a run that has just ended.
fn document(
    judged: &Judged,
    subject: &Subject,
    golden: &Golden,
    manifest: Option<&Manifest>,
    places: &Places,
    course: &Course,
    report: &CrashReport,
) -> Document {
    let signature = match subject {
        Subject::Crash(signature) => Some(&**signature),
        Subject::NoCrash(_) | Subject::Inconclusive { .. } => None,
    };
    // A run that broke off has written down what it was before it did.
    let folder = places.run.as_deref();
    let written = match (manifest, folder) {
        (None, Some(folder)) => Manifest::load(folder).ok(),
        _ => None,
    };
    run_report::document(Parts {
        folder,
        manifest: manifest.or(written.as_ref()),
        signature,
        judgement: Some(Judgement {
            comparison: &judged.comparison,
            golden: &golden.signature,
            named: GoldenRef::of(golden),
            expected: judged.expect.name(),
            exit: judged.exit(),
        }),
        account: (*report != CrashReport::default()).then(|| report.clone()),
        console_tail: &course.console_tail,
    })
}

/// What the run gives to compare; analyses its vmcore.
fn subject(
    record: &RunRecord,
    progress: &Progress,
    places: &mut Places,
    report: &mut CrashReport,
    captures: &mut Captures,
) -> Subject {
    match &record.outcome {
        run::Outcome::Crashed { vmcore, other, .. } => {
            places.vmcore = Some(vmcore.clone());
            let accelerator = record.manifest.accel.to_string();
            progress.named_stage("analyze", "analyse the vmcore");
            // What the target brings, else what is installed: where there is debug information of the kernel, the report
            // has source lines.
            let debug = record.manifest.debug_dir.as_deref();
            let debug = debug.map_or_else(DebugArgs::default, DebugArgs::in_folder);
            let how = How {
                accelerator: Some(&accelerator),
                debug: Some(&debug),
                lines: true,
                ..How::default()
            };
            let signature = match extract::analyze(vmcore, how) {
                Ok(analysis) => {
                    *report = analysis.report;
                    analysis.signature
                }
                Err(failure) => return unread(&failure.chain()),
            };
            let Some(other) = other else {
                return Subject::Crash(Box::new(signature));
            };
            progress.named_stage("compare-captures", "analyse QEMU's dump and compare");
            match compare_captures(record.folder.path(), &signature, other, how, captures) {
                Ok(None) => Subject::Crash(Box::new(signature)),
                Ok(Some(why)) => unread(&why),
                Err(error) => unread(&format!("{error:#}")),
            }
        }
        run::Outcome::NoCrash => Subject::NoCrash(
            "the device was asked, the fault code ran, and the kernel was alive at the end".into(),
        ),
        run::Outcome::Inconclusive { stage, reason } => Subject::Inconclusive {
            stage: Some(stage.to_string()),
            why: reason.clone(),
        },
    }
}

fn unread(why: &str) -> Subject {
    Subject::Inconclusive {
        stage: Some("analyze".into()),
        why: why.into(),
    }
}

/// Analyses QEMU's dump too, and keeps its signature. Gives why the run says nothing, if the two signatures differ; then
/// both are kept.
fn compare_captures(
    folder: &Path,
    signature: &Signature,
    other: &Path,
    how: How<'_>,
    captures: &mut Captures,
) -> anyhow::Result<Option<String>> {
    let analysis = extract::analyze(other, how)
        .map_err(|failure| anyhow::anyhow!("QEMU's dump of the same death: {}", failure.chain()))?;
    let file = folder.join(QEMU_SIGNATURE);
    std::fs::write(&file, analysis.signature.to_toml()?)?;
    captures.qemu_signature = Some(file);
    captures.compared(captures::differences(signature, &analysis.signature)?);
    let why = captures.contradiction();
    if why.is_some() {
        write_signature(folder, signature)?;
    }
    Ok(why)
}

fn tail(error: &RunError) -> Vec<String> {
    let skipped = error.console_tail.len().saturating_sub(CONSOLE_TAIL);
    error.console_tail.iter().skip(skipped).cloned().collect()
}

fn write_signature(folder: &Path, signature: &Signature) -> anyhow::Result<PathBuf> {
    let file = folder.join(SIGNATURE);
    std::fs::write(&file, signature.to_toml()?)?;
    Ok(file)
}

/// `report.txt`: the same text without styles, under the crash's title.
fn plain_report(title: Option<&str>, text: &str) -> String {
    let title = title.map_or_else(String::new, |title| format!("{HEAD}{title}{HEAD:#}\n\n"));
    anstream::adapter::strip_str(&format!("{title}{text}")).to_string()
}

/// The value, or a warning: the verdict does not depend on it.
fn warned<T>(what: &str, result: anyhow::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            output::note(&format!(
                "warning: {what} could not be written: {error:#}\n"
            ));
            None
        }
    }
}
