//! What the rules make of all goldens: the verdict of every pair, the rules that carried it, and the bugs they come to.
//! Two such tables, of two versions of the rules, show what a change of rules moves. Pure.

use crate::Signature;
use crate::compare::{self, RULES};
use crate::triage::{Member, triage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Version of the written form.
pub const VERSION: u32 = 1;

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Matrix {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Schema of the signatures compared.
    pub schema: u32,
    /// Names of the rules, in the order in which they are tried.
    pub rules: Vec<String>,
    /// Every golden against every one, itself included.
    pub pairs: Vec<Pair>,
    /// The bugs that triage makes of them.
    pub groups: Vec<Group>,
}

/// One golden against another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pair {
    /// The one taken as golden.
    pub golden: String,
    /// The one held against it.
    pub found: String,
    /// The verdict, by name.
    pub verdict: String,
    /// Why, in one line.
    pub why: String,
    /// Names of the rules that explained a difference, sorted.
    pub rules: Vec<String>,
}

/// One bug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// Names of its goldens, sorted.
    pub members: Vec<String>,
    /// How sure, by name; `single` of one alone, `apart` of one that cannot be placed.
    pub sure: String,
    /// Number of places.
    pub places: usize,
}

/// The table of these signatures.
pub fn of(members: &[Member]) -> Matrix {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let pairs = sorted
        .iter()
        .flat_map(|golden| sorted.iter().map(move |found| pair(golden, found)))
        .collect();
    Matrix {
        version: VERSION,
        schema: crate::model::SCHEMA,
        rules: RULES.iter().map(|rule| rule.name.to_owned()).collect(),
        pairs,
        groups: groups(members),
    }
}

fn pair(golden: &Member, found: &Member) -> Pair {
    let comparison = compare::compare(&golden.signature, &found.signature);
    let rules: BTreeSet<&str> = comparison.explained.iter().filter_map(|d| d.rule).collect();
    Pair {
        golden: golden.name.clone(),
        found: found.name.clone(),
        verdict: comparison.verdict.to_string(),
        why: comparison.why,
        rules: rules.into_iter().map(str::to_owned).collect(),
    }
}

fn groups(members: &[Member]) -> Vec<Group> {
    let out = triage(members);
    let bugs = out.bugs.iter().map(|bug| {
        let names = bug.places.iter().flat_map(|place| place.members.clone());
        let mut members: Vec<String> = names.collect();
        members.sort();
        Group {
            members,
            sure: bug
                .sure
                .map_or_else(|| "single".into(), |sure| sure.to_string()),
            places: bug.places.len(),
        }
    });
    let apart = out.apart.iter().map(|apart| Group {
        members: vec![apart.name.clone()],
        sure: "apart".into(),
        places: 0,
    });
    let mut all: Vec<Group> = bugs.chain(apart).collect();
    all.sort();
    all
}

/// Whether a golden is not the same crash as itself, although its identity is known: a rule is wrong then.
pub fn unlike_itself(name: &str, signature: &Signature) -> Option<String> {
    let comparison = compare::compare(signature, signature);
    let differs = !comparison.unexplained.is_empty() || !comparison.explained.is_empty();
    differs.then(|| format!("{name} differs from itself: {}", comparison.why))
}

/// What is another in a newer table, one line each; empty where nothing moved. Goldens that only one of the two has are
/// told, and their pairs left out.
pub fn moved(old: &Matrix, new: &Matrix) -> Vec<String> {
    let mut out = Vec::new();
    let lists = |what: &str, gone: Vec<&String>, sign: &str, out: &mut Vec<String>| {
        out.extend(gone.iter().map(|name| format!("{what} {sign}: {name}")));
    };
    let (a, b): (BTreeSet<_>, BTreeSet<_>) =
        (old.rules.iter().collect(), new.rules.iter().collect());
    lists(
        "rule",
        a.difference(&b).copied().collect(),
        "gone",
        &mut out,
    );
    lists("rule", b.difference(&a).copied().collect(), "new", &mut out);
    if a == b && old.rules != new.rules {
        out.push("the rules are tried in another order".into());
    }
    let (a, b) = (names(old), names(new));
    lists("golden", a.difference(&b).collect(), "gone", &mut out);
    lists("golden", b.difference(&a).collect(), "new", &mut out);
    let both: BTreeSet<&String> = a.intersection(&b).collect();
    moved_pairs(old, new, &mut out);
    moved_groups(old, new, &both, &mut out);
    out
}

fn names(matrix: &Matrix) -> BTreeSet<String> {
    matrix
        .pairs
        .iter()
        .map(|pair| pair.golden.clone())
        .collect()
}

fn moved_pairs(old: &Matrix, new: &Matrix, out: &mut Vec<String>) {
    let key = |pair: &Pair| (pair.golden.clone(), pair.found.clone());
    let before: BTreeMap<_, &Pair> = old.pairs.iter().map(|pair| (key(pair), pair)).collect();
    for now in &new.pairs {
        let Some(was) = before.get(&key(now)) else {
            continue;
        };
        let pair = format!("{} | {}", now.golden, now.found);
        if was.verdict != now.verdict {
            out.push(format!(
                "{pair}: {} → {} ({})",
                was.verdict, now.verdict, now.why
            ));
        } else if was.rules != now.rules {
            let list = |rules: &[String]| match rules {
                [] => "no rule".to_owned(),
                rules => rules.join(", "),
            };
            let (a, b) = (list(&was.rules), list(&now.rules));
            out.push(format!(
                "{pair}: still {}, by {b} instead of {a}",
                now.verdict
            ));
        }
    }
}

