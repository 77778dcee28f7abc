//! Tests of the store: what it refuses, what it lists, what it proposes.

use super::*;
use crate::model::{Fact, Source};

const GOLDEN: &str =
    include_str!("../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap");

fn check(contents: impl AsRef<[u8]>, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snap");
    fs::write(&file, contents).unwrap();
    let error = read(&file).unwrap_err().to_string();
    let told = error.replace(&format!("{}", folder.path().display()), "");
    assert_eq!(told, expected);
}

#[test]
fn a_file_without_a_header_is_refused_with_its_line() {
    check(
        "schema = 1\n",
        "/a.snap:1: an insta snapshot begins with a line of `---`",
    );
}

#[test]
fn an_open_header_is_refused_with_its_line() {
    check(
        "---\nsource: x\n",
        "/a.snap:2: the header is not closed by a line of `---`",
    );
}

#[test]
fn another_schema_is_refused_by_its_number() {
    check(
        "---\nsource: x\n---\nschema = 7\n",
        "/a.snap:4: schema 7 is not supported: this version of recrash reads schema 2",
    );
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_line() {
    check(b"---\nsource: \xff\n", "/a.snap:2: expected UTF-8 text");
}

#[test]
fn a_huge_file_is_refused() {
    let huge = vec![b'-'; (1 << 20) + 1];
    check(huge, "/a.snap: over 1 MiB: not a golden");
}

#[test]
fn deeply_nested_toml_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snap");
    for nested in ["[".repeat(200_000), "{a=".repeat(200_000)] {
        fs::write(&file, format!("---\n---\nschema = 1\na = {nested}")).unwrap();
        assert!(matches!(read(&file), Err(StoreError::Signature { .. })));
    }
}

#[test]
fn a_mistake_in_the_toml_is_told_with_its_line_in_the_file() {
    let line = GOLDEN.lines().position(|l| l.starts_with("comm")).unwrap() + 1;
    let broken = GOLDEN.replace("comm = { value", "comm = { velue");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snap");
    fs::write(&file, broken).unwrap();
    let Err(StoreError::Signature { line: told, .. }) = read(&file) else {
        panic!("the mistake was not seen");
    };
    assert_eq!(told, line);
}

#[test]
fn listing_follows_no_links_and_takes_only_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("golden");
    let case = root.join("case");
    fs::create_dir_all(case.join("folder.snap")).unwrap();
    fs::write(case.join("b.snap"), "").unwrap();
    fs::write(case.join("a.snap"), "").unwrap();
    fs::write(case.join("a.snap.new"), "").unwrap();
    fs::write(case.join("a.txt"), "").unwrap();
    fs::write(root.join("README.md"), "").unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.snap"), "").unwrap();
    let link = std::os::unix::fs::symlink::<&Path, PathBuf>;
    link(&root, root.join("loop")).unwrap();
    link(&outside, root.join("linked")).unwrap();
    link(&outside.join("secret.snap"), case.join("linked.snap")).unwrap();
    assert_eq!(
        list(&root).unwrap(),
        [case.join("a.snap"), case.join("b.snap")]
    );
}

#[test]
fn a_folder_is_no_golden() {
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("not a regular file: not a golden"));
}

/// A copy of the golden in a folder of its own.
fn copy() -> (tempfile::TempDir, Golden) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.snap");
    fs::write(&file, GOLDEN).unwrap();
    let golden = read(&file).unwrap();
    (folder, golden)
}

#[test]
fn a_changed_signature_is_proposed_beside_the_golden_and_reads_back() {
    let (_folder, golden) = copy();
    let mut changed = golden.signature.clone();
    changed.context.cpu = Fact::known(3, Source::Vmcore);
    let proposal = propose(&golden, &changed, false).unwrap().unwrap();
    assert_eq!(proposal, golden.path.with_extension("snap.new"));
    let read_back = read(&proposal).unwrap();
    assert_eq!(read_back.signature, changed);
    assert_eq!(read_back.header, golden.header);
    assert_eq!(fs::read_to_string(&golden.path).unwrap(), GOLDEN);
}

#[test]
fn a_second_proposal_takes_the_firsts_place_and_leaves_it_whole_to_its_reader() {
    use std::io::Read as _;
    let (folder, golden) = copy();
    let mut changed = golden.signature.clone();
    changed.context.cpu = Fact::known(3, Source::Vmcore);
    let proposal = propose(&golden, &changed, false).unwrap().unwrap();
    let first = fs::read_to_string(&proposal).unwrap();
    let mut reader = fs::File::open(&proposal).unwrap();
    changed.context.cpu = Fact::known(4, Source::Vmcore);
    propose(&golden, &changed, false).unwrap();
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, first);
    assert_eq!(read(&proposal).unwrap().signature, changed);
    let names = fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 2, "the golden and one proposal");
}

#[test]
fn proposals_at_the_same_time_are_each_whole() {
    let (folder, golden) = copy();
    let proposal = golden.path.with_extension("snap.new");
    let of = |cpu| {
        let mut changed = golden.signature.clone();
        changed.context.cpu = Fact::known(cpu, Source::Vmcore);
        changed
    };
    propose(&golden, &of(20), false).unwrap();
    std::thread::scope(|scope| {
        for cpu in 21..25 {
            let (golden, of, proposal) = (&golden, &of, &proposal);
            scope.spawn(move || {
                for _ in 0..20 {
                    propose(golden, &of(cpu), false).unwrap();
                    let seen = read(proposal).unwrap().signature;
                    let cpu = *seen.context.cpu.value().unwrap();
                    assert_eq!(seen, of(cpu));
                }
            });
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_proposal_can_be_read_by_whom_any_new_file_can() {
    let (folder, golden) = copy();
    let mut changed = golden.signature.clone();
    changed.context.cpu = Fact::known(3, Source::Vmcore);
    let proposal = propose(&golden, &changed, false).unwrap().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode(&proposal), mode(&plain));
}

#[test]
fn nothing_is_proposed_under_ci_or_for_the_same_signature() {
    let (folder, golden) = copy();
    let mut changed = golden.signature.clone();
    changed.context.cpu = Fact::known(3, Source::Vmcore);
    assert_eq!(propose(&golden, &changed, true).unwrap(), None);
    assert_eq!(propose(&golden, &golden.signature, false).unwrap(), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_proposal_is_not_written_through_a_link() {
    let (folder, golden) = copy();
    let target = folder.path().join("target");
    fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, golden.path.with_extension("snap.new")).unwrap();
    let mut changed = golden.signature.clone();
    changed.context.cpu = Fact::known(3, Source::Vmcore);
    assert!(propose(&golden, &changed, false).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
}
