//! Finds and reads the parts that a command line names. They come from other machines, so nothing in them is trusted: sizes
//! are bounded, links are not followed, and what a part says of itself is checked against itself.
use anyhow::{Context, Result, anyhow, bail};
use recrash_machine::run::manifest::MANIFEST;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{PART, Part, SCHEMA};
use crate::partition::{MOST_PARTS, Partition};

/// A part of a thousand attempts takes a few MiB.
const MOST_BYTES: u64 = 64 << 20;
/// All of them together.
const MOST_BYTES_IN_ALL: u64 = 512 << 20;
/// Folders below one that is named: an artifact's, the runs', `campaigns`, the campaign's own.
const DEPTH: usize = 8;
/// Folders that runs may lie in, from the part's own up: the campaign's, `campaigns`, the one that all were written into.
const ABOVE: usize = 3;
/// Entries that are looked at below one folder.
const MOST_ENTRIES: usize = 1 << 20;

/// A part and the file it was read from.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The `part.json`.
    pub(crate) file: PathBuf,
    /// What it holds.
    pub(crate) part: Part,
}

/// Reads the parts that these files and folders hold; each once, though several arguments lead to it.
///
/// # Errors
/// A place that cannot be read or holds none, a file that is no part or contradicts itself: all of them, a line each.
pub(crate) fn all(places: &[PathBuf]) -> Result<Vec<Found>> {
    let mut files = Vec::new();
    let mut wrong = Vec::new();
    for place in places {
        match files_of(place) {
            Ok(found) => files.extend(found),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    files.sort();
    files.dedup();
    let mut left = MOST_BYTES_IN_ALL;
    let mut found = Vec::new();
    for file in files {
        match one(&file, &mut left) {
            Ok(mut part) => {
                find_runs(&mut part, &file);
                found.push(Found { file, part });
            }
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    if wrong.is_empty() {
        Ok(found)
    } else {
        Err(anyhow!("{}", wrong.join("\n  ")))
    }
}

/// The file itself, or the parts in and below the folder.
fn files_of(place: &Path) -> Result<Vec<PathBuf>> {
    let name = place.display();
    let meta = fs::metadata(place).with_context(|| name.to_string())?;
    if !meta.is_dir() {
        return Ok(vec![place.canonicalize()?]);
    }
    let mut found = Vec::new();
    let mut entries = 0;
    let mut folders = vec![(place.canonicalize()?, 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            entries += 1;
            if entries > MOST_ENTRIES {
                bail!(
                    "{name}: more than {MOST_ENTRIES} files and folders; name the parts' folders"
                );
            }
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() && entry.file_name() == PART {
                found.push(entry.path());
            }
        }
    }
    if found.is_empty() {
        bail!("{name}: no {PART} in it or below it: a part that died leaves none");
    }
    Ok(found)
}

fn one(file: &Path, left: &mut u64) -> Result<Part> {
    let name = file.display();
    // Opening a pipe would wait for its writer.
    if !fs::metadata(file)
        .with_context(|| name.to_string())?
        .is_file()
    {
        bail!("{name}: not a regular file");
    }
    let most = MOST_BYTES.min(*left);
    let mut bytes = Vec::new();
    let opened = File::open(file).with_context(|| name.to_string())?;
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .with_context(|| name.to_string())?;
    let size = bytes.len() as u64;
    if size > most {
        bail!(
            "{name}: larger than {} MiB, or all parts larger than {} MiB: not what recrash writes",
            MOST_BYTES >> 20,
            MOST_BYTES_IN_ALL >> 20
        );
    }
    *left -= size;
    let part = parse(&bytes).map_err(|why| anyhow!("{name}: {why}"))?;
    Ok(part)
}

/// Runs are named by where they lay on the machine that made them. One that came here with its part lies beside it, in the
/// folder that both were written into, and is then named by where it is now.
fn find_runs(part: &mut Part, file: &Path) {
    for result in &mut part.results {
        let Some(run) = result.line.get_mut("run") else {
            continue;
        };
        // The name alone: a part's word leads nowhere else.
        let name = run.as_str().and_then(|run| Path::new(run).file_name());
        let Some(name) = name else { continue };
        let mut above = file.ancestors().skip(1).take(ABOVE);
        let here = above.find(|folder| folder.join(name).join(MANIFEST).is_file());
        let here = here.and_then(|folder| Some(folder.join(name).to_str()?.to_owned()));
        if let Some(here) = here {
            *run = here.into();
        }
    }
}

/// Reads a part, and checks it against itself.
pub(super) fn parse(bytes: &[u8]) -> Result<Part, String> {
    /// The version alone, so that another one is told by its number and not by its unknown keys.
    #[derive(serde::Deserialize)]
    struct Version {
        recrash_part: u32,
    }
    let version: Version =
        serde_json::from_slice(bytes).map_err(|error| format!("no {PART} of recrash: {error}"))?;
    if version.recrash_part != SCHEMA {
        return Err(format!(
            "a part of version {}, this recrash reads version {SCHEMA}: merge with the recrash that made it",
            version.recrash_part
        ));
    }
    let part: Part = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    consistent(&part)?;
    Ok(part)
}

fn consistent(part: &Part) -> Result<(), String> {
    let Partition { scheme, number, of } = part.partition;
    Partition::new(scheme, number, of)?;
    if let super::Runs::Campaign(campaign) = &part.whole.runs
        && !(1..=MOST_PARTS).contains(&campaign.attempts)
    {
        return Err(format!(
            "{} attempts: expected 1 to {MOST_PARTS}",
            campaign.attempts
        ));
    }
    let id = part.whole.id();
    if id != part.id {
        return Err(format!(
            "it says that its whole is {}, and what it says of the whole comes to {id}: it was changed",
            part.id
        ));
    }
    let mine = part.whole.of(part.partition);
    let mut results: Vec<u32> = part.results.iter().map(|result| result.run).collect();
    results.sort_unstable();
    if let Some(pair) = results.windows(2).find(|pair| pair.first() == pair.get(1)) {
        return Err(format!("two results of run {}", pair.first().unwrap_or(&0)));
    }
    if let Some(foreign) = results.iter().find(|run| mine.binary_search(run).is_err()) {
        return Err(format!("run {foreign} is not in part {}", part.partition));
    }
    if part.complete && results != mine {
        let missing = mine.iter().find(|run| results.binary_search(run).is_err());
        return Err(format!(
            "it says that it is complete, and run {} is missing",
            missing.unwrap_or(&0)
        ));
    }
    Ok(())
}
