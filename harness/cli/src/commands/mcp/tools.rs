//! The tools: what a call asks, carried out by the commands' own functions, and its answer as text and as the JSON of
//! `--json`. Knows nothing of the protocol.
use anyhow::{Context as _, anyhow};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::bounded;
use super::folders::{Admitted, Folders};
use super::input::{self, Analyze, Compare, Explain, Inspect, MAX_LIST, Triage};
use crate::commands::compare::{Compared, as_golden};
use crate::commands::explain::{Format, Lang, Question, rendered};
use crate::commands::inspect::Stop;
use crate::commands::{TargetArg, analyze, inspect, triage};
use crate::debug_files::DebugArgs;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::golden;
use crate::report::{text, triage as shown};
use crate::subject::Subject;
use recrash_signature::Signature;
use recrash_signature::triage::Apart;

/// Columns of the table that sets two crashes side by side.
const WIDTH: usize = 120;

/// A tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    /// Its name.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// For the model that chooses.
    pub(super) description: &'static str,
    /// Of its arguments.
    pub(super) schema: fn() -> Map<String, Value>,
    run: fn(&Request<'_>, Map<String, Value>) -> Result<Answer, Failure>,
}

/// All of them.
pub(super) const TOOLS: [Tool; 5] = [
    Tool {
        name: "analyze",
        title: "Analyze a vmcore",
        description: "Reads a Linux vmcore without any debug package and tells how the kernel died: fault, backtrace with the \
                      source of each frame, registers and where they came from, which freelist or pointer was overwritten, by \
                      which bytes and what they are, the slab around it. The JSON has the report and the signature, which \
                      identifies the crash. Begin here with a vmcore; for a text (crash session, console log) use explain.",
        schema: input::schema::<Analyze>,
        run: |request, arguments| analyze(request, request.parse(arguments)?),
    },
    Tool {
        name: "inspect",
        title: "Look around in a vmcore",
        description: "Asks a Linux vmcore one question in the words of crash(8): sys, log, bt, ps, mod, slab, struct, sym, rd, \
                      dis, usb, vtop, search. Needs no debug package. What could not be read is listed under missing.",
        schema: input::schema::<Inspect>,
        run: |request, arguments| inspect(request, request.parse(arguments)?),
    },
    Tool {
        name: "explain",
        title: "Explain a crash",
        description: "Writes the account of one crash as an engineer would, from a vmcore, a run's folder, a crash session or a \
                      kernel log: each statement with its evidence, what is not known and why, which other explanations are \
                      supported or refuted, and how it relates to the goldens.",
        schema: input::schema::<Explain>,
        run: |request, arguments| explain(request, request.parse(arguments)?),
    },
    Tool {
        name: "compare",
        title: "Compare two crashes",
        description: "Says whether two crashes are the same: verdict (same-crash, same-bug, different, no-crash, inconclusive), \
                      differences that a rule explains and those that none does, and the facts side by side. Each may be a \
                      vmcore, a run's folder, a signature, a text, or a golden by its name.",
        schema: input::schema::<Compare>,
        run: |request, arguments| compare(request, request.parse(arguments)?),
    },
    Tool {
        name: "triage",
        title: "Group crashes into bugs",
        description: "Groups any mixture of vmcores, crash sessions, console logs, signatures and runs into bugs, and within \
                      them into places; says what ties each group together and how sure that is. Without paths it shows what \
                      is in the folders of this server.",
        schema: input::schema::<Triage>,
        run: |request, arguments| triage(request, request.parse(arguments)?),
    },
];

/// What a call gives, whole.
#[derive(Debug)]
struct Answer {
    /// May have styles.
    text: String,
    value: Value,
    /// What failed beside what is there.
    failure: Option<Failure>,
    /// As it was asked for.
    max_bytes: Option<u64>,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// Without styles, bounded.
    pub(super) text: String,
    /// The object that `--json` prints, bounded; of an error what is wrong and what to do next.
    pub(super) value: Value,
    /// The call failed.
    pub(super) is_error: bool,
}

