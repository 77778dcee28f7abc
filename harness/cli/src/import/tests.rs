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

/// The goldens that were read from a text; others were read from the vmcore of a run.
fn from_text() -> Vec<PathBuf> {
    let mut goldens = store::list(&folder().join("..")).unwrap();
    goldens.retain(|path| path.with_extension("txt").is_file());
    goldens
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
    let goldens = from_text();
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

/// Facts that are neither as they were nor absent, each with what was done to the text.
fn changed(whole: &Imported, left: &Imported, what: &str) -> Vec<String> {
    let pairs = facts(whole).into_iter().zip(facts(left));
    let moved = pairs.filter(|((_, before), (_, after))| after.is_some() && before != after);
    moved
        .map(|((name, before), (_, after))| format!("{what}: {name} was {before:?}, is {after:?}"))
        .collect()
}

/// Each fact stays, or is absent.
fn only_lost(whole: &Imported, left: &Imported, what: &str) {
    assert_eq!(changed(whole, left, what), Vec::<String>::new());
}

/// Every golden with its text and, for the excerpts, the text that lends to it.
fn all() -> Vec<(String, String, Option<String>)> {
    let goldens = from_text();
    let names = goldens.iter().map(|path| store::read(path).unwrap().name);
    names
        .map(|name| {
            let like = (name != WHOLE).then(|| text(WHOLE));
            (name.clone(), text(&name), like)
        })
        .collect()
}

#[test]
fn a_line_that_is_dropped_makes_no_fact_another() {
    let mut wrong = Vec::new();
    for (name, text, like) in all() {
        let whole = import(&text, like.as_deref());
        for drop in 0..text.lines().count() {
            let left = text.lines().enumerate().filter(|(at, _)| *at != drop);
            let left: Vec<&str> = left.map(|(_, line)| line).collect();
            wrong.extend(changed(
                &whole,
                &import(&left.join("\n"), like.as_deref()),
                &format!("{name} without line {}", drop + 1),
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_line_that_is_dropped_from_the_lending_text_makes_no_fact_another() {
    let mut wrong = Vec::new();
    let lender = text(WHOLE);
    for (name, text, like) in all().into_iter().filter(|(_, _, like)| like.is_some()) {
        let whole = import(&text, like.as_deref());
        for drop in 0..lender.lines().count() {
            let left = lender.lines().enumerate().filter(|(at, _)| *at != drop);
            let left: Vec<&str> = left.map(|(_, line)| line).collect();
            wrong.extend(changed(
                &whole,
                &import(&text, Some(&left.join("\n"))),
                &format!("{name}, the lending text without line {}", drop + 1),
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each line broken after `width` characters, as a terminal does it.
fn broken(text: &str, width: usize) -> String {
    let lines = text.lines().map(|line| {
        let characters: Vec<char> = line.chars().collect();
        let parts = characters.chunks(width).map(|part| part.iter().collect());
        parts.collect::<Vec<String>>().join("\n")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Each line broken between words, as mailers do it.
fn filled(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split_inclusive(' ') {
            if column > 0 && column + word.trim_end().len() > width {
                out.push('\n');
                column = 0;
            }
            out.push_str(word);
            column += word.len();
        }
        out.push('\n');
    }
    out
}

#[test]
fn lines_that_were_wrapped_make_no_fact_another() {
    let mut wrong = Vec::new();
    for (name, text, like) in all() {
        let whole = import(&text, like.as_deref());
        for width in [60, 66, 72, 76, 78, 80, 100, 132] {
            for (how, wrapped) in [
                ("broken", broken(&text, width)),
                ("filled", filled(&text, width)),
            ] {
                let left = import(&wrapped, like.as_deref());
                wrong.extend(changed(&whole, &left, &format!("{name}, {how} at {width}")));
                let quoted = wrapped.lines().map(|line| format!("> {line}\r\n"));
                let left = import(&quoted.collect::<String>(), like.as_deref());
                wrong.extend(changed(
                    &whole,
                    &left,
                    &format!("{name}, {how} at {width}, quoted"),
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn lines_wrapped_at_80_columns_lose_nothing() {
    for (name, text, like) in all() {
        let whole = facts(&import(&text, like.as_deref()));
        for changed in [broken(&text, 80), filled(&text, 80)] {
            assert_eq!(facts(&import(&changed, like.as_deref())), whole, "{name}");
        }
    }
}

/// Sessions of crash 8 on dumps of Debian's kernels, cut to what an engineer would ask, each with what `recrash analyze`
/// says of the same dump. What both know is the same, but for what was overwritten: the dump has the devices' strings.
#[test]
fn a_session_and_its_dump_tell_the_same() {
    for name in ["debian-5.10", "debian-6.1"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
        let read =
            |end: &str| std::fs::read_to_string(folder.join(format!("{name}{end}"))).unwrap();
        let of_dump: toml::Table = read(".toml").parse().unwrap();
        let found = import(&read(".txt"), None);
        let (mut both, mut missed) = (0, Vec::new());
        for (fact, of_text) in facts(&found) {
            let (group, key) = fact.split_once('.').unwrap();
            let of_dump = of_dump[group].get(key).and_then(|fact| fact.get("value"));
            let of_dump = of_dump.map(ToString::to_string);
            match (of_dump, of_text) {
                (Some(of_dump), Some(of_text)) => {
                    assert_eq!(of_text, of_dump, "{name}: {fact}");
                    both += 1;
                }
                (Some(_), None) => missed.push(fact),
                _ => {}
            }
        }
        assert!(both >= 20, "{name}: {both} facts, missed {missed:?}");
        let dropped = &found.account.dropped;
        assert!(
            dropped
                .iter()
                .any(|frame| frame.function == "recrash_write"),
            "{name}: what an earlier call left on the stack is no caller"
        );
    }
}

/// The texts as they came, with prose, pictures and notes, where a folder of them is given (`RECRASH_EVIDENCE`).
#[test]
fn the_texts_as_they_came_give_the_same_goldens() {
    const FILES: [(&str, &str); 4] = [
        ("2022-02-23-kmalloc", "127.0.0.1-2022-02-23-14_54_07.txt"),
        ("2022-05-29-kmalloc", "127.0.0.1-2022-05-29-03_02_39.txt"),
        ("2022-06-03-kmalloc", "127.0.0.1-2022-06-03-02_37_46.txt"),
        (WHOLE, "real-dumps-analysis.md"),
    ];
    let Some(given) = std::env::var_os("RECRASH_EVIDENCE").map(PathBuf::from) else {
        return;
    };
    let read = |file: &str| std::fs::read_to_string(given.join(file)).unwrap();
    let lender = read(FILES[3].1);
    for (name, file) in FILES {
        let original = read(file);
        let like = (name != WHOLE).then_some(lender.as_str());
        let golden = store::read(&folder().join(format!("{name}.snap"))).unwrap();
        let found = import(&original, like);
        assert_eq!(
            found.signature.to_toml().unwrap(),
            golden.signature.to_toml().unwrap(),
            "{file}"
        );
        assert_eq!(recrash_transcript::without_prose(&original), text(name));
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

#[test]
fn a_text_that_is_cut_anywhere_makes_no_fact_another() {
    let mut wrong = Vec::new();
    for (name, text, like) in all() {
        let whole = import(&text, like.as_deref());
        for at in 0..text.len() {
            let left = import(&text[..at], like.as_deref());
            let end = text[..at].lines().next_back().unwrap_or_default();
            wrong.extend(changed(&whole, &left, &format!("{name} cut after {end:?}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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
}
