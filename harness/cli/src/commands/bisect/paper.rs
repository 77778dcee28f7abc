//! What a bisection shows and keeps: a line a run and a line a kernel, the answer, and in its folder `bisect.json`,
//! `runs.jsonl` and `report.txt`. Decides nothing.
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use recrash_machine::run::CampaignFolder;
use recrash_machine::run::campaign::{BISECT, REPORT};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::bisect::engine::{Answer, Engine, Shows, Tested};
use crate::campaign::record::{Record, millis};
use crate::exit::Exit;
use crate::output::{self, BAD, DIM, GOOD, WARN, printable};
use crate::report::document::{Case, Document, Kind, Outcome, relative};
use crate::report::text::heading;
use crate::report::{Fact, emit};
use crate::store;

/// Version of the form of `bisect.json`.
const SCHEMA: u32 = 1;
/// The result of each run, one JSON object a line.
const RUNS: &str = "runs.jsonl";
/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(200);

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Question {
    pub(super) kernels: Vec<String>,
    pub(super) scenario: String,
    pub(super) device: String,
    pub(super) fault: String,
    pub(super) append: Vec<String>,
    pub(super) golden: String,
    pub(super) attempts: u32,
    pub(super) confidence: f64,
}

/// A kernel and what became known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    kernel: String,
    #[serde(flatten)]
    tested: Tested,
    /// What it was found to do; absent while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<&'static str>,
    /// Why it could not be tested at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    impossible: Option<String>,
    #[serde(flatten)]
    made: Made,
}

/// What its runs took, and where the last one lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Made {
    took_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<PathBuf>,
}

/// Everything that it came to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    /// `found`, `range`, `alike` or `inconclusive`.
    answer: &'static str,
    exit: u8,
    /// The same.
    #[serde(skip)]
    code: Exit,
    /// In one line.
    why: String,
    /// The kernel, or the kernels of which it is one.
    found: Vec<String>,
    /// Whether the bug came or went there; absent without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    #[serde(flatten)]
    question: Question,
    tested: Vec<Row>,
}

impl Summary {
    /// From the answer and the runs.
    pub(super) fn of(answer: &Answer, paper: &Paper, engine: &Engine) -> Self {
        let kernels = engine.kernels();
        let name = |at: usize| kernels.get(at).map_or("", |kernel| kernel.name.as_str());
        let change = |first_shows: bool| if first_shows { "gone" } else { "there" };
        let (word, why, range, change) = match answer {
            Answer::Found { at, first_shows } => {
                let change = change(*first_shows);
                let before = name(at.saturating_sub(1));
                let why = format!("the bug is {change} in {}, unlike in {before}", name(*at));
                ("found", why, *at..*at + 1, Some(change))
            }
            Answer::Among {
                from,
                to,
                first_shows,
            } => {
                let change = change(*first_shows);
                let why = format!(
                    "the bug is {change} in {}, unlike in {}; what is between them cannot be tested",
                    name(*to),
                    name(from.saturating_sub(1))
                );
                ("range", why, *from..*to + 1, Some(change))
            }
            Answer::Alike(why) => ("alike", why.clone(), 0..0, None),
            Answer::Unknown(why) => ("inconclusive", why.clone(), 0..0, None),
        };
        let rows = kernels.iter().zip(engine.tested()).enumerate();
        let rows = rows.map(|(at, (kernel, tested))| Row {
            kernel: kernel.name.clone(),
            tested: tested.clone(),
            is: engine.shows(at).map(Shows::word),
            impossible: kernel.impossible.clone(),
            made: paper.made.get(&at).cloned().unwrap_or_default(),
        });
        Self {
            answer: word,
            exit: super::exit(answer) as u8,
            code: super::exit(answer),
            why,
            found: range.map(|at| name(at).to_owned()).collect(),
            change,
            question: paper.question.clone(),
            tested: rows.collect(),
        }
    }

