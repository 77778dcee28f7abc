//! Simulated campaigns: how often the whole procedure claims a fix that is none, and how many pairs it takes to find one.
//! The random numbers have a seed, so each run of the tests sees the same.
use super::decide::{Ended, Rules, decide};
use super::sort::Sorted;
use super::{Outcome, Side, Verdict};

/// How many campaigns are simulated of each kind.
const CAMPAIGNS: u32 = 10_000;

/// How the two sides behave.
#[derive(Debug, Clone, Copy)]
struct World {
    /// How often the baseline shows the bug.
    baseline: f64,
    /// How often the candidate does.
    candidate: f64,
    /// How often a run fails, on either side, for reasons of its own.
    failing: f64,
    /// How often the candidate crashes otherwise where it does not show the bug.
    otherwise: f64,
    /// From pair to pair the rates of both sides go to this share of themselves and back, as on a host whose load
    /// changes.
    drift: f64,
}

impl World {
    fn of(baseline: f64, candidate: f64) -> Self {
        Self {
            baseline,
            candidate,
            failing: 0.0,
            otherwise: 0.0,
            drift: 1.0,
        }
    }

    fn run(&self, pair: u32, side: Side, random: &mut fastrand::Rng) -> Sorted {
        let (rate, otherwise) = match side {
            Side::Baseline => (self.baseline, 0.0),
            Side::Candidate => (self.candidate, self.otherwise),
        };
        let rate = if pair.is_multiple_of(2) {
            rate * self.drift
        } else {
            rate
        };
        let outcome = if random.f64() < self.failing {
            Outcome::SaysNothing
        } else if random.f64() < rate {
            Outcome::Bug
        } else if random.f64() < otherwise {
            Outcome::OtherCrash
        } else {
            Outcome::NoCrash
        };
        Sorted {
            pair,
            side,
            outcome,
            why: String::new(),
        }
    }

    /// One campaign: its verdict, and after how many pairs. Looking once at all the pairs that the budget allows gives what
    /// looking after each would have given (see [`looking_late_changes_nothing`]).
    fn campaign(&self, rules: Rules, random: &mut fastrand::Rng) -> (Verdict, u32) {
        let runs = self.runs(rules.budget, random);
        let standing = decide(&runs, 1, rules, Ended::NotYet);
        (standing.decision.unwrap().verdict, standing.pairs)
    }

    fn runs(&self, pairs: u32, random: &mut fastrand::Rng) -> Vec<Sorted> {
        let pairs = 1..=pairs;
        pairs
            .flat_map(|pair| [(pair, Side::Baseline), (pair, Side::Candidate)])
            .map(|(pair, side)| self.run(pair, side, random))
            .collect()
    }

    /// How often each verdict is given, and the pairs that a claim took, sorted.
    fn campaigns(&self, rules: Rules) -> ([u32; 4], Vec<u32>) {
        let mut random = fastrand::Rng::with_seed(20_220_605);
        let mut counts = [0; 4];
        let mut pairs = Vec::new();
        for _ in 0..CAMPAIGNS {
            let (verdict, took) = self.campaign(rules, &mut random);
            let at = match verdict {
                Verdict::Fixed => 0,
                Verdict::NotFixed => 1,
                Verdict::Changed => 2,
                Verdict::Inconclusive => 3,
            };
            counts[at] += 1;
            if at == 0 || at == 2 {
                pairs.push(took);
            }
        }
        pairs.sort_unstable();
        (counts, pairs)
    }
}

/// What is still a chance of `alpha` in so many campaigns: three standard deviations above it.
fn most_wrong(alpha: f64) -> u32 {
    let mean = f64::from(CAMPAIGNS) * alpha;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some hundreds"
    )]
    let most = (mean + 3.0 * (mean * (1.0 - alpha)).sqrt()) as u32;
    most
}