/// Groups that split or joined, among the goldens that both tables have.
fn moved_groups(old: &Matrix, new: &Matrix, both: &BTreeSet<&String>, out: &mut Vec<String>) {
    let of = |matrix: &Matrix| -> Vec<(Vec<String>, String)> {
        let groups = matrix.groups.iter().map(|group| {
            let members = group.members.iter().filter(|name| both.contains(name));
            (members.cloned().collect(), group.sure.clone())
        });
        groups
            .filter(|(members, _): &(Vec<String>, _)| !members.is_empty())
            .collect()
    };
    let (before, after) = (of(old), of(new));
    let touching = |group: &[String], others: &[(Vec<String>, String)]| {
        let touch =
            |other: &&(Vec<String>, String)| other.0.iter().any(|name| group.contains(name));
        others.iter().filter(touch).count()
    };
    for (group, _) in before
        .iter()
        .filter(|(group, _)| touching(group, &after) > 1)
    {
        out.push(format!("split: {}", group.join(", ")));
    }
    for (group, _) in after
        .iter()
        .filter(|(group, _)| touching(group, &before) > 1)
    {
        out.push(format!("joined: {}", group.join(", ")));
    }
    for (group, sure) in &after {
        let was = before.iter().find(|(other, _)| other == group);
        if let Some((_, was)) = was.filter(|(_, was)| was != sure) {
            out.push(format!("{was} → {sure}: {}", group.join(", ")));
        }
    }
}

impl Matrix {
    /// The table as text: for a snapshot, and for people.
    pub fn text(&self) -> String {
        let mut out = format!("rules: {}\n", self.rules.join(", "));
        for group in &self.groups {
            let places = match group.places {
                0 => String::new(),
                1 => ", one place".into(),
                count => format!(", {count} places"),
            };
            let _ = writeln!(out, "\nbug ({}{places})", group.sure);
            for member in &group.members {
                let _ = writeln!(out, "  {member}");
            }
        }
        for pair in &self.pairs {
            let _ = writeln!(out, "\n{} | {}", pair.golden, pair.found);
            let _ = writeln!(out, "  {}: {}", pair.verdict, pair.why);
            if !pair.rules.is_empty() {
                let _ = writeln!(out, "  rules: {}", pair.rules.join(", "));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: &[&str], pairs: &[(&str, &str, &str)], groups: &[&[&str]]) -> Matrix {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Matrix {
            version: VERSION,
            schema: crate::model::SCHEMA,
            rules: owned(rules),
            pairs: pairs
                .iter()
                .map(|(golden, found, verdict)| Pair {
                    golden: (*golden).into(),
                    found: (*found).into(),
                    verdict: (*verdict).into(),
                    why: "because".into(),
                    rules: owned(rules),
                })
                .collect(),
            groups: groups
                .iter()
                .map(|members| Group {
                    members: owned(members),
                    sure: if members.len() > 1 {
                        "certain"
                    } else {
                        "single"
                    }
                    .into(),
                    places: 1,
                })
                .collect(),
        }
    }

    fn check(old: &Matrix, new: &Matrix, expected: &[&str]) {
        assert_eq!(moved(old, new), expected);
    }

    #[test]
    fn a_table_is_as_itself() {
        let one = table(&["r"], &[("a", "b", "same-bug")], &[&["a", "b"]]);
        check(&one, &one, &[]);
    }

    #[test]
    fn what_moved_is_told_by_pair_group_and_rule() {
        let pairs = |verdict| {
            [
                ("a", "a", "same-crash"),
                ("a", "b", verdict),
                ("b", "b", "same-crash"),
            ]
        };
        let joined = table(&["r"], &pairs("same-bug"), &[&["a", "b"]]);
        let split = table(&["r"], &pairs("different"), &[&["a"], &["b"]]);
        check(
            &joined,
            &split,
            &["a | b: same-bug → different (because)", "split: a, b"],
        );
        check(
            &split,
            &joined,
            &["a | b: different → same-bug (because)", "joined: a, b"],
        );
        let renamed = table(&["s"], &[("a", "a", "same-crash")], &[&["a"]]);
        let before = table(&["r"], &[("a", "a", "same-crash")], &[&["a"]]);
        let by = "a | a: still same-crash, by s instead of r";
        check(&before, &renamed, &["rule gone: r", "rule new: s", by]);
    }

    #[test]
    fn a_golden_that_only_one_table_has_moves_no_pair() {
        let one = table(&["r"], &[("a", "a", "same-crash")], &[&["a"]]);
        let two = table(
            &["r"],
            &[("a", "a", "same-crash"), ("b", "a", "same-bug")],
            &[&["a", "b"]],
        );
        let mut expected = vec!["golden new: b"];
        expected.push("single → certain: a");
        check(&one, &two, &expected);
    }
}
