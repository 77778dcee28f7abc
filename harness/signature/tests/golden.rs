//! The goldens as insta sees them: each is a valid snapshot of its own signature, written as we
//! write it.

use recrash_signature::store;
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
        settings.bind(|| insta::assert_snapshot!(golden.name.as_str(), text));
    }
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
