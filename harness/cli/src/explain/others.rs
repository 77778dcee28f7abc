//! What other crashes say of one: the comparison with each, and what ties them together.
use recrash_signature::Signature;
use recrash_signature::compare::{self, Comparison, Verdict};

use super::compose::Others;
use super::findings::Finding;
use super::story::{Other, Told, told};
use super::ties::Essence;

/// Differences told of one crash.
const MAX_DIFFERENCES: usize = 6;
/// Crashes told; all are counted.
const MAX_TOLD: usize = 64;

/// The crash that is explained, as far as it can be compared.
#[derive(Debug)]
pub(crate) struct Own {
    /// Its signature; a text has none here.
    pub(crate) signature: Option<Signature>,
    /// What ties it to others.
    pub(crate) essence: Essence,
}

/// Another crash.
#[derive(Debug)]
pub(crate) enum Another {
    /// Of which there is a signature.
    Signature(Box<Signature>),
    /// Of which there is a text.
    Text(Essence),
}

impl Others {
    /// Compares with the crash of this name. One that is not the same bug is counted only, unless it was `named`.
    pub(crate) fn compare(&mut self, name: &str, other: &Another, own: &Own, named: bool) {
        self.looked_at = self.looked_at.saturating_add(1);
        let essence = match other {
            Another::Signature(signature) => Essence::of_signature(signature),
            Another::Text(essence) => essence.clone(),
        };
        let (mut verdict, mut tied) = own.essence.compare(name, &essence);
        if let (Some(own), Another::Signature(other)) = (&own.signature, other) {
            let comparison = compare::compare(other, own);
            verdict = comparison.verdict;
            tied.verdict = verdict.to_string();
            tied.ties.extend(reasons(&comparison));
        }
        let same = matches!(verdict, Verdict::SameCrash | Verdict::SameBug);
        if same && own.essence.elsewhere(&essence) {
            self.places = self.places.max(1).saturating_add(1);
        }
        if same || named {
            self.tell(tied);
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
    ties
}
