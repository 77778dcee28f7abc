//! What a count says about a rate: the exact binomial interval. Knows nothing of runs.
use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF};

/// How sure the intervals are.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// A rate that was counted, with the interval that holds the true one at [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Rate {
    /// How often it happened.
    pub(crate) count: u32,
    /// Of how many.
    pub(crate) of: u32,
    /// The one divided by the other.
    pub(crate) rate: f64,
    /// Lower end of the interval.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
    /// [`CONFIDENCE`].
    pub(crate) confidence: f64,
}

impl Rate {
    /// `count` of `of`; `None` where nothing was counted.
    pub(crate) fn of(count: u32, of: u32) -> Option<Self> {
        let (low, high) = clopper_pearson(count, of, CONFIDENCE)?;
        Some(Self {
            count,
            of,
            rate: f64::from(count) / f64::from(of),
            low,
            high,
            confidence: CONFIDENCE,
        })
    }
}

/// The interval of Clopper and Pearson (Biometrika 26, 1934): the rates at which `count` of `of`, or what lies further
/// out, is not rarer than half of what `confidence` leaves, on either side. `None` where there is no such count.
pub(crate) fn clopper_pearson(count: u32, of: u32, confidence: f64) -> Option<(f64, f64)> {
    if of == 0 || count > of {
        return None;
    }
    let half = (1.0 - confidence) / 2.0;
    let (hits, misses) = (f64::from(count), f64::from(of - count));
    // The tails of the binomial distribution are distribution functions of beta distributions.
    let low = match count {
        0 => 0.0,
        _ => Beta::new(hits, misses + 1.0).ok()?.inverse_cdf(half),
    };
    let high = match of - count {
        0 => 1.0,
        _ => Beta::new(hits + 1.0, misses).ok()?.inverse_cdf(1.0 - half),
    };
    Some((low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(count: u32, of: u32, low: f64, high: f64) {
        let rate = Rate::of(count, of).unwrap();
        assert!(
            (rate.low - low).abs() < 5e-5 && (rate.high - high).abs() < 5e-5,
            "{rate:?}"
        );
    }

    #[test]
    fn no_miss_and_no_hit_have_a_closed_form() {
        for of in [1_u32, 2, 3, 10, 20, 34, 100, 1000, 10_000] {
            let edge = 0.025_f64.powf(1.0 / f64::from(of));
            check(of, of, edge, 1.0);
            check(0, of, 0.0, 1.0 - edge);
        }
        check(20, 20, 0.8316, 1.0);
    }

    /// The chance of `least` or more of `of` at this rate, term by term.
    fn tail(least: u32, of: u32, rate: f64) -> f64 {
        let mut ln_choose = 0.0;
        let mut sum = 0.0;
        for k in 0..=of {
            if k > 0 {
                ln_choose += f64::from(of - k + 1).ln() - f64::from(k).ln();
            }
            if k >= least {
                let term = f64::from(k) * rate.ln() + f64::from(of - k) * (1.0 - rate).ln();
                sum += (ln_choose + term).exp();
            }
        }
        sum
    }

    #[test]
    fn nothing_counted_is_no_rate() {
        assert_eq!(Rate::of(0, 0), None);
        assert_eq!(Rate::of(2, 1), None);
    }

    proptest! {
        /// The definition itself, by a sum that uses no beta distribution.
        #[test]
        fn each_end_leaves_half_of_the_rest_outside(of in 2_u32..400, share in 0.0_f64..1.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to of - 1")]
            let count = 1 + (f64::from(of - 2) * share) as u32;
            let (low, high) = clopper_pearson(count, of, 0.95).unwrap();
            let above = tail(count, of, low);
            let below = 1.0 - tail(count + 1, of, high);
            prop_assert!((above - 0.025).abs() < 1e-6, "{count} of {of}: low {low}, tail {above}");
            prop_assert!((below - 0.025).abs() < 1e-6, "{count} of {of}: high {high}, tail {below}");
        }
    }
}
