//! What a change of a golden means: which facts are other ones, and whether a crash as the old golden tells it is still the
//! same crash under the new one. Pure; which parts count, [`crate::compare`] decides.

use crate::Signature;
use crate::compare::{Comparison, Part, Verdict, compare};
use crate::model::TextError;
use serde::Serialize;
use toml::Value;

/// A golden's change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What a crash that is all that the old golden tells comes to under the new one.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
    /// The facts that changed, those that count most first.
    pub facts: Vec<FactChange>,
}

/// One fact that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FactChange {
    /// `group.key`, as in the TOML.
    pub field: String,
    /// What it means to the verdict; nothing for proofs, titles, sources and reasons, which are not compared.
    pub part: Option<Part>,
    /// What became of it.
    pub kind: Kind,
    /// What it was: its value, or why it was not known.
    pub was: String,
    /// What it is.
    pub is: String,
    /// The rule that explains a difference like this one, so that it is no difference in a comparison.
    pub rule: Option<&'static str>,
}

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It has another value.
    Changed,
    /// It was not known and is: it is compared from now on.
    NowKnown,
    /// It was known and is not: it is not compared any more.
    NoLongerKnown,
    /// The same value, read elsewhere; or another reason why it is not known.
    Told,
}

impl Change {
    /// What counts most of what changed; nothing, where no fact that is compared did.
    #[must_use]
    pub fn heaviest(&self) -> Option<Part> {
        self.facts.iter().filter_map(|fact| fact.part).min()
    }

    /// Whether it alters what counts as the same crash: anything but circumstances and prose.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.heaviest().is_some_and(|part| part != Part::Context)
    }
}

/// What changes from `old` to `new`.
///
/// # Errors
/// Only if a signature holds what TOML cannot, which the model's types exclude.
pub fn change(old: &Signature, new: &Signature) -> Result<Change, TextError> {
    let under_new = compare(new, old);
    let under_old = compare(old, new);
    let (before, after) = (facts(old)?, facts(new)?);
    let mut changed: Vec<FactChange> = Vec::new();
    let nothing = Value::Boolean(false);
    for (field, was) in &before {
        let is = after.iter().find(|(name, _)| name == field);
        let is = is.map_or(&nothing, |(_, value)| value);
        changed.extend(fact(field, was, is, [&under_new, &under_old]));
    }
    for (field, is) in &after {
        if !before.iter().any(|(name, _)| name == field) {
            changed.extend(fact(field, &nothing, is, [&under_new, &under_old]));
        }
    }
    changed.sort_by_key(|fact| (fact.part.is_none(), fact.part, fact.rule.is_some()));
    Ok(Change {
        verdict: under_new.verdict,
        why: under_new.why,
        facts: changed,
    })
}

