//! `recrash golden diff`: what a change of the goldens alters in what counts as the same crash, between two revisions or
//! folders. What a change means is [`recrash_signature::change`]'s to say; accepting it is a person's.
mod show;
mod sides;

use recrash_signature::Signature;
use recrash_signature::change::{self, Change};
use recrash_signature::compare::{Verdict, compare};
use recrash_signature::store::{self, Golden};
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::golden;
use crate::{github, output};
use sides::Side;

const EXITS: &str = "\
Exit codes:
  0  it could be told; with --check: nothing changed that counts
  1  with --check: what counts as the same crash changed
  2  a revision, a folder or a golden cannot be read";

/// Says what a change alters in what counts as the same crash, golden by golden, beside the text's diff.
///
/// BASE and HEAD are git revisions or folders of goldens. Under GitHub Actions it also appends the Markdown to the job's
/// summary and warns at each golden that counts otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = EXITS)]
pub(super) struct Args {
    /// What was: a revision, or a folder [default: where the branch left the main one]
    #[arg(value_name = "BASE")]
    base: Option<String>,
    /// What is: a revision, or a folder [default: the work tree]
    #[arg(value_name = "HEAD")]
    head: Option<String>,
    /// Folder of the goldens [default: golden in the checkout]
    #[arg(long, value_name = "DIR")]
    golden_dir: Option<PathBuf>,
    /// End with 1 if what counts as the same crash changed
    #[arg(long)]
    check: bool,
    /// How it is written: text, markdown (for a pull request)
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        conflicts_with = "json"
    )]
    format: Format,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Markdown,
}

/// What became of a golden.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
enum Fate {
    /// It is new; the old goldens that it is the same as, and how.
    New { like: Vec<Like> },
    /// It is gone; the goldens left that what it told is the same as, and how.
    Deleted { like: Vec<Like> },
    /// It has another name and says the same.
    Moved { from: String },
    /// It says something else.
    Changed(Change),
    /// Its text changed, and it cannot be told what that means: one of the two is of another schema, or broken.
    Unreadable { why: String },
}

/// A golden of the same crash or bug.
#[derive(Debug, serde::Serialize)]
struct Like {
    golden: String,
    verdict: Verdict,
}

/// A golden that is not what it was.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename = "golden-change", rename_all = "kebab-case")]
struct Entry {
    /// `case/name`.
    golden: String,
    /// Its file, from the top of the repository.
    file: String,
    /// Whether what counts as the same crash is altered by it.
    counts: bool,
    #[serde(flatten)]
    fate: Fate,
    /// The text's diff, in the unified form.
    diff: String,
}

/// The last object that `--json` prints.
#[derive(serde::Serialize)]
#[serde(tag = "type", rename = "golden-diff")]
struct Line<'a> {
    base: &'a str,
    head: &'a str,
    changed: usize,
    counts: usize,
    exit: u8,
}

/// All that is told.
struct Told {
    base: String,
    /// Whether git has the base, so that it can bring a file back.
    base_is_revision: bool,
    head: String,
    entries: Vec<Entry>,
}

/// Goldens of a side: the text, and the golden unless it cannot be read.
type Goldens = BTreeMap<String, (String, Result<Golden, String>)>;

impl Args {
    pub(super) fn run(self) -> Outcome {
        let folder = super::folder(self.golden_dir.clone());
        let (base, head) = sides::resolve(self.base.as_deref(), self.head.as_deref(), folder)?;
        let (old, new) = (read(&base)?, read(&head)?);
        let told = Told {
            entries: entries(&old, &new, head.prefix()),
            base: base.name().into(),
            base_is_revision: base.is_revision(),
            head: head.name().into(),
        };
        let counts = told.entries.iter().filter(|entry| entry.counts).count();
        let exit = match self.check && counts > 0 {
            true => Exit::Differs,
            false => Exit::Met,
        };
        if self.json {
            for entry in &told.entries {
                output::print_json(entry)?;
            }
            output::print_json(&Line {
                base: &told.base,
                head: &told.head,
                changed: told.entries.len(),
                counts,
                exit: exit as u8,
            })?;
        } else {
            output::print(&match self.format {
                Format::Text => show::text(&told),
                Format::Markdown => show::markdown(&told),
            })?;
        }
        if github::is_here() {
            // Commands are read from both streams; stdout may be JSON.
            output::note(&show::annotations(&told));
            github::summarise(&show::markdown(&told));
        }
        // What cannot be read judges nothing any more: no run can be held against it.
        let broken = told.entries.iter().find_map(|entry| match &entry.fate {
            Fate::Unreadable { why } if !entry.is_repaired(&new) => Some((entry, why)),
            _ => None,
        });
        match broken {
            None => Ok(exit),
            Some((entry, why)) => Err(Failure::usage(anyhow::anyhow!(
                "{}: {}",
                output::printable(&entry.file),
                output::printable(why)
            ))
            .hint("mend the file, or bring it back: git checkout REVISION -- FILE")),
        }
    }
}

