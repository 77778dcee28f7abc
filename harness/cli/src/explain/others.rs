//! What other crashes say of one: the comparison of its signature with each, and what ties them together.
use recrash_signature::Signature;
use recrash_signature::compare::{Comparison, Verdict};

use super::compose::Others;
use super::findings::Finding;
use super::story::{Other, told};

/// Differences told of one crash.
const MAX_DIFFERENCES: usize = 6;

impl Others {
    /// Adds the comparison with the crash of this name. Those that are different are counted only, unless `named`.
    pub(crate) fn add(&mut self, name: &str, comparison: &Comparison, named: bool) {
        self.looked_at = self.looked_at.saturating_add(1);
        let same = matches!(comparison.verdict, Verdict::SameCrash | Verdict::SameBug);
        if !same && !named {
            return;
        }
        if comparison.verdict == Verdict::SameBug {
            self.places = self.places.max(1).saturating_add(1);
        }
        let why = comparison.why.trim_end_matches('.').to_owned();
        let mut ties = vec![told(Finding::TieReason { why }, Vec::new())];
        let explained = comparison.explained.iter().take(MAX_DIFFERENCES);
        ties.extend(explained.filter_map(|difference| {
            let finding = Finding::ExplainedDifference {
                field: difference.field.clone(),
                rule: difference.rule?.to_owned(),
            };
            Some(told(finding, Vec::new()))
        }));
        let unexplained = comparison.unexplained.iter().take(MAX_DIFFERENCES);
        ties.extend(unexplained.map(|difference| {
            let finding = Finding::UnexplainedDifference {
                field: difference.field.clone(),
                golden: difference.golden.clone(),
                found: difference.found.clone(),
            };
            told(finding, Vec::new())
        }));
        self.told.push(Other {
            name: name.into(),
            verdict: comparison.verdict.to_string(),
            ties,
        });
    }

    /// Compares with a golden or another crash.
    pub(crate) fn compare(&mut self, name: &str, other: &Signature, own: &Signature, named: bool) {
        self.add(
            name,
            &recrash_signature::compare::compare(other, own),
            named,
        );
    }
}
