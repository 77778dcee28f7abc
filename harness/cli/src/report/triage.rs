//! The groups of a triage, as text for the terminal, as Markdown, and as a document. Sees finished data only.
use recrash_signature::triage::{Apart, Bug, Place, Sureness};
use std::fmt::Write;

use super::Fact;
use super::document::{Case, Document, Kind, Outcome, Section};
use super::markdown::plain;
use super::text::heading;
use crate::commands::triage::Outcomes;
use crate::exit::Exit;
use crate::output::{DIM, GOOD, WARN, printable};

/// Most ties of one bug that are shown; `--json` has all.
const MAX_TIES: usize = 4;

/// Most files of one kind beside the bugs that the terminal shows: a folder of dumps has many that are none.
const MAX_LISTED: usize = 20;

/// For the terminal.
pub(crate) fn text(outcomes: &Outcomes) -> String {
    let mut out = String::new();
    let triage = &outcomes.triage;
    for (number, bug) in (1..).zip(&triage.bugs) {
        text_of_bug(&mut out, number, bug);
    }
    for (name, list) in lists(outcomes) {
        if list.is_empty() {
            continue;
        }
        heading(&mut out, name);
        for Apart { name, why } in list.iter().take(MAX_LISTED) {
            let _ = writeln!(out, "  {}  {DIM}{}{DIM:#}", printable(name), printable(why));
        }
        if list.len() > MAX_LISTED {
            let more = list.len() - MAX_LISTED;
            let _ = writeln!(out, "  {DIM}… {more} more, which --json lists{DIM:#}");
        }
    }
    if !outcomes.left_out.is_empty() {
        heading(&mut out, "Not looked at");
        for line in &outcomes.left_out {
            let _ = writeln!(out, "  {}", printable(line));
        }
    }
    let _ = writeln!(out, "\n{}", summary(outcomes));
    out
}

fn text_of_bug(out: &mut String, number: usize, bug: &Bug) {
    heading(out, &format!("Bug {number}: {}", printable(&bug.name)));
    let style = match bug.sure {
        Some(Sureness::Certain) | None => GOOD,
        _ => WARN,
    };
    let _ = writeln!(out, "  {style}{}{style:#}", sure(bug));
    for title in bug.titles.iter().filter(|title| **title != bug.name) {
        let _ = writeln!(out, "  {DIM}title: {}{DIM:#}", printable(title));
    }
    for tie in bug.ties.iter().take(MAX_TIES) {
        let _ = writeln!(out, "  {DIM}tied by: {}{DIM:#}", printable(tie));
    }
    if bug.ties.len() > MAX_TIES {
        let _ = writeln!(out, "  {DIM}… {} more{DIM:#}", bug.ties.len() - MAX_TIES);
    }
    for (
        number,
        Place {
            by: _,
            what,
            members,
        },
    ) in (1..).zip(&bug.places)
    {
        let _ = writeln!(out, "  place {number}: {}", printable(what));
        for member in members {
            let _ = writeln!(out, "    {}", printable(member));
        }
    }
    for other in &bug.may_be {
        let (other, why) = (printable(&other.other), printable(&other.why));
        let _ = writeln!(out, "  {WARN}may be the bug of {other}{WARN:#}: {why}");
    }
}

