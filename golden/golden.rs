//! The goldens as insta sees them: each is a valid snapshot of its own signature, written as we
//! write it.
//!
//! A test of harness/signature that lies here because cargo-insta looks for snapshots only beside
//! the sources of a package's targets: this file is what makes it find the goldens.

use recrash_signature::triage::Member;
use recrash_signature::{matrix, store};
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden"))
}

#[test]
fn every_golden_is_an_insta_snapshot_in_our_own_form() {
    let files = store::list(root()).unwrap();
    assert!(!files.is_empty(), "no goldens");
    for file in files {
        let golden = store::read(&file).unwrap();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(file.parent().unwrap());
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let text = golden.signature.to_toml().unwrap();
        if file.with_extension("snap.new").exists() {
            // insta removes the proposal of a snapshot that passes; a run's is a person's to remove.
            assert!(
                !store::under_ci(),
                "a proposal was committed beside {}",
                file.display()
            );
            let whole = format!("---\n{}---\n{text}", golden.header);
            let form = std::fs::read_to_string(&file).unwrap() == whole;
            assert!(
                form,
                "{} is out of form: `cargo insta review`",
                file.display()
            );
            continue;
        }
        settings.bind(|| insta::assert_snapshot!(golden.name.as_str(), text));
    }
}

#[test]
fn every_pair_of_goldens_has_the_verdict_that_was_reviewed() {
    let goldens = store::list(root()).unwrap();
    let members: Vec<Member> = goldens
        .iter()
        .map(|file| {
            let golden = store::read(file).unwrap();
            Member {
                name: format!("{}/{}", golden.case, golden.name),
                signature: golden.signature,
            }
        })
        .collect();
    for Member { name, signature } in &members {
        assert_eq!(matrix::unlike_itself(name, signature), None);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("rules", matrix::of(&members).text()));
}

#[test]
fn the_title_and_bug_of_every_golden_follow_from_its_facts() {
    for file in store::list(root()).unwrap() {
        let signature = store::read(&file).unwrap().signature;
        assert_eq!(
            signature.title,
            recrash_signature::title::title(&signature.fault, &signature.frames)
        );
        assert_eq!(
            signature.bug,
            recrash_signature::title::bug(&signature.corruption)
        );
    }
}

#[test]
fn the_readme_names_every_rule_and_every_fact() {
    let readme = include_str!("README.md");
    for rule in recrash_signature::compare::RULES {
        assert!(
            readme.contains(&format!("| `{}` |", rule.name)),
            "{}",
            rule.name
        );
        assert!(readme.contains(rule.reason), "{}", rule.reason);
    }
    for file in store::list(root()).unwrap() {
        let signature = store::read(&file).unwrap().signature;
        let text = signature.to_toml().unwrap();
        let keys = text
            .lines()
            .filter_map(|line| Some(line.split_once(" = ")?.0));
        let plain = |key: &&str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        for key in keys.filter(plain) {
            assert!(readme.contains(&format!("`{key}`")), "{key}");
        }
    }
}
