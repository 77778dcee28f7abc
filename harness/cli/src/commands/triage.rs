//! `recrash triage`: groups any mixture of dumps, transcripts, console logs, runs and signatures into bugs and places.
//! Finds the files and reads them; the grouping is the signature crate's.
use anyhow::anyhow;
use recrash_machine::run::manifest::MANIFEST;
use recrash_signature::Signature;
use recrash_signature::triage::{Apart, Member, Triage, triage};
use recrash_transcript::{Evidence, evidence};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use crate::debug_files::DebugArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::ReportArgs;
use crate::report::triage as shown;
use crate::subject::{self, Subject};
use crate::{import, output};

/// Folders are followed this far down; nobody sorts dumps deeper, and a loop of mounts must end.
const MAX_DEPTH: usize = 16;
/// Pairs of crashes are compared, so the time grows with the square: this many take some seconds.
const MAX_SUBJECTS: usize = 4000;
/// Each reader maps a dump and holds one kernel's symbols and types, up to 100 MB: more would only swap.
const MAX_READERS: usize = 4;

/// Texts that lend symbols and instructions to others: crashes of more kernel builds than that are seldom triaged at
/// once, and each is tried with each text that says too little by itself.
const MAX_LENDERS: usize = 16;
/// Longest text that lends or borrows, in bytes: a session or an excerpt of one, not a console of weeks.
const MAX_SESSION: u64 = 8 << 20;

const EXITS: &str = "\
Exit codes:
  0  every file that was named could be read, and one crash at least was grouped
  2  wrong command line, or no such file
  4  a file that was named could not be read, or nothing was a crash (groups are printed all the same)";

/// Groups crashes into bugs, and within them into places.
///
/// Each group says what ties it together and how sure that is: certain (every fact of identity is known in both,
/// established, and the same), likely (one is missing or only plausible, or there is no corruption and the place is
/// another), possible (what would decide it is not known). Folders are walked; in them, what is no crash is left out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(crate) struct Args {
    /// Vmcores, transcripts, console logs, signatures, run folders, or folders of them
    #[arg(value_name = "FILE|DIR", required = true)]
    subjects: Vec<PathBuf>,
    #[command(flatten)]
    debug: DebugArgs,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print one JSON object on stdout
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// How the groups are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal.
    Text,
    /// For an issue or a mail.
    Markdown,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    /// It was named on the command line, not found in a folder.
    named: bool,
}

/// What a subject turned out to be.
enum Read {
    Crash(Box<Member>),
    NoCrash(Apart),
    Failed(Apart, bool),
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type", rename = "triage")]
pub(crate) struct Outcomes {
    /// The groups.
    #[serde(flatten)]
    pub(crate) triage: Triage,
    /// Texts that said too little by themselves, and which other text of the same kernel build helped out.
    pub(crate) lent: Vec<Apart>,
    /// Runs in which the kernel survived.
    pub(crate) no_crash: Vec<Apart>,
    /// What could not be read, and why.
    pub(crate) not_read: Vec<Apart>,
    /// What was not looked at at all, and why.
    pub(crate) left_out: Vec<String>,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        let mut left_out = Vec::new();
        let subjects = self.found(&mut left_out)?;
        let progress = (!self.json).then(|| Progress::new(false, false));
        let all = read_all(&subjects, &self.debug, progress.as_ref());
        if let Some(progress) = &progress {
            progress.end();
        }
        let (mut members, mut no_crash, mut not_read) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = false;
        for read in all {
            match read {
                Read::Crash(member) => members.push(*member),
                Read::NoCrash(apart) => no_crash.push(apart),
                Read::Failed(apart, named) => {
                    failed |= named;
                    not_read.push(apart);
                }
            }
        }
        let lent = lend(&mut members);
        let outcomes = Outcomes {
            lent,
            triage: triage(&members),
            no_crash,
            not_read,
            left_out,
        };
        if self.json {
            output::print_json(&outcomes)?;
        } else if !self.report.takes_stdout() {
            output::print(&match self.format {
                Format::Text => shown::text(&outcomes),
                Format::Markdown => shown::markdown(&outcomes),
            })?;
        }
        let exit = if failed || outcomes.triage.bugs.is_empty() {
            Exit::Inconclusive
        } else {
            Exit::Met
        };
        self.report.emit(&shown::document(&outcomes, exit))?;
        Ok(exit)
    }

