//! `recrash bisect`: which kernel of an ordered list is the first that behaves unlike the first one. Which kernel is run
//! next is [`crate::bisect`]'s to say; each run is made and judged as a single one is, by [`Bench`].
mod paper;

use anyhow::anyhow;
use recrash_machine::qemu::accel::AccelChoice;
use recrash_machine::run::{CampaignFolder, CampaignNote, StopFlag};
use recrash_machine::setup::Provisioned;
use recrash_signature::compare::Verdict;
use recrash_signature::store::Golden;
use std::time::Instant;

use super::run::bench::Bench;
use super::run::hardware;
use super::run::plan::Plan;
use super::run::reproduction::Reproduction;
use super::verify::{confidence, sides};
use super::{Outcome, capture_args, target};
use crate::bisect::engine::{Answer, Came, Engine, Kernel, Rules, Todo};
use crate::exit::Exit;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::ReportArgs;
use crate::{golden, interrupt, output};
use paper::{Paper, Question, Summary};

/// Most attempts a kernel: more is a slip of the finger.
const MOST_ATTEMPTS: i64 = 10_000;

const HELP: &str = "\
The kernels are given in their order, oldest first. Which end has the bug does not matter: it finds what brought the
bug, or what took it away. A kernel has the bug as soon as one of its runs shows it. It does not have it if so many runs
are silent that this is no luck, beside what the end with the bug has shown, at the confidence for the whole answer. What
can be said neither way (another crash, a kernel that does not boot or that the scenario cannot harm) is passed over.

Exit codes:
  0  found: one kernel
  1  the ends behave alike: there is nothing to find between them
  2  wrong command line, unusable input, or set-up is missing (see recrash setup)
  4  inconclusive: the ends cannot be told apart, or only a range was found because kernels in it cannot be tested

Examples:
  recrash bisect v1 v2 v3 v4 v5 --setup
  recrash bisect --targets v1,v2,v3,v4,v5 --fault early-free --attempts 20

For the commits of a kernel tree, git bisect run with recrash run --git-bisect or recrash verify --git-bisect.";

/// Finds the first kernel of an ordered list that behaves unlike the first one.
///
/// All run the same scenario, device and fault, on the machine of the first one. The ends are tested first, then the
/// middle of what is left.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The kernels, oldest first
    #[arg(value_name = "TARGET", num_args = 2.., required_unless_present = "targets")]
    kernels: Vec<String>,
    /// The same as one list, with commas
    #[arg(
        long,
        value_name = "A,B,…",
        value_delimiter = ',',
        conflicts_with = "kernels"
    )]
    targets: Vec<String>,
    #[command(flatten)]
    what: Reproduction,
    /// How often the end with the bug is run, to see how often it shows, and how often any other kernel at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=MOST_ATTEMPTS))]
    attempts: u32,
    /// How sure the whole answer must be
    #[arg(long, value_name = "SHARE", default_value = "0.99", value_parser = confidence)]
    confidence: f64,
    /// Print one JSON object a line on stdout: one a run, one a kernel, the last one is the answer
    #[arg(long)]
    json: bool,
    /// Show the guests' consoles
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// A kernel of the list.
struct Prepared {
    name: String,
    /// What is needed to run it; or why it cannot be tested.
    ready: Result<(Plan, Provisioned), String>,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        let names = if self.targets.is_empty() {
            &self.kernels
        } else {
            &self.targets
        };
        check_names(names)?;
        let (kernels, golden) = self.prepare(names)?;
        let stop = StopFlag::from(interrupt::stop_flag()?);
        let first = kernels.first().and_then(|one| one.ready.as_ref().ok());
        let Some((plan, _)) = first else {
            return Err(Failure::usage(anyhow!("there is no first kernel")));
        };
        let started = jiff::ZonedDateTime::now();
        let begin = Instant::now();
        let folder = CampaignFolder::create(
            &plan.root,
            &started.strftime("%Y%m%d-%H%M%S").to_string(),
            &format!("bisect-{}", plan.target.name),
            &plan.scenario.fault,
        )
        .map_err(|error| {
            let error = anyhow::Error::new(error);
            Failure::inconclusive(error.context(plan.root.display().to_string()))
        })?;
        let question = Question {
            kernels: names.clone(),
            scenario: plan.scenario_name.clone(),
            device: plan.device_name.clone(),
            fault: plan.scenario.fault.clone(),
            append: plan.append.clone(),
            golden: golden::name(&golden),
            attempts: self.attempts,
            confidence: self.confidence,
        };
        let paper = Paper::begin(
            &folder,
            started.timestamp().to_string(),
            question,
            self.json,
            self.report.takes_stdout(),
        );
        let mut paper = paper.map_err(Failure::inconclusive)?;
        let rules = Rules {
            attempts: self.attempts,
            confidence: self.confidence,
        };
        let listed = kernels.iter().map(|kernel| Kernel {
            name: kernel.name.clone(),
            impossible: kernel.ready.as_ref().err().cloned(),
        });
        let mut engine = Engine::new(listed.collect(), rules);
        let play = Play {
            kernels: &kernels,
            golden: &golden,
            accel: self.what.accel.into(),
            campaign: folder.name(),
            most: u32::try_from(kernels.len().saturating_mul(2))
                .unwrap_or(u32::MAX)
                .saturating_mul(self.attempts),
            stop: &stop,
            json: self.json,
            verbose: self.verbose,
        };
        let answer = play.find(&mut engine, &mut paper);
        let answer = answer.map_err(Failure::inconclusive)?;
        let summary = Summary::of(&answer, &paper, &engine);
        let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let document = paper.end(&folder, &summary, took);
        self.report
            .emit(&document.map_err(Failure::inconclusive)?)?;
        super::run::prune(&plan.root, self.what.keep);
        Ok(exit(&answer))
    }

    /// Puts the kernels together. What is wrong with the options or with an end is an error; a kernel between them that
    /// does not go with the scenario is one that cannot be tested.
    fn prepare(&self, names: &[String]) -> Result<(Vec<Prepared>, Golden), Failure> {
        sides::one_capture(&self.what)?;
        let name = names.first().map(String::as_str).unwrap_or_default();
        let first = self.what.resolve(target::load(name)?)?;
        let golden = self.what.golden(&first)?;
        let pinned = sides::pin(&self.what, &first);
        let progress = Progress::new(self.json, self.verbose);
        let mut kernels = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let mut kernel = target::load(name)?;
            if let Some(why) = &kernel.left_out {
                return Err(Failure::usage(anyhow!("target {name} is left out: {why}")));
            }
            if kernel.machine != first.target.machine {
                output::note(&format!(
                    "note: {name} runs on the machine of {}; its own is another\n",
                    first.target.name
                ));
                kernel.machine = first.target.machine.clone();
            }
            let (plan, together) = pinned.resolve_parts(kernel)?;
            let end = at == 0 || at + 1 == names.len();
            let together = match together {
                Err(failure) if end => return Err(failure),
                other => other.map_err(|failure| failure.chain()),
            };
            let ready = match together {
                Err(why) => Err(why),
                Ok(()) => {
                    let provisioned = pinned.provision(&plan.target, &progress)?;
                    capture_args::check(&plan.capture, &provisioned)?;
                    match hardware::check(&plan.target, &provisioned, &plan.device) {
                        Err(failure) if end => return Err(failure),
                        Err(failure) => Err(failure.chain()),
                        Ok(()) => Ok((plan, provisioned)),
                    }
                }
            };
            kernels.push(Prepared {
                name: name.clone(),
                ready,
            });
        }
        Ok((kernels, golden))
    }
}

