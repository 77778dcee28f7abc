//! `recrash verify`: whether a candidate has the baseline's bug no more, by runs of both, interleaved, until the claim
//! holds. What the sides are is [`sides`]'s, the runs are [`play`]'s, what they mean [`crate::verify`]'s.
mod document;
mod paper;
pub(super) mod play;
pub(super) mod sides;

use recrash_machine::run::{CampaignFolder, StopFlag};
use std::time::{Duration, Instant};

use super::run::bench::Bench;
use super::run::hardware;
use super::run::reproduction::Reproduction;
use super::{Outcome, TargetArg, capture_args};
use crate::exit::Exit;
use crate::expect::Expect;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::report::emit::{self, ReportArgs};
use crate::report::sides as side_by_side;
use crate::verify::decide::Rules;
use crate::verify::summary::{OtherCrash, Question, Seen, Summary};
use crate::verify::{Verdict, summary, text};
use crate::{golden, interrupt, output};
use paper::{Last, Paper};
use play::Match;
use sides::{Candidate, Sides};

/// Most pairs, and most runs at once: more is a slip of the finger.
const MOST_PAIRS: i64 = 50_000;
const MOST_JOBS: i64 = 256;

const HELP: &str = "\
Verdicts:
  fixed         the baseline shows the bug and the candidate does not, which is no luck at the confidence that is stated
  not-fixed     the candidate shows the bug; one crash of it is proof
  changed       the candidate does not show the bug, but crashes otherwise
  inconclusive  the baseline does not show the bug, runs fail, the candidate never comes to what the bug needs or
                crashes otherwise before it, or the budget is too small

Exit codes:
  0  the verdict is the expected one (fixed, unless --expect says otherwise)
  1  not-fixed or changed instead
  2  wrong command line, unusable input, or set-up is missing (see recrash setup)
  3  fixed, where not-fixed or changed was expected
  4  inconclusive
With --git-bisect: 0 fixed (good), 1 not-fixed (bad), 125 changed or inconclusive (skip), 128 an error or an interrupt.

Examples:
  recrash verify --fault early-free --candidate fault=early-free-fixed
  recrash verify --target mine --candidate target=mine-patched --setup
  recrash verify --candidate append=swiotlb=force --confidence 0.999
  recrash verify --candidate qemu=$HOME/qemu/build/qemu-system-x86_64 --expect not-fixed";

/// Proves a fix: runs baseline and candidate until it is clear whether the bug is gone.
///
/// The baseline is what the options say, as for recrash run. The candidate is the same, but for what --candidate names:
/// everything else, also what another kernel would bring by itself, is the baseline's. The runs of both are made in
/// pairs, in an order that is drawn. It stops as soon as the verdict is clear at the confidence, however often it has
/// looked. A run without a crash counts only if the same URBs were served and the fault code ran.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArg,
    /// What the candidate has else: target=NAME, append=WORDS, fault=NAME, device=NAME or qemu=PATH. With the baseline's
    /// own value both sides are the same, which checks the comparison itself
    #[arg(long, value_name = "KEY=VALUE", required = true)]
    candidate: Candidate,
    #[command(flatten)]
    what: Reproduction,
    /// How sure the verdict fixed or changed must be
    #[arg(long, value_name = "SHARE", default_value = "0.99", value_parser = confidence)]
    confidence: f64,
    /// Most pairs of runs
    #[arg(long, value_name = "PAIRS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=MOST_PAIRS))]
    budget: u32,
    /// Begin no more runs after so long: 90s, 30m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = play::duration)]
    time_limit: Option<Duration>,
    /// How many runs at once; each has a guest of its own, with its memory and its processors
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_JOBS))]
    jobs: u32,
    /// What the order within the pairs is drawn with [default: another one each time; it is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What exit code 0 shall mean
    #[arg(long, value_name = "VERDICT", default_value = "fixed")]
    expect: Verdict,
    /// Exit codes for git bisect run: 0 fixed, 1 not-fixed, 125 changed or inconclusive, 128 an error
    #[arg(long, conflicts_with = "expect")]
    git_bisect: bool,
    /// Print one JSON object a line on stdout: one a run, the last one is the verdict
    #[arg(long)]
    json: bool,
    /// Show the guests' consoles
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// A share of all cases in which one wants to be right.
pub(super) fn confidence(text: &str) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number; expected for example 0.99"))?;
    if (0.5..=0.999_999).contains(&value) {
        Ok(value)
    } else {
        Err("expected 0.5 to 0.999999".into())
    }
}

