//! A document as SARIF 2.1.0, for code scanning: a result for each finding of a case that came out otherwise, at the
//! golden's file, since that is what a person changes or defends. Sees finished data only.
use serde_sarif::sarif::{
    ArtifactLocation, Location, Message, MultiformatMessageString, PhysicalLocation, PropertyBag,
    Region, ReportingDescriptor, Result as Finding, ResultLevel, Run, Sarif, Tool, ToolComponent,
    Version,
};
use std::collections::BTreeMap;

use super::document::{Case, Document, Outcome};
use crate::output::printable;

/// Where the schema of the form is published.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Results of a run that GitHub takes.
const MAX_RESULTS: usize = 5000;

/// A kind of finding.
struct Rule {
    /// Begin of its ids.
    id: &'static str,
    text: &'static str,
}

const UNEXPLAINED: Rule = Rule {
    id: "unexplained-difference",
    text: "A fact of the crash is not the golden's, and no rule explains that.",
};
const UNKNOWN: Rule = Rule {
    id: "unknown-fact",
    text: "A fact that the golden has could not be found in the crash.",
};
const VERDICT: Rule = Rule {
    id: "unexpected-verdict",
    text: "The outcome is not the expected one.",
};
const INCONCLUSIVE: Rule = Rule {
    id: "inconclusive",
    text: "Set-up, boot, capture or dump failed: nothing can be said of the kernel.",
};

/// The document.
///
/// # Errors
/// Never in practice: it is text and numbers.
pub(crate) fn document(document: &Document) -> anyhow::Result<String> {
    let mut found: Vec<(String, &Rule, Finding)> = Vec::new();
    for case in &document.cases {
        findings(case, &mut found);
    }
    found.truncate(MAX_RESULTS);
    let rules: BTreeMap<&str, &Rule> = found.iter().map(|(id, rule, _)| (&**id, *rule)).collect();
    let rules = rules.into_iter().map(|(id, rule)| descriptor(id, rule));
    let driver = ToolComponent::builder()
        .name("recrash")
        .version(document.version.clone())
        .rules(rules.collect::<Vec<_>>())
        .build();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver).build())
        .results(found.into_iter().map(|(_, _, one)| one).collect::<Vec<_>>())
        .build();
    let sarif = Sarif::builder()
        .schema(SCHEMA)
        .version(serde_json::to_value(Version::V2_1_0)?)
        .runs(vec![run])
        .build();
    Ok(serde_json::to_string_pretty(&sarif)? + "\n")
}

fn descriptor(id: &str, rule: &Rule) -> ReportingDescriptor {
    let text = MultiformatMessageString::builder().text(rule.text).build();
    ReportingDescriptor::builder()
        .id(id)
        .short_description(text)
        .build()
}

/// What a case has to tell; nothing where it came out as expected or was not run.
fn findings(case: &Case, out: &mut Vec<(String, &Rule, Finding)>) {
    let level = match case.outcome {
        Outcome::Passed | Outcome::Skipped | Outcome::Unjudged => return,
        Outcome::Failed => ResultLevel::Error,
        Outcome::Error => ResultLevel::Warning,
    };
    if case.outcome == Outcome::Error {
        let id = INCONCLUSIVE.id.to_owned();
        let finding = finding(case, &id, level, case.sentence());
        return out.push((id, &INCONCLUSIVE, finding));
    }
    let before = out.len();
    for one in &case.unexplained {
        let id = format!("{}/{}", UNEXPLAINED.id, one.field);
        let text = format!(
            "{}: {} differs: golden {}, found {}. {}",
            case.sentence(),
            one.field,
            one.golden,
            one.found,
            one.reason
        );
        let finding = finding(case, &id, level, text);
        out.push((id, &UNEXPLAINED, finding));
    }
    // Circumstances never count.
    for gap in case.unknown.iter().filter(|gap| gap.part != "context") {
        let id = format!("{}/{}", UNKNOWN.id, gap.field);
        let text = format!(
            "{}: {} is not known here: {}",
            case.sentence(),
            gap.field,
            gap.reason
        );
        let finding = finding(case, &id, level, text);
        out.push((id, &UNKNOWN, finding));
    }
    if out.len() == before {
        let verdict = case.verdict.as_deref().unwrap_or("none");
        let id = format!("{}/{verdict}", VERDICT.id);
        let finding = finding(case, &id, level, case.sentence());
        out.push((id, &VERDICT, finding));
    }
}