fn check_names(names: &[String]) -> Result<(), Failure> {
    if names.len() < 2 {
        return Err(Failure::usage(anyhow!(
            "a list of at least two kernels is needed: what is between them is looked for"
        )));
    }
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|known| known == name) {
            return Err(Failure::usage(anyhow!("{name} is in the list twice")));
        }
    }
    Ok(())
}

/// What the runs have in common.
struct Play<'a> {
    kernels: &'a [Prepared],
    golden: &'a Golden,
    accel: AccelChoice,
    campaign: String,
    /// Most runs there can be.
    most: u32,
    stop: &'a StopFlag,
    json: bool,
    verbose: bool,
}

impl Play<'_> {
    /// Makes the runs that the engine asks for.
    ///
    /// # Errors
    /// Results cannot be written or printed any more.
    fn find(&self, engine: &mut Engine, paper: &mut Paper) -> anyhow::Result<Answer> {
        let mut number = 0;
        loop {
            let at = match engine.next() {
                Todo::Run(at) => at,
                Todo::Told(at, shows) => {
                    paper.kernel(engine, at, shows)?;
                    continue;
                }
                Todo::Done(answer) => return Ok(answer),
            };
            number += 1;
            let kernel = self.kernels.get(at);
            let Some((kernel, (plan, provisioned))) =
                kernel.and_then(|one| Some((one, one.ready.as_ref().ok()?)))
            else {
                let why = "it cannot be run".into();
                engine.take(at, Came::Nothing(why));
                continue;
            };
            let bench = Bench {
                plan,
                provisioned,
                golden: self.golden,
                // What is expected of a kernel is what is looked for; no crash is proposed as a golden.
                expect: Expect::Crash,
                accel: self.accel,
                snapshot: None,
            };
            let note = CampaignNote {
                name: self.campaign.clone(),
                attempt: number,
                of: self.most,
            };
            let begin = Instant::now();
            let progress = Progress::of_attempt(number, self.json, self.verbose);
            paper.begun(&kernel.name);
            let aftermath = bench.run_once(&progress, self.stop, Some(note));
            let record = aftermath.record(number, begin.elapsed())?;
            if self.stop.is_stopped() {
                return Ok(Answer::Unknown("interrupted".into()));
            }
            engine.take(at, came(record.verdict, &record.why));
            paper.run(at, &kernel.name, &record)?;
        }
    }
}

/// What a run says of the bug. Another crash hides whether it is there.
fn came(verdict: Verdict, why: &str) -> Came {
    match verdict {
        Verdict::SameCrash | Verdict::SameBug => Came::Bug,
        Verdict::NoCrash => Came::Silence,
        Verdict::Different => Came::Otherwise(format!("{verdict}: {why}")),
        Verdict::Inconclusive => Came::Nothing(format!("{verdict}: {why}")),
    }
}

fn exit(answer: &Answer) -> Exit {
    match answer {
        Answer::Found { .. } => Exit::Met,
        Answer::Alike(_) => Exit::Differs,
        Answer::Among { .. } | Answer::Unknown(_) => Exit::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_two_different_kernels_at_least() {
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check_names(&names).map_err(|failure| failure.chain())
        };
        assert_eq!(check(&["a", "b"]), Ok(()));
        assert!(check(&["a"]).is_err());
        assert_eq!(
            check(&["a", "b", "a"]),
            Err("a is in the list twice".into())
        );
    }

    #[test]
    fn every_answer_has_an_exit_code() {
        let found = Answer::Found {
            at: 1,
            first_shows: true,
        };
        let among = Answer::Among {
            from: 1,
            to: 2,
            first_shows: true,
        };
        let codes = [
            found,
            Answer::Alike(String::new()),
            among,
            Answer::Unknown(String::new()),
        ];
        assert_eq!(codes.map(|answer| exit(&answer) as u8), [0, 1, 4, 4]);
    }
}