/// All facts by `group.key`, and the lines above the groups.
fn facts(signature: &Signature) -> Result<Vec<(String, Value)>, TextError> {
    let table = toml::Table::try_from(signature)?;
    let mut out = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(group) => {
                out.extend(
                    group
                        .into_iter()
                        .map(|(name, fact)| (format!("{key}.{name}"), fact)),
                );
            }
            other => out.push((key, other)),
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

fn fact(field: &str, was: &Value, is: &Value, comparisons: [&Comparison; 2]) -> Option<FactChange> {
    if was == is {
        return None;
    }
    let kind = match (known(was), known(is)) {
        (Some(a), Some(b)) if a == b => Kind::Told,
        (Some(_), Some(_)) => Kind::Changed,
        (None, Some(_)) => Kind::NowKnown,
        (Some(_), None) => Kind::NoLongerKnown,
        (None, None) => Kind::Told,
    };
    let (part, rule) = match kind {
        Kind::Told => (None, None),
        _ => weight(field, comparisons),
    };
    Some(FactChange {
        field: field.to_owned(),
        part,
        kind,
        was: told(was, kind),
        is: told(is, kind),
        rule,
    })
}

/// What the fact means to a verdict, as the comparisons of the two found it; and the rule, where one explains all of it.
fn weight(field: &str, comparisons: [&Comparison; 2]) -> (Option<Part>, Option<&'static str>) {
    let is_of = |name: &str| {
        name.strip_prefix(field)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut parts = Vec::new();
    let mut rules = Vec::new();
    for comparison in comparisons {
        let Comparison {
            verdict: _,
            why: _,
            explained,
            unexplained,
            uncovered,
            unknown,
            context,
        } = comparison;
        for one in explained.iter().chain(unexplained).chain(context) {
            if is_of(&one.field) {
                parts.push(one.part);
                rules.push(one.rule);
            }
        }
        for gap in uncovered.iter().chain(unknown) {
            if is_of(&gap.field) {
                parts.push(gap.part);
                rules.push(None);
            }
        }
    }
    let rule = rules.first().copied().flatten();
    let all = rules.iter().all(Option::is_some);
    (parts.into_iter().min(), rule.filter(|_| all))
}

/// The value of a fact that is known; what stands above the groups is no fact and always known.
fn known(fact: &Value) -> Option<&Value> {
    match fact {
        Value::Boolean(false) => None,
        Value::Table(table) if table.contains_key("absent") => None,
        Value::Table(table) => Some(table.get("value").unwrap_or(fact)),
        other => Some(other),
    }
}

/// For people: the value; why it is absent; and where only the source changed, the source.
fn told(fact: &Value, kind: Kind) -> String {
    let Value::Table(table) = fact else {
        return match fact {
            Value::Boolean(false) => "not there".into(),
            other => plain(other),
        };
    };
    match (table.get("absent"), table.get("value"), table.get("source")) {
        (Some(reason), _, _) => format!("not known: {}", plain(reason)),
        (_, Some(value), Some(source)) if kind == Kind::Told => {
            format!("{} (source: {})", plain(value), plain(source))
        }
        (_, Some(value), _) => plain(value),
        _ => fact.to_string(),
    }
}

/// A value without quotes around it; lists and tables in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" ← "),
        Value::Table(table) => {
            let mut pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key} {value}"))
                .collect();
            pairs.sort();
            pairs.join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str =
        include_str!("../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap");

    fn body() -> &'static str {
        GOLDEN.split("---\n").nth(2).unwrap()
    }

    /// What replacing a line's part does.
    fn of(from: &str, to: &str) -> Change {
        assert!(body().contains(from), "{from}");
        let old = Signature::from_toml(body()).unwrap();
        let new = Signature::from_toml(&body().replace(from, to)).unwrap();
        change(&old, &new).unwrap()
    }

    fn check(from: &str, to: &str, verdict: Verdict, heaviest: Option<Part>, first: &str) {
        let change = of(from, to);
        let fact = &change.facts[0];
        assert_eq!(format!("{}: {} → {}", fact.field, fact.was, fact.is), first);
        assert_eq!(
            (change.verdict, change.heaviest()),
            (verdict, heaviest),
            "{change:#?}"
        );
    }

    #[test]
    fn another_descriptor_is_another_bug() {
        check(
            r#"descriptor = "string""#,
            r#"descriptor = "device""#,
            Verdict::Different,
            Some(Part::Identity),
            "corruption.decoded: descriptor \"string\", kind \"usb-descriptor\", length 56, offset 0, text \"Vir\" \
             → descriptor \"device\", kind \"usb-descriptor\", length 56, offset 0, text \"Vir\"",
        );
    }

    #[test]
    fn another_caller_is_another_place() {
        check(
            r#"    "usb_hcd_submit_urb","#,
            r#"    "usb_hcd_unlink_urb","#,
            Verdict::SameBug,
            Some(Part::Place),
            "frames.chain: __kmalloc ← usb_hcd_submit_urb ← proc_do_submiturb ← usbdev_do_ioctl ← usbdev_ioctl \
             → __kmalloc ← usb_hcd_unlink_urb ← proc_do_submiturb ← usbdev_do_ioctl ← usbdev_ioctl",
        );
    }

    #[test]
    fn a_fact_that_is_given_up_is_told_with_the_reason() {
        let change = of(
            r#"cache = { value = "kmalloc-256", source = "derived" }"#,
            r#"cache = { absent = "nobody looked" }"#,
        );
        let fact = &change.facts[0];
        assert_eq!(
            (fact.kind, fact.part),
            (Kind::NoLongerKnown, Some(Part::Identity))
        );
        assert_eq!(fact.is, "not known: nobody looked");
        assert_eq!(change.verdict, Verdict::Inconclusive);
        assert!(change.counts());
    }

    #[test]
    fn circumstances_and_prose_count_for_nothing() {
        check(
            r#"comm = { value = "esdm-agent""#,
            r#"comm = { value = "other""#,
            Verdict::SameCrash,
            Some(Part::Context),
            "context.comm: esdm-agent → other",
        );
        assert!(!of("structural", "proven").counts());
        let proof = of("not compared with the strings", "compared with no strings");
        assert_eq!((proof.heaviest(), proof.counts()), (None, false));
        let source = of(
            r##"trap = { value = "#SS", source = "transcript""##,
            r##"trap = { value = "#SS", source = "console""##,
        );
        assert_eq!(source.facts[0].kind, Kind::Told);
        assert!(!source.counts());
    }

    #[test]
    fn a_golden_that_did_not_change_has_no_changes() {
        let old = Signature::from_toml(body()).unwrap();
        let none = change(&old, &old).unwrap();
        assert_eq!((none.facts, none.verdict), (Vec::new(), Verdict::SameCrash));
    }
}
