//! The tools: what a call asks, carried out by the commands' own functions, and its answer as text and as the JSON of
//! `--json`. Knows nothing of the protocol.
use anyhow::Context as _;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::input::{self, Analyze, Compare, Explain, Inspect, Triage};
use super::reply::{Answer, Reply};
use super::request::{Request, few, wrong};
use crate::commands::compare::{Compared, as_golden};
use crate::commands::explain::{Format, Lang, Question, rendered};
use crate::commands::inspect::Stop;
use crate::commands::{analyze, inspect, triage};
use crate::debug_files::DebugArgs;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::report::{text, triage as shown};
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
    pub(super) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Where debug files are looked for, if anywhere.
    pub(super) fn debug_dir(&self) -> Option<PathBuf> {
        self.debug_dir.clone()
    }

    /// Where the goldens are, if there are any.
    pub(super) fn goldens(&self) -> Option<&Path> {
        self.goldens.as_deref()
    }

    /// Carries out a call; what takes long ends early once `stop` is set.
    pub(super) fn call(&self, tool: Tool, arguments: Map<String, Value>, stop: Stop) -> Reply {
        let request = Request::new(self, stop);
        match (tool.run)(&request, arguments).and_then(|answer| {
            request.check_again()?;
            Ok(answer)
        }) {
            Ok(answer) => Reply::of(answer),
            Err(failure) => Reply::error(&failure),
        }
    }
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
        true => request
            .reader
            .folders()
            .paths()
            .map(Path::to_owned)
            .collect(),
        false => request.paths(&input.paths)?,
    };
    let (found, left_out) = triage::found(&named)?;
    let debug = DebugArgs::confined(None, request.reader.debug_dir());
    let (mut readable, mut refused) = (Vec::new(), Vec::new());
    for subject in found {
        match request.reader.folders().admit_found(&subject.path) {
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
