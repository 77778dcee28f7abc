//! What a workflow on GitHub is told of a document: annotations of the goldens that were not met, and the summary. Silent
//! everywhere else.
use std::fmt::Write as _;

use super::document::{Case, Document, Outcome};
use super::markdown;
use crate::{github, output};

/// Annotations of one step that GitHub shows; of more it drops the rest without a word.
const MAX_ANNOTATIONS: usize = 10;

/// Tells the job of a document, if this is one.
pub(crate) fn tell(document: &Document) {
    if !github::is_here() {
        return;
    }
    // The runner reads commands on both streams; stdout may have JSON on it.
    output::note(&annotations(document));
    github::summarise(&markdown::document(document));
}

/// A command a line for each case that came out otherwise and has a golden's file to point at.
pub(crate) fn annotations(document: &Document) -> String {
    let mut out = String::new();
    let wrong = |case: &&Case| matches!(case.outcome, Outcome::Failed | Outcome::Error);
    for case in document.cases.iter().filter(wrong).take(MAX_ANNOTATIONS) {
        let file = case.golden.as_ref().and_then(|golden| golden.file.as_ref());
        let Some(file) = file else { continue };
        let level = match case.outcome {
            Outcome::Failed => "error",
            _ => "warning",
        };
        let mut message = case.sentence();
        for difference in &case.unexplained {
            let _ = write!(
                message,
                "\n{}: golden {}, found {}",
                difference.field, difference.golden, difference.found
            );
        }
        out.push_str(&github::annotation(
            level,
            file,
            &case.full_name(),
            &message,
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::document::{Difference, GoldenRef, Kind};

    #[test]
    fn a_failed_case_points_at_its_golden_and_no_text_ends_the_command() {
        let mut document = Document::new(Kind::Run, "run", "different", Exit::Differs);
        let mut case = Case::new("a, b: 100%", Outcome::Failed, "x\n::error::y");
        case.verdict = Some("different".into());
        case.expected = Some("same-crash".into());
        case.golden = Some(GoldenRef {
            name: "c/n".into(),
            file: Some("golden/c/n.snap".into()),
        });
        case.unexplained.push(Difference {
            field: "slab.cache".into(),
            part: "detail".into(),
            golden: "a".into(),
            found: "b\r".into(),
            rule: None,
            reason: String::new(),
        });
        document.cases.push(case);
        document
            .cases
            .push(Case::new("fine", Outcome::Passed, String::new()));
        assert_eq!(
            annotations(&document),
            "::error file=golden/c/n.snap,title=a%2C b%3A 100%25::different instead of same-crash: x%0A::error::y%0A\
             slab.cache: golden a, found b%0D\n"
        );
    }

    #[test]
    fn what_has_no_golden_s_file_is_no_annotation() {
        let mut document = Document::new(Kind::Run, "run", "different", Exit::Differs);
        document.cases.push(Case::new("a", Outcome::Failed, "x"));
        assert_eq!(annotations(&document), "");
    }
}
