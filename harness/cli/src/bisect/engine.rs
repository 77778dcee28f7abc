//! Which kernel of a list is run next, until it is known where its behaviour changes: first the ends, then what is between
//! them. Pure: runs nothing, and is told what came of each run.
//!
//! A kernel has the bug as soon as one of its runs shows it. It has not if it was silent so often that this is no luck
//! ([`super::silence`]) beside the end that has the bug, which is therefore run a number of times that is settled before.
use serde::Serialize;

use super::search::{Behaves, Search, Step};
use super::silence;

/// So many runs that say nothing, before any that does, and a kernel cannot be tested.
const DEAF: u32 = 3;
/// Runs of a kernel may be this many times as many as those that are wanted of it, where some say nothing.
const PATIENCE: u32 = 2;
/// Most runs that a hint looks ahead.
const LOOK_AHEAD: u32 = 10_000;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// The bug.
    Bug,
    /// No crash, although all that the bug needs had happened.
    Silence,
    /// Another crash, which hides whether the bug is there; which.
    Otherwise(String),
    /// Nothing that says whether it has the bug; why.
    Nothing(String),
}

/// What a kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// It has the bug.
    Bug,
    /// It has not.
    Silence,
    /// It cannot be told.
    Unknown,
}

impl Shows {
    /// The word of `--json`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bug => "has-the-bug",
            Self::Silence => "silent",
            Self::Unknown => "cannot-be-tested",
        }
    }
}

/// The runs of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tested {
    /// Runs that went to their end.
    pub(crate) runs: u32,
    /// Those that showed the bug.
    pub(crate) bug: u32,
    /// Those without a crash.
    pub(crate) silent: u32,
    /// Those that say nothing, or crashed otherwise.
    pub(crate) nothing: u32,
    /// Those of them that crashed otherwise.
    pub(crate) otherwise: u32,
    /// Why the last one of those says nothing; the last other crash, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Tested {
    fn counts(&self) -> u32 {
        self.bug + self.silent
    }

    fn is_deaf(&self) -> bool {
        self.runs == self.nothing && self.runs >= DEAF
    }

    fn take(&mut self, came: Came) {
        self.runs += 1;
        match came {
            Came::Bug => self.bug += 1,
            Came::Silence => self.silent += 1,
            Came::Otherwise(why) => {
                self.nothing += 1;
                self.otherwise += 1;
                self.why = Some(why);
            }
            Came::Nothing(why) => {
                self.nothing += 1;
                if self.otherwise == 0 {
                    self.why = Some(why);
                }
            }
        }
    }
}

/// A kernel of the list.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// Its name.
    pub(crate) name: String,
    /// Why it cannot be run at all.
    pub(crate) impossible: Option<String>,
}

/// What is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Run this kernel, and tell what came.
    Run(usize),
    /// It is known now what this kernel does; there is more to do.
    Told(usize, Shows),
    /// That is all.
    Done(Answer),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel with this index behaves unlike the one before it.
    Found {
        /// Index.
        at: usize,
        /// The first kernel has the bug, and this one not; else the reverse.
        first_shows: bool,
    },
    /// One of these does; all but the last cannot be tested.
    Among {
        /// The first of them.
        from: usize,
        /// The last.
        to: usize,
        /// As for a single one.
        first_shows: bool,
    },
    /// Both ends behave alike; in words.
    Alike(String),
    /// It cannot be told; why.
    Unknown(String),
}

/// How thoroughly kernels are tested.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How often the end with the bug is run, and any other kernel at most; what says nothing counts apart.
    pub(crate) attempts: u32,
    /// How sure the whole answer must be.
    pub(crate) confidence: f64,
}

/// A bisection at work.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    kernels: Vec<Kernel>,
    rules: Rules,
    tested: Vec<Tested>,
    told: Vec<Option<Shows>>,
    /// The end with the bug.
    bad: Option<usize>,
    /// How many silent runs are silence beside it, once it is known how often it shows the bug.
    needed: Option<u32>,
    search: Option<Search>,
}

impl Engine {
    /// Of these kernels, in their order.
    pub(crate) fn new(kernels: Vec<Kernel>, rules: Rules) -> Self {
        Self {
            tested: vec![Tested::default(); kernels.len()],
            told: vec![None; kernels.len()],
            search: Search::new(kernels.len()),
            bad: None,
            needed: None,
            kernels,
            rules,
        }
    }

    /// What is known of each kernel.
    pub(crate) fn tested(&self) -> &[Tested] {
        &self.tested
    }

