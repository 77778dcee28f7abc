//! The claim that a bug is seen less often on one side than on the other, tested pair by pair, so that one may stop
//! whenever one likes. Pure arithmetic; knows no runs.
//!
//! Each pair is a run of the baseline, which shows the bug (x = 1) or not (x = 0), and a run of the candidate, which
//! must not (y = 0). The hypothesis to reject is that in every pair the candidate's chance is at least the baseline's;
//! the chances themselves may differ from pair to pair, as those on a busy host do.
//!
//! For a supposed rate q of the baseline the pair is worth
//!
//! ```text
//! f(x, 0) = 4 (1 - q + x) / (2 - q)²      f(x, 1) = 0
//! ```
//!
//! which is the likelihood ratio of (baseline q, candidate 0) against (both q/2): the safe test for 2×2 tables of Turner,
//! Ly and Grünwald (Generic E-variables for exact sequential k-sample tests that allow for optional stopping,
//! arXiv:2106.02693) for this one alternative. If the baseline's chance is b and the candidate's c ≥ b, its expectation
//! is at most 1:
//!
//! ```text
//! (1 - c) (b f(1,0) + (1 - b) f(0,0)) ≤ (1 - b) (1 - q + b) · 4 / (2 - q)² ≤ 1
//! ```
//!
//! because a product of two numbers whose sum is 2 - q is at most the square of half of it. So the product over pairs
//! is a supermartingale that begins at 1, and so is its mean over the rates of [`PRIOR`]. It ever reaches 1/α with a
//! chance of at most α (Ville's inequality), however often one looks and whatever makes one stop.
use serde::Serialize;

/// Supposed rates of the baseline and their weights, which add up to 1. Half is on a bug that always shows, so that four
/// pairs are enough for it at 0.99, which is as few as any test can do: 1/2 to the power of 2·3 is more than 0.01.
const PRIOR: [(f64, f64); 6] = [
    (1.0, 0.5),
    (0.75, 0.1),
    (0.5, 0.1),
    (0.25, 0.1),
    (0.1, 0.1),
    (0.05, 0.1),
];

/// What a pair is worth under this supposed rate, if the candidate has not shown the bug.
fn factor(rate: f64, baseline_shows: bool) -> f64 {
    let x = if baseline_shows { 1.0 } else { 0.0 };
    4.0 * (1.0 - rate + x) / ((2.0 - rate) * (2.0 - rate))
}

/// The evidence so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Claim {
    /// The logarithm of the product under each rate of the prior.
    products: [f64; PRIOR.len()],
    pairs: u32,
    /// The largest mean so far.
    best: f64,
}

impl Claim {
    /// Nothing is known.
    pub(crate) fn new() -> Self {
        Self {
            products: [0.0; PRIOR.len()],
            pairs: 0,
            best: 1.0,
        }
    }

    /// Takes a pair.
    pub(crate) fn add(&mut self, baseline_shows: bool, candidate_shows: bool) {
        self.pairs = self.pairs.saturating_add(1);
        for (product, (rate, _)) in self.products.iter_mut().zip(PRIOR) {
            *product += if candidate_shows {
                f64::NEG_INFINITY
            } else {
                factor(rate, baseline_shows).ln()
            };
        }
        self.best = self.best.max(self.e_value());
    }

    /// The evidence against the hypothesis: its expectation under the hypothesis is at most 1.
    pub(crate) fn e_value(&self) -> f64 {
        let terms = self.products.iter().zip(PRIOR);
        terms
            .map(|(product, (_, weight))| weight * product.exp())
            .sum()
    }

    /// The chance, at most, that evidence as strong as the strongest so far comes up at any time if the candidate has
    /// the bug at least as often as the baseline.
    pub(crate) fn luck(&self) -> f64 {
        (1.0 / self.best).min(1.0)
    }

    /// Whether the hypothesis is rejected at this confidence.
    pub(crate) fn holds(&self, confidence: f64) -> bool {
        self.best >= 1.0 / (1.0 - confidence)
    }

    /// How many pairs were taken.
    pub(crate) fn pairs(&self) -> u32 {
        self.pairs
    }

    /// How many more pairs it would take about, if the baseline went on to show the bug at this rate and the candidate
    /// stayed silent. `None`: no number below `most` would do.
    pub(crate) fn needed(&self, rate: f64, confidence: f64, most: u32) -> Option<u32> {
        let mut ahead = *self;
        for more in 0..=most {
            if ahead.holds(confidence) {
                return Some(more);
            }
            // A pair that is worth what such pairs are worth in the (geometric) mean.
            for (product, (supposed, _)) in ahead.products.iter_mut().zip(PRIOR) {
                let worth = |shows| {
                    let chance = if shows { rate } else { 1.0 - rate };
                    // What cannot happen weighs nothing, whatever its logarithm.
                    if chance > 0.0 {
                        chance * factor(supposed, shows).ln()
                    } else {
                        0.0
                    }
                };
                *product += worth(true) + worth(false);
            }
            ahead.best = ahead.best.max(ahead.e_value());
        }
        None
    }
}

