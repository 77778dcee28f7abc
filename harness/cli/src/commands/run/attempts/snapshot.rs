//! The snapshot that attempts begin from: made for the campaign, kept for others, or kept by an earlier one. Restores
//! nothing.
use anyhow::{Context, anyhow};
use recrash_machine::run::snapshot::{BOOT, Snapshot};
use recrash_machine::run::{CampaignFolder, RunError, StopFlag};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

use super::{Series, Source};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::{output, watch};

/// Name inside the scratch folder in which a snapshot is made.
const NAME: &str = "snapshot";
/// Lines of the console that an error shows.
const CONSOLE_TAIL: usize = 12;

/// A snapshot, and the folder that goes with it if it is nobody else's.
pub(super) struct Held {
    snapshot: Snapshot,
    _scratch: Option<TempDir>,
}

impl Held {
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What one must know of attempts that begin from it.
    pub(super) fn notes(&self) -> Vec<String> {
        vec![format!(
            "attempts from one snapshot (made {}) are not independent boots: addresses, random numbers and the kernel's secrets repeat; rates and intervals are about this snapshot",
            self.snapshot.made()
        )]
    }
}

/// The snapshot that the series wants; `None` where each attempt boots.
///
/// # Errors
/// It cannot be made (4), or the kept one is not for this run (2).
pub(super) fn provide(
    series: &Series<'_>,
    folder: &CampaignFolder,
    stop: &StopFlag,
) -> Result<Option<Held>, Failure> {
    match &series.source {
        Source::Boots => Ok(None),
        Source::KeptSnapshot(kept) => open(series, kept).map(Some),
        Source::NewSnapshot { keep } => make(series, folder, keep.as_deref(), stop).map(Some),
    }
}

fn open(series: &Series<'_>, kept: &Path) -> Result<Held, Failure> {
    let opened = Snapshot::open(kept, &series.bench.request()).map_err(Failure::inconclusive)?;
    let snapshot = opened.map_err(|error| {
        Failure::usage(error)
            .hint("delete it, and make a new one with --from-snapshot --keep-snapshot DIR")
    })?;
    Ok(Held {
        snapshot,
        _scratch: None,
    })
}

fn make(
    series: &Series<'_>,
    campaign: &CampaignFolder,
    keep: Option<&Path>,
    stop: &StopFlag,
) -> Result<Held, Failure> {
    // Beside its last place, so that it can be moved there at once.
    let beside = match keep {
        Some(keep) => parent(keep)?,
        None => campaign.path().to_owned(),
    };
    let scratch = tempfile::Builder::new()
        .prefix(".recrash-snapshot-")
        .tempdir_in(&beside)
        .with_context(|| beside.display().to_string())
        .map_err(Failure::inconclusive)?;
    let progress = Progress::new(series.json, series.verbose);
    let made = Snapshot::make(
        &series.bench.request(),
        &scratch.path().join(NAME),
        &mut |record: &_| watch::show(&progress, record),
        stop,
    );
    if made.is_err() {
        progress.fail();
    }
    progress.end();
    // What the boot said stays with the campaign, whatever becomes of the snapshot.
    let said = scratch.path().join(NAME).join(BOOT);
    copy_boot(&said, &campaign.file(BOOT));
    let snapshot = made.map_err(|error| failed(error, campaign))?;
    let Some(keep) = keep else {
        return Ok(Held {
            snapshot,
            _scratch: Some(scratch),
        });
    };
    let snapshot = snapshot
        .keep(keep)
        .with_context(|| format!("keeping the snapshot as {}", keep.display()))
        .map_err(Failure::inconclusive)?;
    Ok(Held {
        snapshot,
        _scratch: None,
    })
}

/// The folder that holds this one.
fn parent(of: &Path) -> Result<PathBuf, Failure> {
    let parent = match of.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => {
            return Err(Failure::usage(anyhow!(
                "{} is no place for a snapshot",
                of.display()
            )));
        }
    };
    if !parent.is_dir() {
        let error = anyhow!(
            "--keep-snapshot {}: there is no folder {}",
            of.display(),
            parent.display()
        );
        return Err(Failure::usage(error));
    }
    Ok(parent.to_owned())
}

/// Copies the files of the boot's folder. They help people only: what cannot be copied is told and missed.
fn copy_boot(from: &Path, to: &Path) {
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    };
    if from.is_dir()
        && let Err(error) = copy()
    {
        output::note(&format!("warning: {}: {error}\n", to.display()));
    }
}

fn failed(error: RunError, campaign: &CampaignFolder) -> Failure {
    let skipped = error.console_tail.len().saturating_sub(CONSOLE_TAIL);
    for line in error.console_tail.iter().skip(skipped) {
        output::note(&format!("  {}\n", output::printable(line)));
    }
    let said = campaign.file(BOOT);
    Failure::inconclusive(anyhow::Error::new(error).context("the snapshot could not be made"))
        .hint(format!("look at {}", said.display()))
}
