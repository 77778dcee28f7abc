//! RPM packages made here, byte by byte, honest and hostile.
use super::*;
use crate::setup::unpack::Limits;
use std::io::Write;

struct Item<'a> {
    name: &'a str,
    mode: u32,
    bytes: &'a str,
    inode: u32,
    links: u32,
}

fn file<'a>(name: &'a str, bytes: &'a str) -> Item<'a> {
    Item {
        name,
        mode: 0o100_644,
        bytes,
        inode: 1,
        links: 1,
    }
}

fn link<'a>(name: &'a str, target: &'a str) -> Item<'a> {
    Item {
        mode: 0o120_777,
        ..file(name, target)
    }
}

fn header(tags: &[(u32, &str)]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut store = Vec::new();
    for (tag, text) in tags {
        for word in [*tag, 6, u32::try_from(store.len()).unwrap(), 1] {
            index.extend(word.to_be_bytes());
        }
        store.extend(text.as_bytes());
        store.push(0);
    }
    let mut out = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    out.extend(u32::try_from(tags.len()).unwrap().to_be_bytes());
    out.extend(u32::try_from(store.len()).unwrap().to_be_bytes());
    [out, index, store].concat()
}

fn package(items: &[Item<'_>]) -> Vec<u8> {
    let mut lead = vec![0; 96];
    lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    let mut signature = header(&[(269, "abc")]);
    signature.resize(signature.len().next_multiple_of(8), 0);
    let main = header(&[
        (1000, "kernel-core"),
        (1001, "4.18.0"),
        (1002, "147.5.1.el8_1"),
        (1022, "x86_64"),
    ]);
    let mut payload = Vec::new();
    for item in items {
        let builder = newc::Builder::new(item.name)
            .ino(item.inode)
            .mode(item.mode)
            .nlink(item.links);
        let size = u32::try_from(item.bytes.len()).unwrap();
        let mut writer = builder.write(payload, size);
        writer.write_all(item.bytes.as_bytes()).unwrap();
        payload = writer.finish().unwrap();
    }
    let payload = newc::trailer(payload).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&payload).unwrap();
    [lead, signature, main, packed.finish().unwrap()].concat()
}

fn check(package: &[u8], look: impl FnOnce(&Path)) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let (rpm, root) = (dir.path().join("x.rpm"), dir.path().join("root"));
    std::fs::write(&rpm, package).unwrap();
    std::fs::create_dir(&root).unwrap();
    let limits = Limits {
        entries: 100,
        bytes: 1 << 20,
    };
    let result = unpack_into(&rpm, &mut Folder::new(&root, limits), &|path| {
        !path.starts_with("etc")
    });
    let siblings = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(siblings, 2, "something was written beside the folder");
    look(&root);
    result.map_err(|error| {
        error
            .to_string()
            .replace(&dir.path().display().to_string(), "DIR")
    })
}

fn refused(items: &[Item<'_>], expected: &str) {
    let error = check(&package(items), |_| {}).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_package_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let rpm = dir.path().join("x.rpm");
    std::fs::write(&rpm, package(&[])).unwrap();
    let found = identity(&rpm).unwrap();
    assert_eq!(
        (
            found.name.as_str(),
            found.version.as_str(),
            found.arch.as_str()
        ),
        ("kernel-core", "4.18.0-147.5.1.el8_1", "x86_64")
    );
}

#[test]
fn what_is_wanted_is_unpacked_and_absolute_links_become_relative() {
    let items = [
        file("./lib/modules/r/vmlinuz", "kernel"),
        link("./lib/modules/r/build", "/usr/src/kernels/r"),
        file("./usr/src/kernels/r/Makefile", "all:"),
        file("./etc/passwd", "no"),
    ];
    check(&package(&items), |root| {
        let read = |path| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("lib/modules/r/vmlinuz"), "kernel");
        assert_eq!(read("lib/modules/r/build/Makefile"), "all:");
        assert!(!root.join("etc").exists());
    })
    .unwrap();
}

#[test]
fn a_file_with_several_names_gets_its_bytes_from_the_last_one() {
    let named = |name, bytes, inode| Item {
        inode,
        links: 3,
        ..file(name, bytes)
    };
    let items = [
        named("./a", "", 7),
        named("./b", "", 7),
        named("./etc/c", "bytes", 7),
        named("./empty", "", 8),
    ];
    check(&package(&items), |root| {
        for name in ["a", "b"] {
            assert_eq!(std::fs::read_to_string(root.join(name)).unwrap(), "bytes");
        }
        assert_eq!(root.join("empty").metadata().unwrap().len(), 0);
    })
    .unwrap();
}

#[test]
fn names_and_links_that_leave_the_folder_are_refused() {
    refused(&[file("../escape", "x")], "leaves the folder");
    refused(&[file("./a/../../escape", "x")], "leaves the folder");
    refused(&[file("/escape", "x")], "leaves the folder");
    refused(&[link("./d", "..")], "outside");
    refused(&[link("./d", "/../../x")], "outside");
    refused(&[link("./d", "."), file("./d/x", "x")], "d/x");
    refused(&[link("./x", "y"), file("./x", "x")], "x");
}

#[test]
fn devices_and_too_much_are_refused() {
    let device = Item {
        mode: 0o020_600,
        ..file("./dev", "")
    };
    refused(&[device], "unexpected kind");
    let big = "x".repeat(600 << 10);
    refused(&[file("./a", &big), file("./b", &big)], "may have 1048576");
    let many: Vec<Item<'_>> = (0..101).map(|_| file("./etc/x", "")).collect();
    refused(&many, "more than 100 entries");
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_anything_is_allocated() {
    let mut bytes = package(&[]);
    bytes[96 + 8..96 + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = check(&bytes, |_| {}).unwrap_err();
    assert!(error.contains("4294967295 entries"), "{error}");
}

#[test]
fn what_is_no_binary_package_is_refused() {
    let error = check(b"text", |_| {}).unwrap_err();
    assert!(error.contains("expected an RPM package"), "{error}");
    let mut source = package(&[]);
    source[7] = 1;
    let error = check(&source, |_| {}).unwrap_err();
    assert!(error.contains("a source package"), "{error}");
}

#[test]
fn a_package_cut_short_is_an_error_wherever_it_is_cut() {
    let whole = package(&[file("./a", "some bytes")]);
    for length in 0..whole.len() - 8 {
        assert!(check(&whole[..length], |_| {}).is_err(), "{length}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damaged_package_panics_or_escapes(at in 0..4096_usize, value: u8) {
        let mut bytes = package(&[file("./a/b", "x"), link("./a/l", "b")]);
        let length = bytes.len();
        bytes[at % length] = value;
        let _ = check(&bytes, |_| {});
    }
}
