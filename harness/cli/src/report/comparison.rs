//! The document of a comparison: a case, both signatures side by side, and, of a run that is kept, its account. Compares
//! nothing.
use recrash_signature::Signature;
use std::path::Path;

use super::document::{Case, CrashPart, Document, GoldenRef, Kind, Outcome, load};
use super::sides;
use crate::judge::Judged;
use crate::subject::Subject;

/// What was compared, and what came of it.
#[derive(Debug)]
pub(crate) struct Compared<'a> {
    /// What was named.
    pub(crate) path: &'a Path,
    /// What it is.
    pub(crate) subject: &'a Subject,
    /// The comparison.
    pub(crate) judged: &'a Judged,
    /// What it was compared with.
    pub(crate) golden: &'a Signature,
    /// What that is called.
    pub(crate) named: GoldenRef,
}

/// The document.
pub(crate) fn document(compared: &Compared<'_>) -> Document {
    let Compared {
        path,
        subject,
        judged,
        golden,
        named,
    } = compared;
    let exit = judged.exit();
    let name = path.display().to_string();
    let comparison = &judged.comparison;
    let mut case = Case::compared(name.as_str(), exit, comparison, named.clone());
    case.expected = Some(judged.expect.name().into());
    let verdict = comparison.verdict.to_string();
    let signature = match subject {
        Subject::Crash(signature) => Some(signature),
        Subject::NoCrash(_) | Subject::Inconclusive { .. } => None,
    };
    case.title = signature.map(|signature| signature.title.clone());
    case.bug = signature.and_then(|signature| signature.bug.clone());
    let what = case.title.as_ref().unwrap_or(&case.why);
    let headline = match case.outcome {
        Outcome::Failed => format!("{verdict} instead of {}: {what}", judged.expect.name()),
        _ => format!("{verdict}: {what}"),
    };
    let mut document = Document::new(Kind::Compare, name, headline, exit);
    document.verdict = Some(verdict);
    document.expected.clone_from(&case.expected);
    document.cases.push(case);
    if let Some(signature) = signature {
        let mut crash = kept(path, &mut document).unwrap_or_default();
        crash.title.clone_from(&signature.title);
        crash.bug.clone_from(&signature.bug);
        crash.sides = sides::rows_of(Some((golden, comparison)), signature);
        document.crash = Some(Box::new(crash));
    }
    document
}

/// The account of a run that is kept with its report.
fn kept(path: &Path, document: &mut Document) -> Option<CrashPart> {
    let mut missing = |why: &str| document.missing.push(why.into());
    let file = path.join(super::emit::JSON);
    if !path.is_dir() || !file.is_file() {
        missing(
            "backtrace, registers, memory: a comparison needs the signature only; recrash analyze --report tells the rest \
             of a vmcore, recrash explain of a text",
        );
        return None;
    }
    match load::file(&file) {
        Ok(kept) => {
            document.environment = kept.environment;
            document.when = kept.when;
            kept.crash.map(|crash| *crash)
        }
        Err(failure) => {
            missing(&failure.chain());
            None
        }
    }
}
