//! How many silent runs of a kernel are silence, beside a kernel that shows the bug in so many of its runs. Both numbers
//! of runs are settled before they are looked at. Pure arithmetic.
use statrs::distribution::{Beta, ContinuousCDF};

/// How often the interval around the best rate is cut by a third: it then has one part in 10^10 of its length, and the
/// peak is flat.
const CUTS: u32 = 60;

/// The chance, at most, that a kernel shows the bug in `shown` or more of `of` runs and another one in none of `silent`,
/// if both show it equally often: the largest over all rates. (For a rate p it is P(X ≥ shown) (1 - p)^silent. The logarithm
/// of either factor is a concave function of p, so the product has one peak.)
pub(crate) fn luck(shown: u32, of: u32, silent: u32) -> f64 {
    if shown == 0 || shown > of {
        return 1.0;
    }
    // The tail of the binomial distribution is a distribution function of a beta distribution.
    let Ok(tail) = Beta::new(f64::from(shown), f64::from(of - shown) + 1.0) else {
        return 1.0;
    };
    let chance = |rate: f64| tail.cdf(rate) * (1.0 - rate).powf(f64::from(silent));
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..CUTS {
        let third = (high - low) / 3.0;
        if chance(low + third) < chance(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    chance(f64::midpoint(low, high)).min(1.0)
}

/// The fewest silent runs for which that chance is at most `alpha`; `None` if `most` are too few.
pub(crate) fn needed(shown: u32, of: u32, alpha: f64, most: u32) -> Option<u32> {
    if luck(shown, of, most) > alpha {
        return None;
    }
    // More silence is never more likely: below `few` it is too little, from `enough` on it is not.
    let (mut few, mut enough) = (0, most);
    while enough - few > 1 {
        let middle = few + (enough - few) / 2;
        if luck(shown, of, middle) <= alpha {
            enough = middle;
        } else {
            few = middle;
        }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(shown: u32, of: u32, silent: u32, expected: f64) {
        let found = luck(shown, of, silent);
        assert!(
            (found - expected).abs() < 1e-9,
            "{shown} of {of}, {silent}: {found}"
        );
    }

    #[test]
    fn where_every_run_shows_the_bug_the_chance_has_a_closed_form() {
        // p^n (1 - p)^m is largest at n / (n + m).
        check(4, 4, 4, 1.0 / 256.0);
        check(5, 5, 5, 1.0 / 1024.0);
        check(3, 3, 1, 27.0 / 256.0);
        check(0, 4, 9, 1.0);
        check(2, 4, 0, 1.0);
    }

    #[test]
    fn a_bug_that_shows_less_often_needs_more_silence() {
        assert_eq!(needed(8, 8, 0.01, 8), Some(2));
        assert_eq!(needed(8, 8, 0.001, 8), Some(4));
        assert_eq!(needed(4, 8, 0.01, 8), None);
        assert!(needed(4, 8, 0.01, 40) > Some(8));
        assert_eq!(needed(0, 8, 0.01, 1000), None);
    }

    #[test]
    fn one_run_less_would_be_too_little() {
        for (shown, of) in [(1, 1), (8, 8), (5, 8), (2, 40), (39, 40)] {
            let enough = needed(shown, of, 0.002, 10_000).unwrap();
            assert!(luck(shown, of, enough) <= 0.002, "{shown} of {of}");
            assert!(luck(shown, of, enough - 1) > 0.002, "{shown} of {of}");
            assert_eq!(needed(shown, of, 0.002, enough), Some(enough));
            assert_eq!(needed(shown, of, 0.002, enough - 1), None);
        }
    }

    proptest! {
        /// Against the definition, rate by rate, by a sum that uses no beta distribution.
        #[test]
        fn no_rate_gives_more(of in 1_u32..12, shown in 1_u32..12, silent in 0_u32..12) {
            prop_assume!(shown <= of);
            let most = luck(shown, of, silent);
            for step in 0..=200 {
                let p = f64::from(step) / 200.0;
                let mut tail = 0.0;
                let mut choose = 1.0;
                for k in 0..=of {
                    if k > 0 { choose *= f64::from(of - k + 1) / f64::from(k); }
                    if k >= shown { tail += choose * p.powf(f64::from(k)) * (1.0 - p).powf(f64::from(of - k)); }
                }
                let chance = tail * (1.0 - p).powf(f64::from(silent));
                prop_assert!(chance <= most + 1e-9, "{} > {} at {}", chance, most, p);
            }
        }
    }
}