/// Claims where there is nothing to claim: at most as many as the confidence allows.
fn check(world: World, rules: Rules) {
    let ([fixed, not_fixed, changed, inconclusive], _) = world.campaigns(rules);
    println!(
        "{:>8} {:>9} {:>7} {:>9} {:>5}  {:>6}  {fixed:>5} {changed:>7} {not_fixed:>9} {inconclusive:>12}",
        world.baseline, world.candidate, world.failing, world.otherwise, world.drift, rules.budget,
    );
    let allowed = most_wrong(1.0 - rules.confidence);
    assert!(
        fixed + changed <= allowed,
        "{world:?}: {} of {CAMPAIGNS}",
        fixed + changed
    );
}

#[test]
fn a_fix_that_is_none_is_claimed_no_more_often_than_the_confidence_allows() {
    println!("verdicts of {CAMPAIGNS} simulated campaigns each, where the candidate has the bug");
    println!(
        "baseline candidate failing otherwise drift  budget  fixed changed not-fixed inconclusive"
    );
    for confidence in [0.99, 0.9] {
        println!(
            "confidence {confidence}: at most {} wrong",
            most_wrong(1.0 - confidence)
        );
        let rules = |budget| Rules { confidence, budget };
        for rate in [1.0, 0.9, 0.5, 0.2, 0.05] {
            let world = World::of(rate, rate);
            check(world, rules(30));
            check(
                World {
                    failing: 0.2,
                    ..world
                },
                rules(30),
            );
        }
        // Where rates are low, a claim takes long, and one looks often.
        for rate in [0.5, 0.2, 0.1, 0.05] {
            check(World::of(rate, rate), rules(200));
        }
        check(
            World {
                otherwise: 0.5,
                ..World::of(0.5, 0.5)
            },
            rules(100),
        );
        check(
            World {
                drift: 0.2,
                ..World::of(0.6, 0.6)
            },
            rules(100),
        );
        check(World::of(0.3, 0.6), rules(100));
        check(World::of(0.0, 0.0), rules(100));
    }
}

#[test]
fn looking_late_changes_nothing() {
    let mut random = fastrand::Rng::with_seed(1);
    let rules = Rules {
        confidence: 0.99,
        budget: 20,
    };
    for _ in 0..300 {
        let world = World {
            failing: 0.3,
            otherwise: 0.2,
            ..World::of(random.f64(), random.f64() * 0.1)
        };
        let runs = world.runs(rules.budget, &mut random);
        let late = decide(&runs, 1, rules, Ended::NotYet);
        let early = (1..=rules.budget).find_map(|pairs| {
            let seen = &runs[..pairs as usize * 2];
            let standing = decide(seen, 1, rules, Ended::NotYet);
            standing.decision.map(|decision| (decision.verdict, pairs))
        });
        let late = late.decision.map(|decision| (decision.verdict, late.pairs));
        assert_eq!(early, late);
    }
}

#[test]
fn a_fix_is_found_within_few_pairs() {
    println!("{CAMPAIGNS} simulated campaigns each, confidence 0.99, where the candidate is fixed");
    println!("baseline failing budget  found    median  nine of ten");
    let expected = [
        (1.0, 0.0, 30, 1.0),
        (1.0, 0.1, 30, 0.99),
        (0.9, 0.0, 30, 0.99),
        (0.7, 0.0, 30, 0.99),
        (0.5, 0.0, 30, 0.9),
        (0.3, 0.0, 60, 0.9),
        (0.2, 0.0, 100, 0.9),
        (0.1, 0.0, 200, 0.9),
        (0.05, 0.0, 400, 0.9),
    ];
    for (baseline, failing, budget, least) in expected {
        let world = World {
            failing,
            ..World::of(baseline, 0.0)
        };
        let rules = Rules {
            confidence: 0.99,
            budget,
        };
        let ([fixed, not_fixed, ..], pairs) = world.campaigns(rules);
        let found = f64::from(fixed) / f64::from(CAMPAIGNS);
        let at = |share: usize| pairs.get(pairs.len() * share / 10).copied().unwrap_or(0);
        println!(
            "{baseline:>8} {failing:>7} {budget:>6}  {found:>6.4}  {:>6}  {:>11}",
            at(5),
            at(9)
        );
        assert_eq!(not_fixed, 0);
        assert!(found >= least, "{world:?}: {found}");
    }
}