/// How sure a group is, in words.
fn sure(bug: &Bug) -> String {
    match bug.sure {
        Some(sure) => format!("{sure}: {}", count(bug.members(), "crash", "crashes")),
        None => "1 crash".to_owned(),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What stands beside the bugs.
fn lists(outcomes: &Outcomes) -> [(&'static str, &[Apart]); 4] {
    [
        ("Read beside another text", &outcomes.lent),
        ("Apart: nothing identifies them", &outcomes.triage.apart),
        ("No crash", &outcomes.no_crash),
        ("Not read", &outcomes.not_read),
    ]
}

fn summary(outcomes: &Outcomes) -> String {
    let triage = &outcomes.triage;
    let places: usize = triage.bugs.iter().map(|bug| bug.places.len()).sum();
    let members: usize = triage.bugs.iter().map(Bug::members).sum();
    let mut out = format!(
        "{} in {}, {}",
        count(members, "crash", "crashes"),
        count(triage.bugs.len(), "bug", "bugs"),
        count(places, "place", "places"),
    );
    for (what, list) in [
        ("stand apart", &triage.apart),
        ("without a crash", &outcomes.no_crash),
        ("not read", &outcomes.not_read),
    ] {
        if !list.is_empty() {
            let _ = write!(out, "; {} {what}", list.len());
        }
    }
    out
}

/// For an issue or a mail.
pub(crate) fn markdown(outcomes: &Outcomes) -> String {
    let mut out = format!("# Triage\n\n{}.\n", summary(outcomes));
    for (number, bug) in (1..).zip(&outcomes.triage.bugs) {
        let _ = writeln!(out, "\n## Bug {number}: {}\n", plain(&bug.name));
        let _ = writeln!(out, "{}\n", plain(&sure(bug)));
        for tie in bug.ties.iter().take(MAX_TIES) {
            let _ = writeln!(out, "- tied by: {}", plain(tie));
        }
        for other in &bug.may_be {
            let (other, why) = (plain(&other.other), plain(&other.why));
            let _ = writeln!(out, "- may be the bug of {other}: {why}");
        }
        let _ = writeln!(out, "\n| place | crashes |\n|---|---|");
        for place in &bug.places {
            let members: Vec<String> = place.members.iter().map(|name| plain(name)).collect();
            let _ = writeln!(out, "| {} | {} |", plain(&place.what), members.join("<br>"));
        }
    }
    for (name, list) in lists(outcomes) {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n## {name}\n");
        for Apart { name, why } in list {
            let _ = writeln!(out, "- {}: {}", plain(name), plain(why));
        }
    }
    for line in &outcomes.left_out {
        let _ = writeln!(out, "\nNot looked at: {}", plain(line));
    }
    out
}

/// All of it as a document: a bug a section, a crash a case that is grouped by its bug.
pub(crate) fn document(outcomes: &Outcomes, exit: Exit) -> Document {
    let triage = &outcomes.triage;
    let summary = summary(outcomes);
    let mut document = Document::new(Kind::Triage, "triage", summary, exit);
    for (number, bug) in (1..).zip(&triage.bugs) {
        document.sections.push(section_of(number, bug));
        for place in &bug.places {
            document
                .cases
                .extend(place.members.iter().map(|member| Case {
                    group: Some(bug.name.clone()),
                    bug: Some(bug.name.clone()),
                    title: bug.titles.first().cloned(),
                    ..Case::new(member.as_str(), Outcome::Unjudged, place.what.as_str())
                }));
        }
    }
    for (name, list) in lists(outcomes) {
        if list.is_empty() {
            continue;
        }
        let rows = list
            .iter()
            .map(|one| vec![one.name.clone(), one.why.clone()]);
        let section = Section::new(name).table("", ["file", "why"], rows.collect());
        document.sections.push(section);
    }
    let case = |one: &Apart, outcome| Case::new(one.name.as_str(), outcome, one.why.as_str());
    let failed = outcomes.not_read.iter();
    document
        .cases
        .extend(failed.map(|one| case(one, Outcome::Error)));
    for (list, group) in [
        (&triage.apart, "nothing identifies them"),
        (&outcomes.no_crash, "no crash"),
    ] {
        document.cases.extend(list.iter().map(|one| Case {
            group: Some(group.into()),
            ..case(one, Outcome::Unjudged)
        }));
    }
    let left_out = outcomes.left_out.iter();
    document
        .missing
        .extend(left_out.map(|line| format!("not looked at: {line}")));
    document
}

fn section_of(number: usize, bug: &Bug) -> Section {
    let mut facts = vec![Fact::new("sure", sure(bug))];
    facts.extend(
        bug.titles
            .iter()
            .filter(|title| **title != bug.name)
            .map(|title| Fact::new("title", title.as_str())),
    );
    facts.extend(
        bug.ties
            .iter()
            .map(|tie| Fact::new("tied by", tie.as_str())),
    );
    facts.extend(bug.may_be.iter().map(|other| {
        Fact::new("may be the bug of", other.other.as_str()).proven_by(other.why.as_str())
    }));
    let rows = bug.places.iter().flat_map(|place| {
        let members = place.members.iter();
        members.map(|member| vec![place.what.clone(), member.clone()])
    });
    Section::new(format!("Bug {number}: {}", bug.name))
        .facts(facts)
        .table("where it struck", ["place", "crash"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_signature::triage::triage;

    fn nothing() -> Outcomes {
        Outcomes {
            triage: triage(&[]),
            lent: Vec::new(),
            no_crash: Vec::new(),
            not_read: vec![Apart {
                name: "a|b".into(),
                why: "cut\noff".into(),
            }],
            left_out: vec!["deep".into()],
        }
    }

    #[test]
    fn what_could_not_be_read_is_told_in_both_forms() {
        let text = anstream::adapter::strip_str(&text(&nothing())).to_string();
        assert!(text.contains("Not read\n  a|b  cut\u{fffd}off\n"), "{text}");
        assert!(
            text.ends_with("0 crashes in 0 bugs, 0 places; 1 not read\n"),
            "{text}"
        );
        let markdown = markdown(&nothing());
        assert!(markdown.contains("\n- a\\|b: cut off\n"), "{markdown}");
        assert!(markdown.contains("Not looked at: deep"), "{markdown}");
    }
}
