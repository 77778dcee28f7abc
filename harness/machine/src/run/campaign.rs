//! Folders of campaigns, which are many runs for one question: `<root>/campaigns/<name>`. The runs lie beside it like
//! any other, and name their campaign in their manifests. Makes such folders, and deletes those whose runs are gone;
//! fills none.
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{self, RunSummary};

/// Folder of the campaigns' folders.
pub const CAMPAIGNS: &str = "campaigns";
/// The file by which a folder is known as a campaign: what was asked for, and what it came to.
pub const CAMPAIGN: &str = "campaign.json";
/// The same of a folder whose campaign compares two sides, or looks for one among many kernels.
pub const VERIFY: &str = "verify.json";
/// See [`VERIFY`].
pub const BISECT: &str = "bisect.json";
/// See [`VERIFY`].
pub const DIAGNOSE: &str = "diagnose.json";
/// The result of each attempt, one JSON object a line, in the order in which they ended.
pub const ATTEMPTS: &str = "attempts.jsonl";
/// The summary for people.
pub const REPORT: &str = "report.txt";

/// Which attempt of which campaign a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignNote {
    /// The campaign's name: that of its folder.
    pub name: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// How many attempts there are at most.
    pub of: u32,
}

/// A folder that a campaign writes into. It is locked against pruning as long as this lives.
#[derive(Debug)]
pub struct CampaignFolder {
    path: PathBuf,
    _lock: File,
}

impl CampaignFolder {
    /// Makes `<root>/campaigns/<time>-<target>-<fault>[-n]`.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(root: &Path, time: &str, target: &str, fault: &str) -> io::Result<Self> {
        let name = folder::name(time, target, fault);
        let (path, lock) = folder::make(&root.join(CAMPAIGNS), &name)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is; absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// Deletes campaigns of which no run is left, unless somebody is at work in them.
pub(super) fn prune_empty(root: &Path, runs: &[RunSummary]) -> io::Result<()> {
    let campaigns = root.join(CAMPAIGNS);
    let Some(entries) = folder::unless_gone(std::fs::read_dir(&campaigns))? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        // A link is no campaign, wherever it leads; nor is a folder that does not say so.
        let known_by = [CAMPAIGN, VERIFY, BISECT, DIAGNOSE];
        let known = || known_by.iter().any(|name| path.join(name).is_file());
        if !entry.file_type()?.is_dir() || !known() {
            continue;
        }
        let of_this = |run: &RunSummary| {
            let note = run.manifest.campaign.as_ref();
            note.is_some_and(|note| *note.name == *name)
        };
        if runs.iter().any(of_this) {
            continue;
        }
        if let Some(_lock) = folder::lock(&path) {
            folder::unless_gone(std::fs::remove_dir_all(&path))?;
        }
    }
    // Only where nothing is left in it.
    let _ = std::fs::remove_dir(&campaigns);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::folder::{Prune, RunFolder, prune};
    use crate::run::manifest::Manifest;
    use crate::run::manifest::tests::manifest;

    /// A finished run of this campaign.
    fn run_of(root: &Path, time: &str, name: &str) {
        let folder = RunFolder::create(root, time, "t", "f").unwrap();
        let note = CampaignNote {
            name: name.into(),
            attempt: 1,
            of: 1,
        };
        let of_it = Manifest {
            campaign: Some(note),
            ..manifest(time)
        };
        of_it.store(folder.path()).unwrap();
    }

    /// Makes two campaigns of a run each, the second one at work or not, prunes all but the newest `keep` runs, and
    /// compares which campaigns are left.
    fn check(keep: usize, second_at_work: bool, expected: [bool; 2]) {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = ["1", "2"].map(|time| {
            let campaign = CampaignFolder::create(root.path(), time, "t", "f").unwrap();
            std::fs::write(campaign.file(CAMPAIGN), "{}").unwrap();
            run_of(root.path(), time, &campaign.name());
            campaign
        });
        let paths = [&first, &second].map(|campaign| campaign.path().to_owned());
        drop(first);
        let second = second_at_work.then_some(second);
        prune(root.path(), Prune::Keep(keep)).unwrap();
        assert_eq!(paths.map(|path| path.exists()), expected);
        drop(second);
    }

    #[test]
    fn a_campaign_goes_with_its_last_run() {
        check(2, false, [true, true]);
        check(1, false, [false, true]);
        check(0, false, [false, false]);
    }

    #[test]
    fn a_campaign_at_work_stays_even_without_runs() {
        check(0, true, [false, true]);
    }

    #[test]
    fn what_does_not_say_that_it_is_a_campaign_stays() {
        let root = tempfile::tempdir().unwrap();
        let precious = root.path().join(CAMPAIGNS).join("precious");
        std::fs::create_dir_all(&precious).unwrap();
        prune(root.path(), Prune::Keep(0)).unwrap();
        assert!(precious.exists());
    }
}