    /// The same for reports: the answer is a case, and each kernel is one.
    fn document(&self, folder: &CampaignFolder, started: &str, took_ms: u64) -> Document {
        let question = &self.question;
        let headline = format!("{}: {}", self.answer, self.why);
        let mut document = Document::new(Kind::Bisect, folder.name(), headline, self.code);
        document.verdict = Some(self.answer.to_owned());
        document.expected = Some("found".into());
        document.when = Some(started.to_owned());
        document.took_ms = Some(took_ms);
        document.environment = vec![
            Fact::new("scenario", &question.scenario),
            Fact::new("device", &question.device),
            Fact::new("fault", &question.fault),
            Fact::new("append", question.append.join(" ")),
            Fact::new("golden", &question.golden),
            Fact::new("confidence", question.confidence.to_string()),
        ];
        document.environment.retain(|fact| !fact.value.is_empty());
        let mut whole = Case::new("the answer", Outcome::of(self.code), self.why.clone());
        whole.group = Some("bisect".into());
        whole.verdict = Some(self.answer.to_owned());
        whole.expected = Some("found".into());
        whole.took_ms = Some(took_ms);
        document.cases.push(whole);
        document
            .cases
            .extend(self.tested.iter().map(|row| row.case(folder)));
        let unknown = self.tested.iter().filter_map(|row| {
            let why = row.impossible.as_ref().or(row.tested.why.as_ref())?;
            Some(format!("{}: {why}", row.kernel))
        });
        document.missing = unknown.collect();
        document
    }

    fn text(&self) -> String {
        let mut out = String::new();
        heading(&mut out, "Bisect");
        let question = &self.question;
        let append = match question.append.join(" ") {
            words if words.is_empty() => String::new(),
            words => format!(", append {words}"),
        };
        let _ = writeln!(
            out,
            "  scenario {}, device {}, fault {}{}; golden {}; confidence {}",
            question.scenario,
            question.device,
            question.fault,
            printable(&append),
            question.golden,
            question.confidence
        );
        heading(&mut out, "Kernels");
        let width = question.kernels.iter().map(String::len).max().unwrap_or(0);
        for row in &self.tested {
            let tested = &row.tested;
            let what = match &row.impossible {
                Some(why) => format!("cannot be tested: {}", printable(why)),
                None if tested.runs == 0 => format!("{DIM}not tested{DIM:#}"),
                None => runs(tested),
            };
            let mark = if self.found.contains(&row.kernel) {
                '→'
            } else {
                ' '
            };
            let _ = writeln!(out, "{mark} {:<width$}  {what}", row.kernel);
        }
        let style = match self.answer {
            "found" => GOOD,
            "alike" => BAD,
            _ => WARN,
        };
        let _ = writeln!(
            out,
            "\n{style}{}{style:#}: {}",
            self.answer,
            printable(&self.why)
        );
        out
    }
}

impl Row {
    fn case(&self, folder: &CampaignFolder) -> Case {
        let tested = &self.tested;
        let (outcome, why) = match (&self.impossible, self.is) {
            (Some(why), _) => (Outcome::Error, why.clone()),
            (None, Some("cannot-be-tested")) => {
                let why = tested.why.clone();
                (Outcome::Error, why.unwrap_or_else(|| runs(tested)))
            }
            (None, Some(_)) => (Outcome::Passed, runs(tested)),
            (None, None) if tested.runs > 0 => (Outcome::Error, runs(tested)),
            (None, None) => (Outcome::Skipped, "the search had no need of it".into()),
        };
        let mut case = Case::new(self.kernel.clone(), outcome, why);
        case.group = Some("kernels".into());
        case.verdict = self.is.map(str::to_owned);
        case.took_ms = (tested.runs > 0).then_some(self.made.took_ms);
        let last = self.made.last_run.as_ref();
        case.folder = last.and_then(|last| relative(folder.path(), last));
        case
    }
}

fn runs(tested: &Tested) -> String {
    let runs = if tested.runs == 1 { "run" } else { "runs" };
    let mut out = format!(
        "{} {runs}: {} with the bug, {} without a crash",
        tested.runs, tested.bug, tested.silent
    );
    if let Some(why) = &tested.why {
        let _ = write!(
            out,
            ", {} that say nothing ({})",
            tested.nothing,
            printable(why)
        );
    }
    out
}

/// The files and the screen of a bisection at work.
pub(super) struct Paper {
    folder: PathBuf,
    started: String,
    question: Question,
    runs: File,
    /// By kernel.
    made: BTreeMap<usize, Made>,
    json: bool,
    /// Standard output is wanted for something else.
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Paper {
    /// Says what is asked for, and opens the list of the runs.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn begin(
        folder: &CampaignFolder,
        started: String,
        question: Question,
        json: bool,
        quiet: bool,
    ) -> anyhow::Result<Self> {
        let runs = folder.file(RUNS);
        let terminal = !json && std::io::stderr().is_terminal();
        let paper = Self {
            folder: folder.path().to_owned(),
            started,
            question,
            runs: File::create_new(&runs).with_context(|| runs.display().to_string())?,
            made: BTreeMap::new(),
            json,
            quiet,
            bar: terminal.then(spinner),
        };
        paper.store(None)?;
        Ok(paper)
    }