    /// The files and run folders to read, in the order of the command line, those of a folder sorted.
    fn found(&self, left_out: &mut Vec<String>) -> Result<Vec<Found>, Failure> {
        let mut out = Vec::new();
        for path in &self.subjects {
            if !path.exists() {
                return Err(Failure::usage(anyhow!("{}: no such file", path.display())));
            }
            if path.is_dir() && !path.join(MANIFEST).is_file() {
                walk(path, 0, &mut out, left_out);
            } else {
                out.push(Found {
                    path: path.clone(),
                    named: true,
                });
            }
        }
        out.sort_by(|a, b| (&a.path, !a.named).cmp(&(&b.path, !b.named)));
        out.dedup_by(|later, first| later.path == first.path);
        if out.len() > MAX_SUBJECTS {
            let rest = out.len() - MAX_SUBJECTS;
            left_out.push(format!(
                "{rest} files: more than {MAX_SUBJECTS} are not compared at once"
            ));
            out.truncate(MAX_SUBJECTS);
        }
        Ok(out)
    }
}

/// Adds the files of a folder and of those below it; links are not followed.
fn walk(folder: &Path, depth: usize, out: &mut Vec<Found>, left_out: &mut Vec<String>) {
    let name = folder.display();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) if depth < MAX_DEPTH => entries,
        Ok(_) => return left_out.push(format!("{name}: over {MAX_DEPTH} folders deep")),
        Err(error) => return left_out.push(format!("{name}: {error}")),
    };
    for entry in entries.flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match kind {
            _ if hidden => {}
            Ok(kind) if kind.is_dir() && !path.join(MANIFEST).is_file() => {
                walk(&path, depth + 1, out, left_out);
            }
            Ok(kind) if kind.is_file() || kind.is_dir() => {
                out.push(Found { path, named: false });
            }
            _ => {}
        }
    }
}

/// Reads all of them, some at a time; the answers come in the order of the subjects.
fn read_all(subjects: &[Found], debug: &DebugArgs, progress: Option<&Progress>) -> Vec<Read> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Read)>> = Mutex::new(Vec::new());
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(progress) = progress {
        progress.named_stage("read", &format!("read {} files", subjects.len()));
    }
    std::thread::scope(|scope| {
        for _ in 0..readers.min(MAX_READERS).min(subjects.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(subject) = subjects.get(at) else {
                        break;
                    };
                    let read = read(subject, debug);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, read));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, read)| read).collect()
}

fn read(subject: &Found, debug: &DebugArgs) -> Read {
    let name = subject.path.display().to_string();
    let apart = |name: String, why: String| Apart { name, why };
    match Subject::read(&subject.path, &[], debug) {
        Ok(Subject::Crash(signature)) => Read::Crash(Box::new(Member {
            name,
            signature: *signature,
        })),
        Ok(Subject::NoCrash(why)) => Read::NoCrash(apart(name, why)),
        Ok(Subject::Inconclusive { why, .. }) => Read::Failed(apart(name, why), subject.named),
        Err(failure) => Read::Failed(apart(name, failure.chain()), subject.named),
    }
}

/// Reads texts that do not say what was overwritten once more, each beside another text that does: of the same kernel
/// build, it lends symbols and instructions. Whether the builds are the same is checked there, by several addresses.
fn lend(members: &mut [Member]) -> Vec<Apart> {
    let known = |signature: &Signature| {
        let corruption = &signature.corruption;
        corruption.site.value().is_some() && corruption.decoded.value().is_some()
    };
    let knows = |member: &Member| known(&member.signature);
    let lenders: Vec<(String, Evidence)> = members
        .iter()
        .filter(|member| knows(member))
        .filter_map(|member| Some((member.name.clone(), session(Path::new(&member.name))?)))
        .take(MAX_LENDERS)
        .collect();
    let mut lent = Vec::new();
    if lenders.is_empty() {
        return lent;
    }
    for member in members.iter_mut().filter(|member| !knows(member)) {
        let path = PathBuf::from(&member.name);
        for (name, lender) in &lenders {
            let Some(evidence) = session(&path) else {
                break;
            };
            let signature = import::imported(evidence, Some(lender)).signature;
            if known(&signature) {
                member.signature = signature;
                lent.push(Apart {
                    name: member.name.clone(),
                    why: format!(
                        "symbols and instructions lent by {name}, a crash of the same kernel build"
                    ),
                });
                break;
            }
        }
    }
    lent
}

/// The evidence of a text with something of a session in it; a kernel log alone lends and borrows nothing.
fn session(path: &Path) -> Option<Evidence> {
    let size = std::fs::metadata(path).ok()?;
    let text =
        size.is_file() && size.len() <= MAX_SESSION && subject::looks_like_text(path).ok()?;
    let evidence = text.then(|| import::text(path).ok().map(|text| evidence::read(&text)))??;
    (!evidence.structs.is_empty() || !evidence.words.is_empty() || !evidence.backtraces.is_empty())
        .then_some(evidence)
}