    /// The kernels.
    pub(crate) fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// What a kernel was found to do.
    pub(crate) fn shows(&self, at: usize) -> Option<Shows> {
        self.told.get(at).copied().flatten()
    }

    /// Takes what came of a run.
    pub(crate) fn take(&mut self, at: usize, came: Came) {
        if let Some(tested) = self.tested.get_mut(at) {
            tested.take(came);
        }
    }

    /// What is next.
    pub(crate) fn next(&mut self) -> Todo {
        let last = self.kernels.len().saturating_sub(1);
        let Some(bad) = self.bad else {
            return self.which_end(last);
        };
        if self.shows(bad).is_none() {
            let tested = self.of(bad);
            if tested.counts() < self.rules.attempts && !self.is_tired(bad) {
                return Todo::Run(bad);
            }
            let (shown, of) = self.rate();
            self.needed = silence::needed(shown, of, self.alpha(), self.rules.attempts);
            return self.tell(bad, Shows::Bug);
        }
        let Some(needed) = self.needed else {
            return Todo::Done(Answer::Unknown(self.too_rare(bad)));
        };
        let good = if bad == 0 { last } else { 0 };
        match self.shows(good) {
            None => return self.test(good, needed),
            Some(Shows::Bug) => {
                return Todo::Done(Answer::Alike("both ends show the bug".into()));
            }
            Some(Shows::Unknown) => {
                return Todo::Done(Answer::Unknown(self.cannot_tell(good)));
            }
            Some(Shows::Silence) => {}
        }
        self.between(bad == 0, needed)
    }

    /// Until one of the ends shows the bug they are run in turns.
    fn which_end(&mut self, last: usize) -> Todo {
        for end in [0, last] {
            if self.of(end).bug > 0 {
                self.bad = Some(end);
                return self.next();
            }
            if self.of(end).is_deaf() {
                return Todo::Done(Answer::Unknown(self.cannot_tell(end)));
            }
        }
        let attempts = self.rules.attempts;
        let open = |end: &usize| self.of(*end).silent < attempts && !self.is_tired(*end);
        let next = [0, last].into_iter().filter(open);
        match next.min_by_key(|end| self.of(*end).runs) {
            Some(end) => Todo::Run(end),
            None => Todo::Done(Answer::Alike(format!(
                "neither end shows the bug, in {} and {} silent runs",
                self.of(0).silent,
                self.of(last).silent
            ))),
        }
    }

    /// What is between the ends, which differ.
    fn between(&mut self, first_shows: bool, needed: u32) -> Todo {
        loop {
            let Some(search) = &self.search else {
                return Todo::Done(Answer::Unknown("there is nothing between the ends".into()));
            };
            let at = match search.next() {
                Step::Found(at) => return Todo::Done(Answer::Found { at, first_shows }),
                Step::Among(from, to) => {
                    return Todo::Done(Answer::Among {
                        from,
                        to,
                        first_shows,
                    });
                }
                Step::Test(at) => at,
            };
            let Some(shows) = self.shows(at) else {
                return self.test(at, needed);
            };
            let behaves = match shows {
                Shows::Unknown => Behaves::Unknown,
                Shows::Bug | Shows::Silence if (shows == Shows::Bug) == first_shows => {
                    Behaves::LikeTheFirst
                }
                Shows::Bug | Shows::Silence => Behaves::LikeTheLast,
            };
            if let Some(search) = &mut self.search {
                search.tell(at, behaves);
            }
        }
    }

    /// Tests a kernel, once it is known how often the end with the bug shows it.
    fn test(&mut self, at: usize, needed: u32) -> Todo {
        let tested = self.of(at);
        let possible = self
            .kernels
            .get(at)
            .is_some_and(|one| one.impossible.is_none());
        if tested.bug > 0 {
            self.tell(at, Shows::Bug)
        } else if tested.silent >= needed && tested.otherwise > 0 {
            // Each of these crashes may have come before the bug could.
            self.tell(at, Shows::Unknown)
        } else if tested.silent >= needed {
            self.tell(at, Shows::Silence)
        } else if !possible || tested.is_deaf() || self.is_tired(at) {
            self.tell(at, Shows::Unknown)
        } else {
            Todo::Run(at)
        }
    }

    fn tell(&mut self, at: usize, shows: Shows) -> Todo {
        if let Some(told) = self.told.get_mut(at) {
            *told = Some(shows);
        }
        Todo::Told(at, shows)
    }

    /// The chance that the silence of a single kernel may be luck: the error of the whole answer, shared. (Either end may
    /// turn out to be the silent one, so there are as many as kernels.)
    fn alpha(&self) -> f64 {
        let kernels = u32::try_from(self.kernels.len()).unwrap_or(u32::MAX);
        (1.0 - self.rules.confidence) / f64::from(kernels.max(1))
    }

