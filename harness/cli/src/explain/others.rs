//! What other crashes say of one: the comparison with each, and what ties them together.
use recrash_signature::Signature;
use recrash_signature::compare::{self, Comparison, Verdict};

use std::collections::BTreeMap;

use super::compose::Others;
use super::findings::Finding;
use super::story::{Other, Told, told};
use super::ties;

/// Differences told of one crash.
const MAX_DIFFERENCES: usize = 6;
/// Crashes told; all are counted.
const MAX_TOLD: usize = 64;

impl Others {
    /// Compares with the crash of this name. One that is not the same bug is counted only, unless it was `named`.
    pub(crate) fn compare(&mut self, name: &str, other: &Signature, own: &Signature, named: bool) {
        self.looked_at = self.looked_at.saturating_add(1);
        let comparison = compare::compare(other, own);
        let same = matches!(comparison.verdict, Verdict::SameCrash | Verdict::SameBug);
        let mut ties = ties::of(own, other);
        if same && let Some(place) = ties::elsewhere(own, other) {
            self.places.insert(place);
        }
        if same || named {
            ties.extend(reasons(&comparison));
            self.tell(Other {
                name: name.into(),
                verdict: comparison.verdict.to_string(),
                ties,
            });
        }
    }

    fn tell(&mut self, other: Other) {
        if self.told.len() < MAX_TOLD {
            self.told.push(other);
        }
    }
}

/// Why a comparison came to its verdict.
fn reasons(comparison: &Comparison) -> Vec<Told> {
    let why = comparison.why.trim_end_matches('.').to_owned();
    let mut ties = vec![told(Finding::TieReason { why }, Vec::new())];
    ties.extend(explained(comparison));
    let unexplained = comparison.unexplained.iter().take(MAX_DIFFERENCES);
    ties.extend(unexplained.map(|difference| {
        let finding = Finding::UnexplainedDifference {
            field: difference.field.clone(),
            golden: difference.golden.clone(),
            found: difference.found.clone(),
        };
        told(finding, Vec::new())
    }));
    ties
}

/// The differences that rules explain, one statement a rule.
fn explained(comparison: &Comparison) -> Vec<Told> {
    let mut by_rule: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for difference in &comparison.explained {
        if let Some(rule) = difference.rule {
            by_rule.entry(rule).or_default().push(&difference.field);
        }
    }
    let findings = by_rule.into_iter().map(|(rule, fields)| {
        let finding = Finding::ExplainedDifference {
            field: fields.join(", "),
            rule: rule.to_owned(),
        };
        told(finding, Vec::new())
    });
    findings.collect()
}