    /// A run of this kernel has begun.
    pub(super) fn begun(&self, kernel: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(kernel.to_owned());
        }
    }

    /// A run of this kernel has ended.
    ///
    /// # Errors
    /// The file system's, or stdout's.
    pub(super) fn run(&mut self, at: usize, kernel: &str, record: &Record) -> anyhow::Result<()> {
        let made = self.made.entry(at).or_default();
        made.took_ms = made.took_ms.saturating_add(millis(record.took));
        made.last_run.clone_from(&record.run);
        let mut line = record.line();
        if let Value::Object(line) = &mut line {
            line.insert("type".into(), json!("run"));
            line.insert("kernel".into(), json!(kernel));
        }
        self.runs
            .write_all(format!("{line}\n").as_bytes())
            .with_context(|| self.folder.join(RUNS).display().to_string())?;
        if self.quiet {
            return Ok(());
        }
        if self.json {
            return output::print_json(&line);
        }
        let name = record.run.as_ref().and_then(|run| run.file_name());
        let text = format!(
            "  {kernel}  {:<12}  {:>6.1} s  {DIM}{}{DIM:#}\n",
            record.verdict.to_string(),
            record.took.as_secs_f64(),
            name.unwrap_or_default().to_string_lossy()
        );
        self.say(&text)
    }

    /// It is known what this kernel does.
    ///
    /// # Errors
    /// Stdout's.
    pub(super) fn kernel(&self, engine: &Engine, at: usize, shows: Shows) -> anyhow::Result<()> {
        let kernel = engine.kernels().get(at);
        let known = kernel.zip(engine.tested().get(at));
        let Some((kernel, tested)) = known.filter(|_| !self.quiet) else {
            return Ok(());
        };
        let word = shows.word();
        let style = match shows {
            Shows::Bug => BAD,
            Shows::Silence => GOOD,
            Shows::Unknown => WARN,
        };
        let impossible = kernel.impossible.as_ref();
        if self.json {
            return output::print_json(&json!({
                "type": "kernel", "kernel": kernel.name, "index": at, "is": word,
                "tested": tested, "impossible": impossible,
            }));
        }
        let why = match impossible {
            Some(why) => printable(why),
            None => runs(tested),
        };
        self.say(&format!(
            "{}  {style}{}{style:#}  {why}\n",
            kernel.name,
            word.replace('-', " ")
        ))
    }

    fn say(&self, text: &str) -> anyhow::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::print(text))?,
            None => output::print(text)?,
        }
        Ok(())
    }

    /// Writes and prints the answer; gives the document of it.
    ///
    /// # Errors
    /// The file system's, or stdout's.
    pub(super) fn end(
        mut self,
        folder: &CampaignFolder,
        summary: &Summary,
        took_ms: u64,
    ) -> anyhow::Result<Document> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.store(Some(summary))?;
        let text = summary.text();
        let report = folder.file(REPORT);
        let plain = anstream::adapter::strip_str(&text).to_string();
        std::fs::write(&report, plain).with_context(|| report.display().to_string())?;
        let mut document = summary.document(folder, &self.started, took_ms);
        let page = emit::keep(&mut document, folder.path());
        if self.quiet {
            return Ok(document);
        }
        if self.json {
            let mut line = serde_json::to_value(summary)?;
            if let Value::Object(line) = &mut line {
                line.insert("type".into(), json!("bisect"));
                line.insert("name".into(), json!(folder.name()));
                line.insert("path".into(), json!(folder.path()));
                line.insert("report".into(), json!(report));
                line.insert("page".into(), json!(page));
            }
            output::print_json(&line)?;
        } else {
            let page = page.map_or_else(String::new, |page| format!("page: {}\n", page.display()));
            output::print(&format!("\n{text}report: {}\n{page}", report.display()))?;
        }
        Ok(document)
    }

    fn store(&self, summary: Option<&Summary>) -> anyhow::Result<()> {
        let kept = json!({
            "recrash_bisect": SCHEMA,
            "started": self.started,
            "question": summary.is_none().then_some(&self.question),
            "summary": summary,
        });
        store::replace(&self.folder, BISECT, &serde_json::to_vec_pretty(&kept)?)
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