impl Reply {
    /// An error.
    pub(super) fn error(failure: &Failure) -> Self {
        let text = anstream::adapter::strip_str(&failure.text()).to_string();
        Self {
            text: bounded::text(text, bounded::USUAL).0,
            value: bounded::json(error_value(failure), bounded::USUAL).0,
            is_error: true,
        }
    }
}

fn error_value(failure: &Failure) -> Value {
    json!({
        "type": "error",
        "error": failure.chain(),
        "next": failure.next(),
        "exit": failure.exit() as u8,
    })
}

/// Answers calls. Holds what was named at start.
#[derive(Debug)]
pub(super) struct Reader {
    folders: Folders,
    debug_dir: Option<PathBuf>,
    goldens: Option<PathBuf>,
}

impl Reader {
    /// `checkout` holds the goldens, where there is one.
    pub(super) fn new(
        folders: Folders,
        debug_dir: Option<PathBuf>,
        checkout: Option<PathBuf>,
    ) -> Self {
        Self {
            folders,
            debug_dir,
            goldens: checkout.map(|root| root.join("golden")),
        }
    }

    /// The folders that may be read.
    pub(super) fn folders(&self) -> Vec<String> {
        let paths = self.folders.paths();
        paths.map(|path| path.display().to_string()).collect()
    }

    /// Carries out a call; what takes long ends early once `stop` is set.
    pub(super) fn call(&self, tool: Tool, arguments: Map<String, Value>, stop: Stop) -> Reply {
        let request = Request {
            reader: self,
            admitted: Mutex::default(),
            stop,
        };
        match (tool.run)(&request, arguments).and_then(|answer| {
            request.check_again()?;
            Ok(answer)
        }) {
            Ok(answer) => reply(answer),
            Err(failure) => Reply::error(&failure),
        }
    }
}

fn reply(answer: Answer) -> Reply {
    let limit = bounded::limit(answer.max_bytes);
    let text = anstream::adapter::strip_str(&answer.text).to_string();
    let (mut text, text_cut) = bounded::text(text, limit);
    let (mut value, value_cut) = bounded::json(answer.value, limit);
    if text_cut || value_cut {
        text.push_str(&format!(
            "The answer was shortened to max_bytes = {limit}: ask for less, or for up to {}.\n",
            bounded::MOST
        ));
    }
    if let Some(failure) = &answer.failure {
        let why = anstream::adapter::strip_str(&failure.text()).to_string();
        text = format!("{why}\n{text}");
        if let Value::Object(object) = &mut value {
            object.insert("failure".into(), error_value(failure));
        }
    }
    Reply {
        text,
        value,
        is_error: answer.failure.is_some(),
    }
}

/// One call: the reader, and what it was let read.
struct Request<'r> {
    reader: &'r Reader,
    admitted: Mutex<Vec<Admitted>>,
    stop: Stop,
}

