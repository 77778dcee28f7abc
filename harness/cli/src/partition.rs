//! `--partition`: which share of many runs this process makes, as nextest spells it (`slice:2/8`, `hash:2/8`), and how
//! job engines number their tasks. Runs nothing and reads no environment itself: it is handed in.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Most parts: as many as a campaign may have attempts.
pub(crate) const MOST_PARTS: u32 = 100_000;
/// How many parts there are, for engines that do not say so.
pub(crate) const COUNT_VARIABLE: &str = "RECRASH_PARTITIONS";

/// How the parts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scheme {
    /// Dealt out like cards: of three parts the second has the 2nd, 5th, 8th … run. Parts are of one size.
    #[default]
    Slice,
    /// By the SHA-256 of the run's name: a run stays in its part when others are added or taken away.
    Hash,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Slice => "slice",
            Self::Hash => "hash",
        }
    }
}

/// One part of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partition {
    /// How the parts are cut.
    pub(crate) scheme: Scheme,
    /// Which one, from 1.
    pub(crate) number: u32,
    /// Of how many.
    pub(crate) of: u32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.scheme.name(), self.number, self.of)
    }
}

impl Partition {
    /// The part, if there is one of this number.
    ///
    /// # Errors
    /// What is wrong with the numbers.
    pub(crate) fn new(scheme: Scheme, number: u32, of: u32) -> Result<Self, String> {
        if !(1..=MOST_PARTS).contains(&of) {
            return Err(format!("{of} parts: expected 1 to {MOST_PARTS}"));
        }
        if !(1..=of).contains(&number) {
            return Err(format!(
                "there is no part {number} of {of}: expected 1 to {of}"
            ));
        }
        Ok(Self { scheme, number, of })
    }

    /// Whether a run is in this part; `index` counts the runs from 0.
    pub(crate) fn holds(self, index: usize, name: &str) -> bool {
        let at = match self.scheme {
            Scheme::Slice => index as u64,
            Scheme::Hash => {
                let mut first = [0; 8];
                for (to, byte) in first.iter_mut().zip(Sha256::digest(name.as_bytes())) {
                    *to = byte;
                }
                u64::from_be_bytes(first)
            }
        };
        at % u64::from(self.of) + 1 == u64::from(self.number)
    }
}

/// The option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Spelled out.
    Given(Partition),
    /// `auto`, `auto/N`: the job engine's variables say which part.
    Auto {
        /// How the parts are cut.
        scheme: Scheme,
        /// How many there are, if the option says so.
        of: Option<u32>,
    },
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?}: expected slice:K/N, hash:K/N or K/N (a slice), with auto for K/N or K where a job engine says \
                 which part: auto, auto/N, hash:auto"
            )
        };
        let (scheme, rest) = match text.split_once(':') {
            None => (Scheme::Slice, text),
            Some(("slice", rest)) => (Scheme::Slice, rest),
            Some(("hash", rest)) => (Scheme::Hash, rest),
            Some(_) => return Err(expected()),
        };
        let number = |text: &str| plain(text).ok_or_else(expected);
        match rest.split_once('/') {
            None if rest == "auto" => Ok(Self::Auto { scheme, of: None }),
            None => Err(expected()),
            Some(("auto", of)) => {
                let of = number(of)?;
                Partition::new(scheme, 1, of)?;
                let of = Some(of);
                Ok(Self::Auto { scheme, of })
            }
            Some((k, n)) => Ok(Self::Given(Partition::new(scheme, number(k)?, number(n)?)?)),
        }
    }
}

/// What an engine's variables say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    variable: &'static str,
    number: u32,
    of: u32,
}

