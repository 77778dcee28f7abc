//! GitHub's own channels: the job's summary (`$GITHUB_STEP_SUMMARY`) and annotations (workflow commands). Silent
//! everywhere else.
use std::fmt::Write as _;
use std::io::Write as _;

use super::document::{Case, Document, Outcome};
use super::markdown;
use crate::output;

/// Annotations of one step that GitHub shows; of more it drops the rest without a word.
const MAX_ANNOTATIONS: usize = 10;

/// Tells the job of a document, if this is one.
pub(crate) fn tell(document: &Document) {
    if std::env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return;
    }
    // The runner reads commands on both streams; stdout may have JSON on it.
    output::note(&annotations(document));
    let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY") else {
        return;
    };
    let text = markdown::document(document) + "\n";
    let appended = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = appended {
        let file = file.to_string_lossy();
        output::note(&format!("warning: GITHUB_STEP_SUMMARY {file}: {error}\n"));
    }
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
        let _ = writeln!(
            out,
            "::{level} file={},title={}::{}",
            property(file),
            property(&case.full_name()),
            data(&message)
        );
    }
    out
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
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
