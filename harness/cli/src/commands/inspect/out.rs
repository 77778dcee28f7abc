//! Where a command's answer goes: printed as it comes, as text or as JSON, or kept as both for a caller within the
//! program. Makes no answer.
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

use super::reply::{self, Reply, clean};
use crate::output;

/// Hits of a search that are kept; a program that asks for more narrows its question.
const KEPT_HITS: u64 = 10_000;

/// An answer that was not printed.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What stdout would have got without `--json`, with line ends.
    pub(crate) text: String,
    /// What stderr would have got: what is missing, and where something was found instead of its usual place.
    pub(crate) notes: String,
    /// What stdout would have got with `--json`: an object, or more of a search.
    pub(crate) objects: Vec<Value>,
    /// Nobody waits for it any more.
    pub(crate) stop: Stop,
}

/// Set by whoever asked, to end what takes long.
pub(crate) type Stop = Arc<AtomicBool>;

/// The place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Out<'k> {
    /// Text on stdout, what is missing on stderr.
    Text,
    /// JSON on stdout.
    Json,
    /// Both are kept.
    Kept(&'k RefCell<Kept>),
}

impl Out<'_> {
    /// A whole answer.
    pub(super) fn reply<R: Reply>(
        self,
        reply: &R,
        missing: &[String],
        notes: &[String],
    ) -> anyhow::Result<()> {
        self.part(|| reply.text(), &reply::envelope(reply, missing, notes))?;
        for line in notes {
            self.note(&format!("note: {}\n", clean(line)));
        }
        for line in missing {
            self.note(&format!("missing: {}\n", clean(line)));
        }
        Ok(())
    }

    /// One of several objects, and its text.
    pub(super) fn part(
        self,
        text: impl FnOnce() -> String,
        object: &impl Serialize,
    ) -> anyhow::Result<()> {
        match self {
            Self::Text => output::print(&text())?,
            Self::Json => output::print_json(object)?,
            Self::Kept(kept) => {
                let mut kept = kept.borrow_mut();
                kept.text.push_str(&text());
                kept.objects.push(serde_json::to_value(object)?);
            }
        }
        Ok(())
    }

    /// A remark for people; JSON has it in the object.
    pub(super) fn note(self, line: &str) {
        match self {
            Self::Text => output::note(line),
            Self::Json => {}
            Self::Kept(kept) => kept.borrow_mut().notes.push_str(line),
        }
    }

    /// Whether whoever asked has gone.
    pub(super) fn is_stopped(self) -> bool {
        match self {
            Self::Text | Self::Json => false,
            Self::Kept(kept) => kept.borrow().stop.load(Ordering::Relaxed),
        }
    }

    /// So many hits at most, where this many are asked for.
    pub(super) fn at_most(self, asked: u64) -> u64 {
        match self {
            Self::Text | Self::Json => asked,
            Self::Kept(_) => asked.min(KEPT_HITS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_both_and_hits_have_a_bound() {
        let kept = RefCell::default();
        let out = Out::Kept(&kept);
        out.part(|| "a\n".into(), &1).unwrap();
        out.part(|| "b\n".into(), &2).unwrap();
        out.note("missing: c\n");
        assert_eq!(out.at_most(u64::MAX), KEPT_HITS);
        assert_eq!(Out::Json.at_most(u64::MAX), u64::MAX);
        assert!(!out.is_stopped());
        kept.borrow().stop.store(true, Ordering::Relaxed);
        assert!(out.is_stopped());
        let kept = kept.into_inner();
        assert_eq!(
            (kept.text.as_str(), kept.notes.as_str(), kept.objects),
            ("a\nb\n", "missing: c\n", vec![1.into(), 2.into()])
        );
    }
}
