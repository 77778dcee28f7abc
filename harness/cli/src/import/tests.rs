//! The way from text to signature, on the evidence of the goldens.
use super::{Imported, evidence, imported};
use proptest::prelude::*;
use recrash_signature::store;
use std::path::{Path, PathBuf};

const CASE: &str = "usb-string-descriptor-freelist";
/// The dump whose session has the disassembly; it lends to the excerpts.
const WHOLE: &str = "2022-06-05-usbdev-ioctl";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../golden")
        .join(CASE)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap()
}

fn import(text: &str, like: Option<&str>) -> Imported {
    let like = like.map(evidence::read);
    imported(evidence::read(text), like.as_ref())
}

/// The facts of a signature, by `group.key`; absent ones are `None`. Derived titles and what is written for people are
/// left out.
fn facts(imported: &Imported) -> Vec<(String, Option<String>)> {
    let table = toml::Table::try_from(&imported.signature).unwrap();
    let groups = table
        .iter()
        .filter_map(|(group, facts)| Some((group, facts.as_table()?)));
    let all = groups.flat_map(|(group, facts)| {
        facts
            .iter()
            .map(move |(key, fact)| (format!("{group}.{key}"), fact))
    });
    all.filter(|(name, _)| name != "corruption.proof")
        .map(|(name, fact)| (name, fact.get("value").map(ToString::to_string)))
        .collect()
}

#[test]
fn every_golden_follows_from_its_evidence() {
    let goldens = store::list(&folder().join("..")).unwrap();
    assert_eq!(goldens.len(), 4);
    for path in goldens {
        let golden = store::read(&path).unwrap();
        let like = (golden.name != WHOLE).then(|| text(WHOLE));
        let found = import(&text(&golden.name), like.as_deref());
        assert_eq!(
            found.signature.to_toml().unwrap(),
            golden.signature.to_toml().unwrap(),
            "{}",
            golden.name
        );
    }
}

#[test]
fn without_the_other_text_nothing_is_lent() {
    let found = import(&text("2022-05-29-kmalloc"), None);
    assert_eq!(found.signature.fault.function.value(), None);
    assert_eq!(found.account.lent, Vec::<String>::new());
}

#[test]
fn a_frame_in_the_middle_of_the_registers_is_dropped_and_told() {
    let found = import(&text("2022-05-29-kmalloc"), Some(&text(WHOLE)));
    let dropped: Vec<_> = found
        .account
        .dropped
        .iter()
        .map(|d| d.function.as_str())
        .collect();
    assert_eq!(dropped, ["xfs_difree_inobt"]);
}

/// Each fact stays, or is absent.
fn only_lost(whole: &Imported, left: &Imported, what: &str) {
    for ((name, before), (_, after)) in facts(whole).into_iter().zip(facts(left)) {
        assert!(
            after.is_none() || before == after,
            "{what}: {name} was {before:?}, is {after:?}"
        );
    }
}

#[test]
fn a_line_that_is_dropped_makes_no_fact_another() {
    let text = text(WHOLE);
    let whole = import(&text, None);
    let count = text.lines().count();
    for drop in 0..count {
        let left: Vec<&str> = text
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != drop)
            .map(|(_, l)| l)
            .collect();
        let dropped = text.lines().nth(drop).unwrap();
        only_lost(
            &whole,
            &import(&left.join("\n"), None),
            &format!("without line {}: {dropped}", drop + 1),
        );
    }
}

#[test]
fn what_mailers_and_terminals_do_to_lines_changes_no_fact() {
    let text = text(WHOLE);
    let whole = facts(&import(&text, None));
    let each =
        |change: &dyn Fn(&str) -> String| text.lines().map(change).collect::<Vec<_>>().join("\n");
    for (what, changed) in [
        ("quoted", each(&|line| format!("> {line}"))),
        ("CRLF", each(&|line| format!("{line}\r"))),
        ("stamped", each(&|line| format!("[   17.123456] {line}"))),
        (
            "in Markdown",
            format!("# Title\n\nProse.\n\n```\n{text}\n```\n\nProse.\n"),
        ),
    ] {
        assert_eq!(facts(&import(&changed, None)), whole, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sections_in_another_order_make_no_fact_another(seed in any::<prop::sample::Index>(), turn in 0usize..8) {
        let text = text(WHOLE);
        let whole = import(&text, None);
        let mut sections: Vec<&str> = text.split("\n\n").collect();
        let count = sections.len();
        sections.rotate_left(turn % count);
        let (a, b) = (seed.index(count), turn % count);
        sections.swap(a, b);
        only_lost(&whole, &import(&sections.join("\n\n"), None), "another order");
    }

    #[test]
    fn a_text_that_is_cut_anywhere_makes_no_fact_another(at in any::<prop::sample::Index>()) {
        let text = text(WHOLE);
        let whole = import(&text, None);
        only_lost(&whole, &import(&text[..at.index(text.len())], None), "cut");
    }
}