impl Entry {
    /// Whether only the old one could not be read.
    fn is_repaired(&self, new: &Goldens) -> bool {
        new.get(&self.golden)
            .is_none_or(|(_, golden)| golden.is_ok())
    }
}

/// The goldens of a side. One that cannot be read is told where it changed, not here.
fn read(side: &Side) -> Result<Goldens, Failure> {
    let mut goldens = Goldens::new();
    for file in store::list(side.folder()).map_err(Failure::usage)? {
        let read = store::read(&file).map_err(|error| {
            let folder = format!("{}/", side.folder().display());
            error.to_string().replace(&folder, "")
        });
        let text = store::read_snapshot(&file);
        let text = text.map_or_else(
            |error| format!("({error})\n"),
            |snapshot| format!("---\n{}---\n{}", snapshot.header, snapshot.body),
        );
        goldens.insert(name(&file), (text, read));
    }
    Ok(goldens)
}

/// `case/name` of a file.
fn name(file: &Path) -> String {
    let case = file.parent().and_then(Path::file_name).unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default();
    format!("{}/{}", case.to_string_lossy(), stem.to_string_lossy())
}

/// The goldens that are not what they were; those that count first.
fn entries(old: &Goldens, new: &Goldens, prefix: &str) -> Vec<Entry> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut entries: Vec<Entry> = names
        .into_iter()
        .filter_map(|name| {
            let (was, is) = (old.get(name), new.get(name));
            let text =
                |side: Option<&(String, _)>| side.map(|(text, _)| text.clone()).unwrap_or_default();
            let (a, b) = (text(was), text(is));
            if a == b {
                return None;
            }
            let fate = fate(name, old, new)?;
            let file = format!("{prefix}{name}.snap");
            Some(Entry {
                golden: name.clone(),
                counts: fate.counts(),
                fate,
                diff: TextDiff::from_lines(&a, &b)
                    .unified_diff()
                    .context_radius(1)
                    .header(&format!("a/{file}"), &format!("b/{file}"))
                    .to_string(),
                file,
            })
        })
        .collect();
    entries.sort_by_key(|entry| !entry.counts);
    entries
}

/// What became of it; nothing, where another entry tells of it.
fn fate(name: &str, old: &Goldens, new: &Goldens) -> Option<Fate> {
    let same_elsewhere = |signature: &Signature, here: &Goldens, there: &Goldens| {
        let found = there.iter().find(|(other, (_, golden))| {
            !here.contains_key(*other) && golden.as_ref().is_ok_and(|g| g.signature == *signature)
        });
        found.map(|(other, _)| other.clone())
    };
    Some(match (old.get(name), new.get(name)) {
        (Some((_, Ok(was))), Some((_, Ok(is)))) => {
            match change::change(&was.signature, &is.signature) {
                Ok(change) => Fate::Changed(change),
                Err(error) => Fate::Unreadable {
                    why: error.to_string(),
                },
            }
        }
        (None, Some((_, Ok(is)))) => match same_elsewhere(&is.signature, new, old) {
            Some(from) => Fate::Moved { from },
            None => Fate::New {
                like: like(&is.signature, old, name),
            },
        },
        (Some((_, Ok(was))), None) => {
            if same_elsewhere(&was.signature, old, new).is_some() {
                return None;
            }
            Fate::Deleted {
                like: like(&was.signature, new, name),
            }
        }
        (_, Some((_, Err(why)))) | (Some((_, Err(why))), _) => {
            Fate::Unreadable { why: why.clone() }
        }
        (None, None) => return None,
    })
}

/// The goldens of the same crash or bug.
fn like(signature: &Signature, among: &Goldens, except: &str) -> Vec<Like> {
    let found = among.iter().filter(|(name, _)| *name != except);
    let found = found.filter_map(|(_, (_, golden))| {
        let golden = golden.as_ref().ok()?;
        let verdict = compare(&golden.signature, signature).verdict;
        matches!(verdict, Verdict::SameCrash | Verdict::SameBug).then(|| Like {
            golden: golden::name(golden),
            verdict,
        })
    });
    let mut found: Vec<Like> = found.collect();
    found.sort_by_key(|like| like.verdict != Verdict::SameCrash);
    found
}

impl Fate {
    /// Whether it alters what counts as the same crash.
    fn counts(&self) -> bool {
        match self {
            Self::New { .. } | Self::Deleted { .. } | Self::Unreadable { .. } => true,
            Self::Moved { .. } => false,
            Self::Changed(change) => change.counts(),
        }
    }
}

#[cfg(test)]
mod tests;
