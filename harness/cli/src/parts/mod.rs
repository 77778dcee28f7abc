//! Parts of a campaign or matrix that was made on several machines: what a part keeps of itself in `part.json`, and how the
//! parts fit together again. Boots nothing and judges no run.
pub(crate) mod merge;
pub(crate) mod read;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

use crate::combination::Key;
use crate::partition::Partition;
use crate::report::document::Case;
use crate::store;

/// The file by which a folder is known as a part's.
pub(crate) const PART: &str = "part.json";
/// Version of its form.
pub(crate) const SCHEMA: u32 = 1;

/// `part.json`: written once, whole, when the part has ended. A part that died has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// [`SCHEMA`].
    pub(crate) recrash_part: u32,
    /// [`Whole::id`], for people and scripts: parts of one whole have the same.
    pub(crate) id: String,
    /// What it is a part of.
    pub(crate) whole: Whole,
    /// Which part.
    pub(crate) partition: Partition,
    /// When it began, RFC 3339.
    pub(crate) started: String,
    /// Whether it went to its end; one that was stopped did not.
    pub(crate) complete: bool,
    /// How many runs at once.
    pub(crate) jobs: u32,
    /// From the first run's start to the last one's end, in milliseconds.
    pub(crate) wall_ms: u64,
    /// What one must know of how the runs were made.
    pub(crate) notes: Vec<String>,
    /// The kernels that were booted, by target.
    pub(crate) kernels: BTreeMap<String, Kernel>,
    /// What its runs came to.
    pub(crate) results: Vec<RunResult>,
}

/// A kernel as set-up provided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kernel {
    /// `uname -r`.
    pub(crate) release: String,
    /// SHA-256 of names, versions and hashes of the packages that it came from.
    pub(crate) packages: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunResult {
    /// Its number in the whole, from 1.
    pub(crate) run: u32,
    /// The object that `recrash run --json` prints of it.
    pub(crate) line: Value,
    /// The same for a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) case: Option<Box<Case>>,
}

/// Everything that determines what the parts are parts of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whole {
    /// Version of recrash.
    pub(crate) recrash: String,
    /// SHA-256 of all that is read for a run: targets, scenarios, devices, goldens, the module's sources, by name.
    pub(crate) inputs: BTreeMap<String, String>,
    /// The runs.
    pub(crate) runs: Runs,
}

/// Which runs the whole has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Runs {
    /// One plan, many times.
    Campaign(Campaign),
    /// Many combinations, once each.
    Matrix(Matrix),
}

/// A campaign as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Campaign {
    pub(crate) attempts: u32,
    pub(crate) target: String,
    pub(crate) device: String,
    pub(crate) scenario: String,
    pub(crate) fault: String,
    pub(crate) append: Vec<String>,
    pub(crate) golden: String,
    pub(crate) expected: String,
    pub(crate) from_snapshot: bool,
}

/// A matrix as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    pub(crate) cells: Vec<Planned>,
}

/// A cell of a matrix before it is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planned {
    pub(crate) key: Key,
    pub(crate) golden: String,
    /// What is expected of it; of one whose parts do not go together, nothing.
    pub(crate) expected: Option<String>,
    /// Why that is expected; of an impossible one, why it is.
    pub(crate) reason: String,
}

impl Whole {
    /// The whole of these inputs and runs, by this recrash.
    pub(crate) fn new(inputs: BTreeMap<String, String>, runs: Runs) -> Self {
        Self {
            recrash: env!("CARGO_PKG_VERSION").into(),
            inputs,
            runs,
        }
    }

    /// What parts of one whole have in common: a SHA-256 of everything here.
    pub(crate) fn id(&self) -> String {
        // Maps are sorted and fields have their order, so equal wholes are equal bytes.
        digest(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The runs that are dealt out: number from 1, and the name that a hash is made of.
    pub(crate) fn dealt(&self) -> Vec<(u32, String)> {
        match &self.runs {
            Runs::Campaign(campaign) => (1..=campaign.attempts)
                .map(|number| (number, format!("attempt {number}")))
                .collect(),
            Runs::Matrix(matrix) => (1..)
                .zip(&matrix.cells)
                .filter(|(_, cell)| cell.expected.is_some())
                .map(|(number, cell)| (number, cell.key.full()))
                .collect(),
        }
    }

    /// Numbers of the runs of a part.
    pub(crate) fn of(&self, partition: Partition) -> Vec<u32> {
        let dealt = self.dealt();
        let mine = dealt
            .iter()
            .enumerate()
            .filter(|(at, (_, name))| partition.holds(*at, name));
        mine.map(|(_, (number, _))| *number).collect()
    }

    /// How its runs are called.
    pub(crate) fn unit(&self) -> &'static str {
        match self.runs {
            Runs::Campaign(_) => "attempts",
            Runs::Matrix(_) => "combinations",
        }
    }
}

/// SHA-256, in hex.
pub(crate) fn digest(bytes: impl AsRef<[u8]>) -> String {
    recrash_machine::setup::hash::hex(&Sha256::digest(bytes))
}

impl Part {
    /// Puts it into its folder, at once or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn store(&self, folder: &Path) -> Result<()> {
        store::replace(folder, PART, &serde_json::to_vec(self)?)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