/// When this limit ends; `None` if it is so far away that the clock has no such time, which is no limit.
fn until(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        self.report.check(self.json)?;
        // Whatever can be wrong with the input is found before anything boots.
        let sides = sides::prepare(self.target.name(), &self.what, &self.candidate)?;
        let progress = Progress::new(self.json, self.verbose);
        let [baseline, candidate] = [&sides.baseline, &sides.candidate].map(|side| {
            let provisioned = side.what.provision(&side.plan.target, &progress)?;
            capture_args::check(&side.plan.capture, &provisioned)?;
            hardware::check(&side.plan.target, &provisioned, &side.plan.device)?;
            Ok::<_, Failure>(provisioned)
        });
        let (baseline, candidate) = (baseline?, candidate?);
        drop(progress);
        let at_once = if self.git_bisect {
            Exit::Abort
        } else {
            Exit::Inconclusive
        };
        let stop = StopFlag::from(interrupt::stop_flag_with(at_once)?);
        // No crash of either side is proposed as a golden: what counts as the bug is settled.
        let quiet = if self.expect == Verdict::Fixed {
            Expect::NoCrash
        } else {
            Expect::Crash
        };
        let bench = Bench {
            plan: &sides.baseline.plan,
            provisioned: &baseline,
            golden: &sides.golden,
            expect: Expect::Crash,
            accel: self.what.accel.into(),
            snapshot: None,
        };
        let releases = [&baseline, &candidate].map(|one| one.kernel_release.clone());
        let question = self.question(&sides, releases);
        let play = Match {
            baseline: bench,
            candidate: Bench {
                plan: &sides.candidate.plan,
                provisioned: &candidate,
                expect: quiet,
                ..bench
            },
            same_device: sides.same_device(),
            rules: Rules {
                confidence: self.confidence,
                budget: self.budget,
            },
            jobs: self.jobs,
            seed: question.seed,
            until: self.time_limit.and_then(until),
            json: self.json,
            quiet: self.report.takes_stdout(),
            verbose: self.verbose,
            keep: self.what.keep,
        };
        let summary = self.carry_out(&play, question, &sides, &stop)?;
        super::run::prune(&sides.baseline.plan.root, self.what.keep);
        Ok(if self.git_bisect {
            summary::git_bisect(&summary)
        } else {
            summary::exit(self.expect, summary.verdict)
        })
    }

    fn question(&self, sides: &Sides, kernel_releases: [String; 2]) -> Question {
        let plan = &sides.baseline.plan;
        Question {
            target: plan.target.name.clone(),
            scenario: plan.scenario_name.clone(),
            device: plan.device_name.clone(),
            fault: plan.scenario.fault.clone(),
            append: plan.append.clone(),
            kernel_releases,
            difference: sides.difference.clone(),
            notes: sides.notes.clone(),
            golden: golden::name(&sides.golden),
            expected: self.expect,
            confidence: self.confidence,
            budget: self.budget,
            jobs: self.jobs,
            // Few digits, so that a person can type it again.
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        }
    }

    /// Makes the runs, writes everything down and prints it.
    fn carry_out(
        &self,
        play: &Match<'_>,
        question: Question,
        sides: &Sides,
        stop: &StopFlag,
    ) -> Result<Summary, Failure> {
        let started = jiff::ZonedDateTime::now();
        let plan = &sides.baseline.plan;
        let folder = CampaignFolder::create(
            &plan.root,
            &started.strftime("%Y%m%d-%H%M%S").to_string(),
            &format!("verify-{}", plan.target.name),
            &plan.scenario.fault,
        )
        .map_err(|error| {
            let error = anyhow::Error::new(error);
            Failure::inconclusive(error.context(plan.root.display().to_string()))
        })?;
        let paper = Paper::begin(&folder, started.timestamp().to_string(), &question);
        let mut paper = paper.map_err(Failure::inconclusive)?;
        let begin = Instant::now();
        let outcome = play.play(&folder, &mut paper, stop);
        let outcome = outcome.map_err(Failure::inconclusive)?;
        let other = outcome.other_crash();
        let other_crash = other.and_then(|played| {
            let signature = played.run.signature.as_ref()?;
            Some(OtherCrash {
                title: signature.title.clone(),
                bug: signature.bug.clone(),
                run: played.record.run.clone(),
            })
        });
        let summary = Summary::of(
            question,
            Seen {
                runs: &outcome.sorting.runs,
                standing: &outcome.standing,
                ended: outcome.ended,
                cut_off: outcome.cut_off,
                bug_of_run: outcome.bug_of_run(),
                other_crash,
                wall_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
        );
        let mut text = text::summary(&summary);
        if let (Some(bug), Some(other)) = (
            outcome.bug().and_then(|one| one.run.signature.as_ref()),
            other.and_then(|one| one.run.signature.as_ref()),
        ) {
            let table = side_by_side::sides(bug, other, false, side_by_side::width());
            text.push_str("\nThe bug on the baseline (golden) and the candidate's crash (found)\n");
            text.push_str(&table);
        }
        text.push('\n');
        text.push_str(&text::conclusion(&summary));
        let report = paper.end(&summary, &outcome, &text);
        let report = report.map_err(Failure::inconclusive)?;
        let mut document = document::document(
            &summary,
            &outcome,
            &sides.golden,
            folder.path(),
            &started.timestamp().to_string(),
        );
        let page = emit::keep(&mut document, folder.path());
        if self.report.takes_stdout() {
            // Standard output has the report, and nothing else.
        } else if self.json {
            output::print_json(&Last {
                name: folder.name(),
                path: folder.path(),
                report: &report,
                page: page.as_deref(),
                summary: &summary,
            })?;
        } else {
            let page = page.map_or_else(String::new, |page| format!("page: {}\n", page.display()));
            output::print(&format!("\n{text}report: {}\n{page}", report.display()))?;
        }
        self.report.emit(&document)?;
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confidence_is_a_share_below_one() {
        assert_eq!(confidence("0.99"), Ok(0.99));
        for wrong in ["1", "0.2", "NaN", "x", "-1", "inf"] {
            assert!(confidence(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_limit_beyond_the_clock_is_none() {
        assert!(until(Duration::from_secs(90)) > Some(Instant::now()));
        assert_eq!(until(Duration::MAX), None);
    }
}
