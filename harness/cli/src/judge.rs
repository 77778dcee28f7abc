//! What a comparison comes to for the caller: verdict, expectation, exit code, and how the three are
//! printed. Compares nothing itself and reads no dump.
use recrash_machine::run::FailureKind;
use recrash_machine::usbhost::Physical;
use recrash_signature::compare::{Comparison, Exactness, Verdict};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

use crate::captures::Captures;
use crate::exit::Exit;
use crate::expect::{self, Expect};
use crate::output::{self, BAD, GOOD};
use crate::report::verdict;
use crate::timings::Timings;

/// A comparison with what was expected of it.
#[derive(Debug)]
pub(crate) struct Judged {
    /// The comparison.
    pub(crate) comparison: Comparison,
    /// Name of the golden.
    pub(crate) golden: String,
    /// What the caller expected.
    pub(crate) expect: Expect,
}

/// Where the parts of a run lie; a comparison of a file has none.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Places {
    /// The run's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<PathBuf>,
    /// The vmcore, whole or cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vmcore: Option<PathBuf>,
    /// The signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<PathBuf>,
    /// The report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<PathBuf>,
    /// The same as a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<PathBuf>,
}

/// How a run went, beside its verdict; a comparison of a file has none of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Course {
    /// In which stage an inconclusive run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// What kind of failure that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureKind>,
    /// The last lines of the console of an inconclusive run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) console_tail: Vec<String>,
    /// The physical device of this host that the guest had, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) physical_device: Option<Physical>,
    /// How the memory was saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capture: Option<Captures>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timings: Option<Timings>,
}

/// The last object that `--json` prints.
#[derive(Serialize)]
#[serde(tag = "type", rename = "result", rename_all = "kebab-case")]
struct Line<'a> {
    exit: u8,
    expected: &'static str,
    golden: &'a str,
    /// The same crash with the golden's value: what `--exact` demands.
    exact: bool,
    #[serde(flatten)]
    comparison: &'a Comparison,
    #[serde(flatten)]
    places: &'a Places,
    #[serde(flatten)]
    course: &'a Course,
}

impl Judged {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        expect::decide(self.expect, &self.comparison)
    }

    /// The last object that `--json` prints.
    pub(crate) fn print_json(&self, places: &Places, course: &Course) -> anyhow::Result<()> {
        output::print_json(&self.line(places, course))
    }

    /// The same object as a value.
    pub(crate) fn json(&self, places: &Places, course: &Course) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self.line(places, course))?)
    }

    fn line<'a>(&'a self, places: &'a Places, course: &'a Course) -> Line<'a> {
        Line {
            exit: self.exit() as u8,
            expected: self.expect.name(),
            golden: &self.golden,
            exact: self.comparison.exactness() == Exactness::Exact,
            comparison: &self.comparison,
            places,
            course,
        }
    }

    /// Verdict and differences, as text with styles.
    pub(crate) fn text(&self) -> String {
        verdict::comparison(&self.comparison, &self.golden)
    }

    /// One line for people: whether the expectation was met, and what would accept this outcome.
    pub(crate) fn conclusion(&self) -> String {
        let verdict = self.comparison.verdict;
        let expected = self.expect.name();
        if self.exit() == Exit::Met {
            let exactly = match self.expect {
                Expect::Exact => ", with the golden's value",
                _ => "",
            };
            return format!("{GOOD}as expected{GOOD:#}: {verdict}{exactly}\n");
        }
        let value = match (self.expect, self.comparison.exactness()) {
            (Expect::Exact, Exactness::OtherValue(value)) => {
                format!(" with the value {} for {}", value.found, value.golden)
            }
            (Expect::Exact, Exactness::UnknownValue(gap)) => {
                format!(" with an unknown value ({})", gap.reason)
            }
            _ => String::new(),
        };
        let accept = match verdict {
            Verdict::Inconclusive => "an inconclusive outcome meets no expectation".to_owned(),
            other => format!("--expect {other} accepts this"),
        };
        format!("{BAD}not as expected{BAD:#}: {verdict}{value}, expected {expected} ({accept})\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_signature::compare::{Difference, Part};

    fn judged(comparison: Comparison, expect: Expect) -> Judged {
        Judged {
            comparison,
            golden: "case/name".into(),
            expect,
        }
    }

    fn check(judged: &Judged, exit: Exit, conclusion: &str) {
        assert_eq!(judged.exit(), exit);
        let text = anstream::adapter::strip_str(&judged.conclusion()).to_string();
        assert_eq!(text, format!("{conclusion}\n"));
    }

    #[test]
    fn an_exact_expectation_names_both_values_where_they_differ() {
        let mut comparison = Comparison::inconclusive("");
        comparison.verdict = Verdict::SameCrash;
        check(
            &judged(comparison.clone(), Expect::Exact),
            Exit::Met,
            "as expected: same-crash, with the golden's value",
        );
        comparison.explained.push(Difference {
            field: "corruption.observed".into(),
            part: Part::Detail,
            golden: "38 03".into(),
            found: "74 00".into(),
            rule: Some("freelist-mid-object"),
            reason: String::new(),
        });
        check(
            &judged(comparison, Expect::Exact),
            Exit::Differs,
            "not as expected: same-crash with the value 74 00 for 38 03, expected exact \
             (--expect same-crash accepts this)",
        );
    }

    #[test]
    fn an_unmet_expectation_names_the_option_that_accepts_it() {
        check(
            &judged(Comparison::no_crash(""), Expect::SameCrash),
            Exit::CrashOrNot,
            "not as expected: no-crash, expected same-crash (--expect no-crash accepts this)",
        );
        check(
            &judged(Comparison::no_crash(""), Expect::NoCrash),
            Exit::Met,
            "as expected: no-crash",
        );
        check(
            &judged(Comparison::inconclusive(""), Expect::NoCrash),
            Exit::Inconclusive,
            "not as expected: inconclusive, expected no-crash (an inconclusive outcome meets no expectation)",
        );
    }
}