impl Wanted {
    /// The part; `env` gives a variable's value.
    ///
    /// # Errors
    /// Variables that are missing, make no sense or contradict each other, by their names.
    pub(crate) fn settle(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Partition, String> {
        let (scheme, of) = match self {
            Self::Given(partition) => return Ok(partition),
            Self::Auto { scheme, of } => (scheme, of),
        };
        let of = count(of, env)?;
        let mut said: Vec<Said> = slurm(of, env)?.into_iter().collect();
        for engine in &ENGINES {
            said.extend(engine.say(of, env)?);
        }
        let Some(first) = said.first() else {
            let mut names = vec![SLURM];
            names.extend(ENGINES.iter().map(|engine| engine.index));
            return Err(format!(
                "auto: none of {} is set; where no job engine numbers the parts, give the number: slice:K/N",
                names.join(", ")
            ));
        };
        if let Some(other) = said
            .iter()
            .find(|s| (s.number, s.of) != (first.number, first.of))
        {
            return Err(format!(
                "auto: {} says part {} of {}, {} says part {} of {}; give the number: slice:K/N",
                first.variable, first.number, first.of, other.variable, other.number, other.of
            ));
        }
        Partition::new(scheme, first.number, first.of)
            .map_err(|why| format!("auto: {}: {why}", first.variable))
    }
}

/// How many parts the option or [`COUNT_VARIABLE`] say there are.
fn count(asked: Option<u32>, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<u32>, String> {
    match (asked, value(COUNT_VARIABLE, env)?) {
        (Some(asked), Some(variable)) if asked != variable => Err(format!(
            "auto/{asked}: {COUNT_VARIABLE} says {variable} parts"
        )),
        (asked, variable) => Ok(asked.or(variable)),
    }
}

const SLURM: &str = "SLURM_ARRAY_TASK_ID";

/// An array's tasks may begin at any number and have a step, and Slurm tells both. Where the array has fewer tasks than
/// there are parts, some parts are made again (`sbatch --array=3,7`): their numbers then are the parts', from 1.
fn slurm(of: Option<u32>, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Said>, String> {
    let Some(id) = value(SLURM, env)? else {
        return Ok(None);
    };
    let get = |variable| {
        let found = value(variable, env)?;
        found.ok_or_else(|| format!("auto: {SLURM} is set, but {variable} is not"))
    };
    let tasks = get("SLURM_ARRAY_TASK_COUNT")?;
    if let Some(of) = of.filter(|of| *of != tasks) {
        if tasks > of {
            return Err(format!(
                "auto/{of}: SLURM_ARRAY_TASK_COUNT says that the array has {tasks} tasks"
            ));
        }
        Partition::new(Scheme::Slice, id, of).map_err(|why| {
            format!(
                "auto: {SLURM}: {why} (an array of some of the parts is numbered like them, from 1)"
            )
        })?;
        return Ok(Some(Said {
            variable: SLURM,
            number: id,
            of,
        }));
    }
    let (min, max) = (get("SLURM_ARRAY_TASK_MIN")?, get("SLURM_ARRAY_TASK_MAX")?);
    let step = value("SLURM_ARRAY_TASK_STEP", env)?.unwrap_or(1);
    let odd = || {
        format!(
            "auto: {SLURM} is {id} of {tasks} tasks from SLURM_ARRAY_TASK_MIN {min} to SLURM_ARRAY_TASK_MAX {max} by \
             SLURM_ARRAY_TASK_STEP {step}, which does not add up; submit an array without gaps, or say how many parts there are \
             in all: auto/N"
        )
    };
    let regular = step > 0
        && max
            .checked_sub(min)
            .is_some_and(|span| span % step == 0 && u64::from(span / step) + 1 == u64::from(tasks));
    let at = id
        .checked_sub(min)
        .filter(|at| step > 0 && id <= max && at % step == 0);
    match at {
        Some(at) if regular => Ok(Some(Said {
            variable: SLURM,
            number: at / step + 1,
            of: tasks,
        })),
        _ => Err(odd()),
    }
}

/// An engine that has one variable for the number and at most one for how many there are.
struct Engine {
    index: &'static str,
    /// Number of the first task.
    first: u32,
    total: Option<&'static str>,
}

const ENGINES: [Engine; 3] = [
    // batch/v1 Job with completionMode Indexed: 0 to completions - 1.
    Engine {
        index: "JOB_COMPLETION_INDEX",
        first: 0,
        total: None,
    },
    // hq submit --array 1-N; the ids are the submitter's.
    Engine {
        index: "HQ_TASK_ID",
        first: 1,
        total: None,
    },
    // GitLab, jobs with `parallel`: 1 to CI_NODE_TOTAL.
    Engine {
        index: "CI_NODE_INDEX",
        first: 1,
        total: Some("CI_NODE_TOTAL"),
    },
];

impl Engine {
    fn say(
        &self,
        of: Option<u32>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Said>, String> {
        let Some(index) = value(self.index, env)? else {
            return Ok(None);
        };
        let of = match (self.total, of) {
            (None, Some(of)) => of,
            (None, None) => {
                return Err(format!(
                    "auto: {} says which part, and nothing says of how many; say it: auto/N, or {COUNT_VARIABLE}=N",
                    self.index
                ));
            }
            (Some(total), asked) => match (value(total, env)?, asked) {
                (Some(total), None) => total,
                (Some(found), Some(asked)) if found != asked => {
                    return Err(format!("auto/{asked}: {total} says {found}"));
                }
                (Some(total), Some(_)) => total,
                (None, _) => {
                    return Err(format!("auto: {} is set, but {total} is not", self.index));
                }
            },
        };
        let number = index
            .checked_sub(self.first)
            .and_then(|at| at.checked_add(1));
        let number = number.filter(|number| *number <= of).ok_or_else(|| {
            let last = u64::from(self.first) + u64::from(of) - 1;
            format!(
                "auto: {} is {index}: of {of} parts the first is {} and the last {last}",
                self.index, self.first
            )
        })?;
        Ok(Some(Said {
            variable: self.index,
            number,
            of,
        }))
    }
}

/// A variable's number; none if it is not set or empty.
fn value(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<u32>, String> {
    match env(variable).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match plain(&text) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("auto: {variable} is {text:?}: expected a number")),
        },
    }
}

/// Digits only: `+3` is no number of a part.
fn plain(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
#[path = "partition_tests.rs"]
mod tests;