impl Request<'_> {
    fn parse<T: DeserializeOwned + JsonSchema>(
        &self,
        arguments: Map<String, Value>,
    ) -> Result<T, Failure> {
        input::parse(arguments).map_err(wrong)
    }

    /// A file or folder.
    fn path(&self, text: &str) -> Result<Admitted, Failure> {
        let admitted = self.reader.folders.admit(text)?;
        self.remember(admitted.clone());
        Ok(admitted)
    }

    /// A file.
    fn file(&self, text: &str) -> Result<PathBuf, Failure> {
        let admitted = self.path(text)?;
        if admitted.is_folder() {
            return Err(
                Failure::usage(anyhow!("{text:?} is a folder, expected a file"))
                    .hint("name a file in it; triage without paths shows what is there"),
            );
        }
        Ok(admitted.path)
    }

    fn files(&self, texts: &[String]) -> Result<Vec<PathBuf>, Failure> {
        few(texts)?;
        texts.iter().map(|text| self.file(text)).collect()
    }

    fn paths(&self, texts: &[String]) -> Result<Vec<PathBuf>, Failure> {
        few(texts)?;
        let path = |text: &String| Ok(self.path(text)?.path);
        texts.iter().map(path).collect()
    }

    fn debug(&self, vmlinux: Option<&str>) -> Result<DebugArgs, Failure> {
        let vmlinux = vmlinux.map(|text| self.file(text)).transpose()?;
        Ok(DebugArgs::confined(vmlinux, self.reader.debug_dir.clone()))
    }

    fn remember(&self, admitted: Admitted) {
        let mut all = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(admitted);
    }

    /// Once more, now that all was read: nothing was exchanged for something else meanwhile.
    fn check_again(&self) -> Result<(), Failure> {
        let all = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let folders = &self.reader.folders;
        let changed = all
            .iter()
            .find(|admitted| !admitted.is_still_there(folders));
        match changed {
            Some(changed) => Err(Failure::usage(anyhow!(
                "{} was replaced while it was read; what was read is not shown",
                changed.path.display()
            ))
            .hint("ask again")),
            None => Ok(()),
        }
    }

    /// A subject of a comparison, and its name: a path, or else a golden.
    fn subject(
        &self,
        text: &str,
        split: &[PathBuf],
        debug: &DebugArgs,
    ) -> Result<(String, PathBuf, Subject), Failure> {
        let refused = match self.path(text) {
            Ok(admitted) => {
                let read = Subject::read(&admitted.path, split, debug)?;
                return Ok((admitted.path.display().to_string(), admitted.path, read));
            }
            Err(refused) => refused,
        };
        let (name, signature) = self.golden(text, refused)?;
        Ok((
            name,
            PathBuf::from(text),
            Subject::Crash(Box::new(signature)),
        ))
    }

    /// The golden of this name; `refused` says why it is no path.
    fn golden(&self, name: &str, refused: Failure) -> Result<(String, Signature), Failure> {
        let looks_like_a_path = name.starts_with(['/', '.', '~']) || name.contains('\0');
        let Some(folder) = self
            .reader
            .goldens
            .as_deref()
            .filter(|_| !looks_like_a_path)
        else {
            return Err(refused);
        };
        let found = golden::named(folder, name).map_err(|failure| {
            let names = failure.next().unwrap_or_else(|| "there is none".into());
            let next = refused.next().unwrap_or_default();
            Failure::usage(anyhow!(
                "{}, and no single golden has that name",
                refused.chain()
            ))
            .hint(format!("{next}. Goldens are {names}"))
        })?;
        Ok((golden::name(&found), found.signature))
    }

    /// The golden of the default target.
    fn default_golden(&self) -> Result<(String, Signature), Failure> {
        let without = || {
            Failure::usage(anyhow!("there is no checkout with goldens")).hint("name golden: a path")
        };
        let folder = self.reader.goldens.as_deref().ok_or_else(without)?;
        let wanted = TargetArg::of("debian").load()?.default.golden;
        let found = golden::named(folder, &wanted)?;
        Ok((golden::name(&found), found.signature))
    }
}

fn wrong((why, next): (String, String)) -> Failure {
    Failure::usage(anyhow!(why)).hint(next)
}

fn few(texts: &[String]) -> Result<(), Failure> {
    if texts.len() > MAX_LIST {
        let error = anyhow!("a list of {}, expected at most {MAX_LIST}", texts.len());
        return Err(Failure::usage(error).hint("name a folder instead, or ask several times"));
    }
    Ok(())
}

fn analyze(request: &Request<'_>, input: Analyze) -> Result<Answer, Failure> {
    let debug = request.debug(input.vmlinux.as_deref())?;
    let vmcore = request.file(&input.vmcore)?;
    let split = request.files(&input.split)?;
    let (analysis, failure) = analyze::analysis(&vmcore, &split, &debug, true)?;
    let (text, value) = match &analysis {
        Some(analysis) => (text::crash(&analysis.report), analyze::json(analysis)?),
        None => (String::new(), json!({ "type": "analysis" })),
    };
    Ok(Answer {
        text,
        value,
        failure,
        max_bytes: input.max_bytes,
    })
}