fn finding(case: &Case, id: &str, level: ResultLevel, text: String) -> Finding {
    let message = Message::builder().text(printable(&text)).build();
    let mut prints = BTreeMap::new();
    // The same finding of the same bug in the same case is the same alert, however often it is found.
    let bug = case.bug.as_deref().or(case.title.as_deref());
    let print = format!("{}|{id}|{}", case.full_name(), bug.unwrap_or_default());
    prints.insert("recrashFinding/v1".to_owned(), printable(&print));
    let finding = Finding::builder()
        .rule_id(printable(id))
        .level(level)
        .message(message)
        .partial_fingerprints(prints);
    let mut finding = match location(case) {
        Some(location) => finding.locations(vec![location]).build(),
        None => finding.build(),
    };
    let mut more = BTreeMap::new();
    for (name, value) in [
        ("case", Some(case.full_name())),
        ("verdict", case.verdict.clone()),
        ("expected", case.expected.clone()),
        ("title", case.title.clone()),
        ("bug", case.bug.clone()),
    ] {
        more.extend(value.map(|value| (name.to_owned(), printable(&value).into())));
    }
    finding.properties = Some(PropertyBag::builder().additional_properties(more).build());
    finding
}

/// The golden's first line: facts have no fixed place in a file.
fn location(case: &Case) -> Option<Location> {
    let file = case.golden.as_ref()?.file.as_ref()?;
    let place = PhysicalLocation::builder()
        .artifact_location(
            ArtifactLocation::builder()
                .uri(super::emit::percent(file))
                .build(),
        )
        .region(Region::builder().start_line(1).build())
        .build();
    Some(Location::builder().physical_location(place).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::report::document::{Difference, GoldenRef, Kind};
    use serde_json::Value;

    fn check(case: Case, expected: &[&str]) -> Value {
        let mut all = Document::new(Kind::Run, "r", "h", Exit::Differs);
        all.cases.push(case);
        let sarif: Value = serde_json::from_str(&document(&all).unwrap()).unwrap();
        let run = sarif["runs"][0].clone();
        let results = run["results"].as_array().unwrap();
        let ids: Vec<&str> = results
            .iter()
            .map(|one| one["ruleId"].as_str().unwrap())
            .collect();
        assert_eq!(ids, expected);
        run
    }

    fn difference(field: &str) -> Difference {
        Difference {
            field: field.into(),
            part: "detail".into(),
            golden: "a".into(),
            found: "b".into(),
            rule: None,
            reason: "c".into(),
        }
    }

    #[test]
    fn each_unexplained_difference_is_a_result_at_the_golden_s_file() {
        let mut case = Case::new("a", Outcome::Failed, "why");
        case.golden = Some(GoldenRef {
            name: "c/n".into(),
            file: Some("golden/c/n m.snap".into()),
        });
        case.unexplained = vec![difference("slab.cache"), difference("fault.trap")];
        let run = check(
            case,
            &[
                "unexplained-difference/slab.cache",
                "unexplained-difference/fault.trap",
            ],
        );
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "golden/c/n%20m.snap");
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn an_outcome_without_differences_is_a_result_of_its_own_and_a_passed_one_none() {
        let mut survived = Case::new("a", Outcome::Failed, "why");
        survived.verdict = Some("no-crash".into());
        check(survived, &["unexpected-verdict/no-crash"]);
        check(Case::new("a", Outcome::Error, "no boot"), &["inconclusive"]);
        let mut passed = Case::new("a", Outcome::Passed, "");
        passed.unexplained.push(difference("f"));
        check(passed, &[]);
    }
}
