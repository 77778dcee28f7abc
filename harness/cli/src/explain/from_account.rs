//! The facts of a text, as its account has them.
use recrash_transcript::{Account, Evidence};

use super::facts::{Facts, KernelReport, proof};
use super::findings::Proof;
use super::story::{Subject, SubjectKind};

/// The facts of a text. `evidence` is what the account was made from.
pub(crate) fn facts(name: &str, evidence: &Evidence, account: Account) -> Facts {
    let session = evidence
        .backtraces
        .iter()
        .any(|trace| !trace.frames.is_empty())
        || !evidence.structs.is_empty()
        || evidence.system.panic.is_some();
    let kind = if session {
        SubjectKind::Transcript
    } else {
        SubjectKind::Console
    };
    let value = account.freelist.as_ref().ok().map(|list| list.value.value);
    let plain = account
        .cache
        .as_ref()
        .is_ok_and(|cache| cache.value.hardened == Some(false));
    Facts {
        subject: Subject {
            name: name.into(),
            kind,
        },
        // A text shows no object whole.
        field: None,
        bytes: value.filter(|_| plain).map(u64::to_le_bytes),
        reports: reports(evidence),
        panic: None,
        calm: None,
        carrier: None,
        still_there: None,
        entry: entry(evidence, &account),
        notes: Vec::new(),
        account,
    }
}

fn reports(evidence: &Evidence) -> Vec<KernelReport> {
    let all = evidence.oopses.iter();
    all.map(|(report, _)| KernelReport {
        title: report.title.clone(),
        alternatives: report.alternatives.clone(),
        corrupted: report.corrupted.clone(),
        line: report.lines.start.saturating_add(1),
    })
    .collect()
}

/// The instructions of the entry code that push the registers and take the error code away.
fn entry(evidence: &Evidence, account: &Account) -> Vec<Proof> {
    let Ok(exception) = &account.exception else {
        return Vec::new();
    };
    let all = evidence.instructions.iter();
    all.filter_map(|instruction| {
        let (function, offset) = instruction.place.as_ref()?;
        let text = &instruction.text;
        let telling = text.contains("error_entry")
            || text.contains("$0xffffffffffffffff,") && text.contains("(%rsp)")
            || text.contains("(%rsp),%rsi");
        (*function == exception.value.by && telling).then(|| {
            proof(&recrash_transcript::account::Basis::Instruction {
                place: format!("{function}+{offset}"),
                text: text.clone(),
                line: instruction.line,
            })
        })
    })
    .collect()
}