/// What the candidate's silence means by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Silence {
    /// How many of its runs say something and do not show the bug.
    pub(crate) runs: u32,
    /// The chance of that many silent runs, if it showed the bug as often as the baseline was seen to.
    pub(crate) at_rate: f64,
    /// The same with the baseline's rate at the lower end of its interval.
    pub(crate) at_low: f64,
}

impl Silence {
    /// Of so many silent runs, beside a baseline of this rate, which may be as low as `low`.
    pub(crate) fn of(runs: u32, rate: f64, low: f64) -> Self {
        let chance = |rate: f64| (1.0 - rate).powf(f64::from(runs));
        Self {
            runs,
            at_rate: chance(rate),
            at_low: chance(low),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many pairs it takes if the baseline always shows the bug and the candidate never does.
    fn check(confidence: f64, pairs: u32) {
        let mut claim = Claim::new();
        while !claim.holds(confidence) {
            claim.add(true, false);
        }
        assert_eq!(claim.pairs(), pairs, "{confidence}");
        assert!(claim.luck() <= 1.0 - confidence);
        assert_eq!(Claim::new().needed(1.0, confidence, 100), Some(pairs));
    }

    #[test]
    fn few_pairs_are_enough_where_the_baseline_always_shows_the_bug() {
        check(0.9, 2);
        check(0.95, 3);
        check(0.99, 4);
        check(0.999, 6);
        check(0.9999, 8);
    }

    #[test]
    fn the_weights_add_up_to_one() {
        let sum: f64 = PRIOR.iter().map(|(_, weight)| weight).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert!((Claim::new().e_value() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_candidate_that_shows_the_bug_is_never_called_silent_again() {
        let mut claim = Claim::new();
        claim.add(true, true);
        for _ in 0..1000 {
            claim.add(true, false);
        }
        assert!(!claim.holds(0.5));
        assert_eq!(claim.needed(1.0, 0.5, 1000), None);
    }

    #[test]
    fn a_baseline_that_never_shows_the_bug_proves_nothing() {
        let mut claim = Claim::new();
        for _ in 0..100_000 {
            claim.add(false, false);
        }
        assert!(claim.luck() >= 1.0);
        assert_eq!(claim.needed(0.0, 0.9, 1000), None);
    }

    /// The chance that the claim is ever made within `most` pairs, where both sides show the bug at this rate; exact: the
    /// claim is made at pair k only if the candidate was silent k times, and what it rests on is how often the
    /// baseline showed the bug.
    fn error(rate: f64, confidence: f64, most: usize) -> f64 {
        // Chance of having come so far without a claim, by how often the baseline has shown the bug.
        let mut alive = vec![(Claim::new(), 1.0)];
        let mut error = 0.0;
        for _ in 0..most {
            let mut next: Vec<(Claim, f64)> = Vec::with_capacity(alive.len() + 1);
            for (shown, (claim, chance)) in alive.iter().enumerate() {
                for shows in [false, true] {
                    let p = if shows { rate } else { 1.0 - rate };
                    let chance = chance * (1.0 - rate) * p;
                    let mut claim = *claim;
                    claim.add(shows, false);
                    if claim.holds(confidence) {
                        error += chance;
                    } else if let Some(same) = next.get_mut(shown + usize::from(shows)) {
                        same.1 += chance;
                    } else {
                        // None is left out: whoever shows it less often is worth less.
                        assert_eq!(next.len(), shown + usize::from(shows));
                        next.push((claim, chance));
                    }
                }
            }
            alive = next;
        }
        error
    }

    #[test]
    fn the_error_found_by_enumeration_is_below_the_stated_one() {
        for confidence in [0.9, 0.95, 0.99, 0.999] {
            let mut worst: f64 = 0.0;
            for step in 0..=400 {
                let rate = f64::from(step) / 400.0;
                worst = worst.max(error(rate, confidence, 200));
            }
            println!("confidence {confidence}: wrong claims at most {worst:.6} of all campaigns");
            assert!(worst <= 1.0 - confidence, "{confidence}: {worst}");
            // And the bound is not idle: a test that claims nothing would pass too.
            assert!(worst > (1.0 - confidence) / 20.0, "{confidence}: {worst}");
        }
    }

    proptest! {
        /// The inequality that all of it rests on.
        #[test]
        fn a_pair_is_worth_at_most_one_where_the_candidate_is_no_better(
            q in 0.0_f64..=1.0, b in 0.0_f64..=1.0, more in 0.0_f64..=1.0,
        ) {
            let c = b + more * (1.0 - b);
            let worth = (1.0 - c) * (b * factor(q, true) + (1.0 - b) * factor(q, false));
            prop_assert!(worth <= 1.0 + 1e-12, "{worth}");
        }

        #[test]
        fn what_it_would_take_is_what_it_takes(shown in 0_u32..6, silent in 0_u32..6) {
            let mut claim = Claim::new();
            for _ in 0..silent { claim.add(false, false); }
            for _ in 0..shown { claim.add(true, false); }
            let needed = claim.needed(1.0, 0.99, 1000).unwrap();
            for _ in 0..needed { claim.add(true, false); }
            prop_assert!(claim.holds(0.99));
        }
    }
}