fn inspect(request: &Request<'_>, input: Inspect) -> Result<Answer, Failure> {
    few(&input.arguments)?;
    let debug = request.debug(input.vmlinux.as_deref())?;
    let vmcore = request.file(&input.vmcore)?;
    let split = request.files(&input.split)?;
    let mut words = vec![input.command];
    words.extend(input.arguments);
    let (kept, failure) = inspect::ask(&vmcore, &split, &debug, &words, &request.stop)?;
    let mut objects = kept.objects;
    let value = match objects.len() {
        1 => objects.pop().unwrap_or_default(),
        // Of a search: its hits, and how it ended.
        _ => match objects.pop() {
            Some(Value::Object(mut end)) => {
                end.insert("found".into(), objects.into());
                Value::Object(end)
            }
            _ => json!({ "type": words.first() }),
        },
    };
    Ok(Answer {
        text: kept.text + &kept.notes,
        value,
        failure,
        max_bytes: input.max_bytes,
    })
}

fn explain(request: &Request<'_>, input: Explain) -> Result<Answer, Failure> {
    let lang = input::word("lang", input.lang.as_deref(), Lang::En).map_err(wrong)?;
    let format = input::word("format", input.format.as_deref(), Format::Terminal).map_err(wrong)?;
    let debug = request.debug(input.vmlinux.as_deref())?;
    let question = Question {
        path: request.path(&input.path)?.path,
        split: request.files(&input.split)?,
        like: request.files(&input.like)?,
        with: request.paths(&input.with)?,
    };
    let story = question.story(&debug)?;
    Ok(Answer {
        text: rendered(&story, lang, format),
        value: serde_json::to_value(&story).context("the account as JSON")?,
        failure: None,
        max_bytes: input.max_bytes,
    })
}

fn compare(request: &Request<'_>, input: Compare) -> Result<Answer, Failure> {
    let expect =
        input::word("expect", input.expect.as_deref(), Expect::SameCrash).map_err(wrong)?;
    let debug = request.debug(input.vmlinux.as_deref())?;
    let split = request.files(&input.split)?;
    let golden = match &input.golden {
        Some(golden) => {
            let (name, _, first) = request.subject(golden, &[], &debug)?;
            as_golden(name, first)?
        }
        None => request.default_golden()?,
    };
    let (_, path, subject) = request.subject(&input.subject, &split, &debug)?;
    let compared = Compared::new(golden, subject, &path, expect);
    Ok(Answer {
        text: compared.text(input.full, WIDTH),
        value: compared.json()?,
        failure: None,
        max_bytes: input.max_bytes,
    })
}

fn triage(request: &Request<'_>, input: Triage) -> Result<Answer, Failure> {
    let named = match input.paths.is_empty() {
        true => request.reader.folders.paths().map(Path::to_owned).collect(),
        false => request.paths(&input.paths)?,
    };
    let (found, left_out) = triage::found(&named)?;
    let debug = DebugArgs::confined(None, request.reader.debug_dir.clone());
    let (mut readable, mut refused) = (Vec::new(), Vec::new());
    for subject in found {
        match request.reader.folders.admit_found(&subject.path) {
            Ok(admitted) => {
                request.remember(admitted);
                readable.push(subject);
            }
            Err(why) => refused.push(Apart {
                name: subject.path.display().to_string(),
                why,
            }),
        }
    }
    let (mut outcomes, _) = triage::grouped(&readable, &debug, None, &request.stop);
    outcomes.left_out = left_out;
    outcomes.not_read.extend(refused);
    Ok(Answer {
        text: shown::text(&outcomes),
        value: serde_json::to_value(&outcomes).context("the groups as JSON")?,
        failure: None,
        max_bytes: input.max_bytes,
    })
}
