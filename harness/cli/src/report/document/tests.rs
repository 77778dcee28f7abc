use super::*;

/// The checked-in schema is what the types make; `recrash report --schema > harness/cli/report.schema.json` renews it.
#[test]
fn the_published_schema_is_that_of_the_types() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("report.schema.json");
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        published == schema().unwrap(),
        "{} is not what recrash report --schema prints",
        file.display()
    );
}

#[test]
fn a_way_leads_up_and_down() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["a/b", "a/c/d"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let way = |from: &str, to: &str| relative(&root.path().join(from), &root.path().join(to));
    assert_eq!(way("a/b", "a/c/d").as_deref(), Some("../c/d"));
    assert_eq!(way("a/b", "a/b").as_deref(), Some("."));
    assert_eq!(way("a", "a/c").as_deref(), Some("c"));
    assert_eq!(way("a", "none"), None);
}

#[test]
fn counts_are_told_in_words() {
    let mut document = Document::new(Kind::Matrix, "m", "", Exit::Differs);
    assert_eq!(document.counts().words(), "0 cases");
    for outcome in [Outcome::Passed, Outcome::Passed, Outcome::Skipped] {
        document.cases.push(Case::new("a", outcome, ""));
    }
    assert_eq!(
        document.counts().words(),
        "3 cases: 2 as expected, 1 not run"
    );
}