    /// How often the end with the bug has shown it.
    fn rate(&self) -> (u32, u32) {
        let bad = self.bad.map(|bad| self.of(bad)).unwrap_or_default();
        (bad.bug, bad.counts())
    }

    fn of(&self, at: usize) -> Tested {
        self.tested.get(at).cloned().unwrap_or_default()
    }

    fn name(&self, at: usize) -> &str {
        self.kernels.get(at).map_or("", |kernel| &kernel.name)
    }

    fn is_tired(&self, at: usize) -> bool {
        let most = self.rules.attempts.saturating_mul(PATIENCE).max(DEAF);
        self.of(at).runs >= most
    }

    fn cannot_tell(&self, at: usize) -> String {
        let tested = self.of(at);
        let (name, runs) = (self.name(at), tested.runs);
        let (count, does) = match tested.otherwise {
            0 => (tested.nothing, "say nothing"),
            crashes => (crashes, "crash otherwise"),
        };
        let why = tested.why.unwrap_or_default();
        format!("{count} of {runs} runs of {name} {does}: {why}")
    }

    fn too_rare(&self, bad: usize) -> String {
        let (shown, of) = self.rate();
        let enough = silence::needed(shown, of, self.alpha(), LOOK_AHEAD);
        let hint = match enough {
            Some(runs) => format!(" (with {runs} it would be, so --attempts {runs})"),
            None => String::new(),
        };
        format!(
            "{} shows the bug in {shown} of {of} runs, so {} silent runs of another kernel are no silence yet{hint}",
            self.name(bad),
            self.rules.attempts
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a kernel of a made-up world behaves.
    #[derive(Debug, Clone, Copy)]
    struct Rates {
        bug: f64,
        failing: f64,
    }

    const SURE: Rules = Rules {
        attempts: 8,
        confidence: 0.99,
    };

    fn engine(kernels: usize, rules: Rules) -> Engine {
        let kernels = (0..kernels).map(|at| Kernel {
            name: format!("k{at}"),
            impossible: None,
        });
        Engine::new(kernels.collect(), rules)
    }

    /// Plays it; gives the answer and how many runs it took.
    fn play(mut engine: Engine, world: &[Rates], random: &mut fastrand::Rng) -> (Answer, u32) {
        let mut runs = 0;
        loop {
            match engine.next() {
                Todo::Run(at) => {
                    runs += 1;
                    let came = if random.f64() < world[at].failing {
                        Came::Nothing("it failed".into())
                    } else if random.f64() < world[at].bug {
                        Came::Bug
                    } else {
                        Came::Silence
                    };
                    engine.take(at, came);
                }
                Todo::Told(..) => {}
                Todo::Done(answer) => return (answer, runs),
            }
        }
    }

    /// A world in letters: `B` always shows the bug, `n` never, `?` always fails, `!` cannot be run.
    fn check(world: &str, expected: &Answer, runs: u32) {
        let mut engine = engine(world.len(), SURE);
        let rates: Vec<Rates> = world
            .chars()
            .enumerate()
            .map(|(at, letter)| {
                if letter == '!' {
                    engine.kernels[at].impossible = Some("it is refused".into());
                }
                Rates {
                    bug: f64::from(u8::from(letter == 'B')),
                    failing: f64::from(u8::from(letter == '?')),
                }
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(1);
        let found = play(engine, &rates, &mut random);
        assert_eq!(found, (expected.clone(), runs), "{world}");
    }

    #[test]
    fn the_change_is_found_whichever_end_has_the_bug() {
        let found = |at, first_shows| Answer::Found { at, first_shows };
        // The end with the bug 8 times, each silent kernel as often as is needed, each other one once.
        check("BBBn", &found(3, true), 8 + 3 + 1 + 1);
        check("Bnnn", &found(1, true), 8 + 3 + 3);
        check("nnBB", &found(2, false), 8 + 3 + 3 + 1);
        check("nB", &found(1, false), 8 + 3);
    }

    #[test]
    fn what_cannot_be_tested_is_passed_over() {
        let among = Answer::Among {
            from: 1,
            to: 3,
            first_shows: true,
        };
        check("B?!n", &among, 8 + 3 + 3);
        let found = Answer::Found {
            at: 3,
            first_shows: true,
        };
        check("B!Bnn", &found, 8 + 3 + 1 + 3);
    }

    #[test]
    fn ends_that_are_alike_or_say_nothing_end_it() {
        let both = Answer::Alike("both ends show the bug".into());
        check("BnB", &both, 8 + 1);
        let neither = "neither end shows the bug, in 8 and 8 silent runs";
        check("nBn", &Answer::Alike(neither.into()), 16);
        let deaf = "3 of 3 runs of k2 say nothing: it failed";
        check("nB?", &Answer::Unknown(deaf.into()), 6);
        check("BB?", &Answer::Unknown(deaf.into()), 8 + 3);
    }

    #[test]
    fn a_kernel_that_crashes_otherwise_is_not_silent_however_often_it_survives() {
        let mut engine = engine(2, SURE);
        for _ in 0..SURE.attempts {
            engine.take(0, Came::Bug);
        }
        engine.take(1, Came::Otherwise("different: a panic".into()));
        engine.take(1, Came::Nothing("it failed".into()));
        let answer = loop {
            match engine.next() {
                Todo::Run(at) => engine.take(at, Came::Silence),
                Todo::Told(..) => {}
                Todo::Done(answer) => break answer,
            }
        };
        assert_eq!(engine.shows(1), Some(Shows::Unknown));
        assert_eq!(engine.tested()[1].silent, 3);
        let why = "1 of 5 runs of k1 crash otherwise: different: a panic";
        assert_eq!(answer, Answer::Unknown(why.into()));
    }

    #[test]
    fn a_bug_that_is_too_rare_for_the_attempts_is_said_to_be() {
        let mut engine = engine(2, SURE);
        for came in [Came::Bug, Came::Silence, Came::Silence, Came::Silence] {
            engine.take(0, came.clone());
            engine.take(0, came);
        }
        while let Todo::Told(..) | Todo::Run(_) = engine.next() {
            engine.take(1, Came::Silence);
        }
        let Todo::Done(Answer::Unknown(why)) = engine.next() else {
            panic!("{:?}", engine.next());
        };
        assert!(
            why.starts_with("k0 shows the bug in 2 of 8 runs, so 8 silent runs"),
            "{why}"
        );
        assert!(why.contains("--attempts "), "{why}");
    }

    /// How many of the campaigns give a wrong answer: a place where nothing changes.
    fn wrong(world: &[Rates], change: Option<usize>, rules: Rules, campaigns: u32) -> (u32, u32) {
        let mut random = fastrand::Rng::with_seed(20_220_605);
        let (mut wrong, mut found) = (0, 0);
        for _ in 0..campaigns {
            let (answer, _) = play(engine(world.len(), rules), world, &mut random);
            let right = match answer {
                Answer::Found { at, .. } => {
                    found += 1;
                    Some(at) == change
                }
                Answer::Among { from, to, .. } => {
                    change.is_some_and(|change| (from..=to).contains(&change))
                }
                Answer::Alike(_) => true,
                Answer::Unknown(_) => true,
            };
            wrong += u32::from(!right);
        }
        (wrong, found)
    }

    #[test]
    fn wrong_answers_are_as_rare_as_is_said_in_simulated_bisections() {
        const CAMPAIGNS: u32 = 2_000;
        println!("{CAMPAIGNS} simulated bisections of 8 kernels each");
        println!("rate  change  failing  attempts  confidence  wrong  found");
        for confidence in [0.99, 0.9] {
            for (bug, change, failing, attempts) in [
                (1.0, Some(3), 0.0, 8),
                (0.9, Some(5), 0.1, 8),
                (0.7, Some(1), 0.0, 12),
                (0.5, Some(6), 0.1, 20),
                (0.3, Some(4), 0.0, 40),
                (0.7, None, 0.0, 8),
                (0.5, None, 0.0, 12),
                (0.3, None, 0.1, 20),
                (0.1, None, 0.0, 40),
            ] {
                let world: Vec<Rates> = (0..8)
                    .map(|at| Rates {
                        bug: if change.is_some_and(|change| at < change) || change.is_none() {
                            bug
                        } else {
                            0.0
                        },
                        failing,
                    })
                    .collect();
                let rules = Rules {
                    attempts,
                    confidence,
                };
                let (wrong, found) = wrong(&world, change, rules, CAMPAIGNS);
                println!(
                    "{bug:>4}  {change:?}  {failing}  {attempts}  {confidence}  {wrong}  {found}"
                );
                let mean = f64::from(CAMPAIGNS) * (1.0 - confidence);
                let most = mean + 3.0 * (mean * confidence).sqrt();
                assert!(f64::from(wrong) <= most, "{bug} {change:?}: {wrong}");
                assert!(change.is_none() || found > CAMPAIGNS / 2, "{bug}: {found}");
            }
        }
    }
}
