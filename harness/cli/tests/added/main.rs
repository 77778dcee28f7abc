//! Kernels that a person adds: sets of packages added and reproduced as a user would, and what is refused.
//!
//! The RPM set is made here with rpmbuild (Debian's package `rpm`); without it that test says that it skipped.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose set-up fails has failed"
)]
mod archives;
mod sets;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;

use sets::{Recrash, scratch};
use std::fs;
use std::path::Path;
use support::{Finished, one_at_a_time};

/// Runs it and checks the exit code, and that stderr says all of this.
fn refused(recrash: &Recrash, args: &[&str], expected: &[&str]) {
    let found = recrash.finish(args);
    assert_eq!(found.code, 2, "{args:?}: {}", found.text());
    for text in expected {
        assert!(found.stderr.contains(text), "{args:?}: {}", found.stderr);
    }
}

fn reproduced(recrash: &Recrash, target: &str) -> Finished {
    let out = scratch().join("runs");
    let found = recrash.finish(&["run", "--target", target, "--json", "--out", path(&out)]);
    assert_eq!(found.code, 0, "{}", found.text());
    assert_eq!(found.result["verdict"], "same-crash", "{}", found.text());
    found
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_deb_set_is_added_and_reproduced() {
    let _held = one_at_a_time();
    let recrash = Recrash::in_folder("deb");
    let added = sets::add_debs(&recrash, "mine");
    assert_eq!(added["ready"], true, "{added:#}");
    assert_eq!(added["added"]["origin"]["kind"], "deb");
    assert_eq!(added["added"]["limits"], serde_json::json!([]));
    let found = reproduced(&recrash, "mine");
    let manifest = fs::read_to_string(found.folder().join("manifest.json")).unwrap();
    assert!(
        manifest.contains("\"linux-image-") && manifest.contains("\"makedumpfile\""),
        "a run says what its kernel came from: {manifest}"
    );
}

#[test]
fn an_rpm_set_is_added_and_reproduced() {
    let _held = one_at_a_time();
    let recrash = Recrash::in_folder("rpm");
    let donor = sets::donor(&recrash);
    let Some(files) = sets::rpms(&donor) else {
        eprintln!("skipped: rpmbuild is not installed (apt-get install rpm)");
        return;
    };
    let mut args = vec![
        "target",
        "add",
        "rpms",
        "--json",
        "--from",
        donor.template,
        "--rpm",
    ];
    args.extend(files.iter().map(|file| path(file)));
    let added = recrash.finish(&args);
    assert_eq!(added.code, 0, "{}", added.text());
    let own = &added.result["added"];
    assert_eq!(own["packages"][0]["name"], "kernel-core", "{own:#}");
    let headers = own["headers"].as_str().unwrap();
    assert!(headers.contains("usr/src/kernels/"), "{headers}");
    reproduced(&recrash, "rpms");
}

fn add<'a>(host: &[&'a str], extra: &[&'a str]) -> Vec<&'a str> {
    [&["target", "add", "installed"], host, extra].concat()
}

#[test]
fn an_installed_kernel_is_added_with_a_prebuilt_module() {
    let _held = one_at_a_time();
    let recrash = Recrash::in_folder("host");
    let donor = sets::donor(&recrash);
    let root = path(&donor.root);
    let module = path(&donor.module_ko);
    let host = ["--host", &donor.release, "--root", root];
    let added = recrash.finish(&add(
        &host,
        &["--json", "--from", donor.template, "--module", module],
    ));
    assert_eq!(added.code, 0, "{}", added.text());
    assert_eq!(added.result["ready"], true, "{}", added.text());
    assert_eq!(added.result["added"]["origin"]["kind"], "host");
    refused(
        &recrash,
        &add(&host, &[]),
        &["was added under the name", "--force"],
    );

    // Of another release.
    let other = scratch().join("other.ko");
    let release = format!("vermagic={}", donor.release);
    let patched = format!(
        "vermagic={}",
        donor.release.replacen(char::is_numeric, "9", 1)
    );
    let bytes = archives::replace(&fs::read(&donor.module_ko).unwrap(), &release, &patched);
    fs::write(&other, bytes).unwrap();
    refused(
        &recrash,
        &add(&host, &["--force", "--module", path(&other)]),
        &[
            "is built for Linux 9",
            "the kernel is Linux",
            "next: build it against",
        ],
    );

    // A file that is no longer what was added.
    let image = added.result["added"]["image"].as_str().unwrap();
    let mut bytes = fs::read(image).unwrap();
    bytes.push(0);
    fs::write(image, bytes).unwrap();
    refused(
        &recrash,
        &["run", "--target", "installed"],
        &["was changed since it was added", "--force"],
    );
    let removed = recrash.finish(&["target", "remove", "installed", "--json"]);
    assert_eq!(removed.code, 0, "{}", removed.text());
    refused(
        &recrash,
        &["run", "--target", "installed"],
        &["there is no target \"installed\""],
    );
}

#[test]
fn a_host_without_a_kernel_says_so() {
    let recrash = Recrash::in_folder("empty");
    let empty = scratch().join("empty-root");
    fs::create_dir_all(&empty).unwrap();
    refused(
        &recrash,
        &[
            "target",
            "add",
            "x",
            "--host",
            "6.1.0",
            "--root",
            path(&empty),
        ],
        &[
            "Linux 6.1.0 is not installed below",
            "next: a container has no kernel",
        ],
    );
    recrash.has_none();
}

#[test]
fn names_that_are_taken_or_no_names_are_refused() {
    let recrash = Recrash::in_folder("names");
    let add = |name| ["target", "add", name, "--deb", "no-such-file.deb"];
    refused(
        &recrash,
        &add("debian"),
        &["debian is a target of the checkout"],
    );
    refused(&recrash, &add("../x"), &["cannot be the name of a target"]);
    refused(&recrash, &add("all"), &["cannot be the name of a target"]);
    refused(
        &recrash,
        &["target", "remove", "debian"],
        &["qemu/targets/debian.toml"],
    );
    recrash.has_none();
}

#[test]
fn hostile_packages_are_refused_and_leave_nothing() {
    let recrash = Recrash::in_folder("hostile");
    let dir = scratch().join("hostile");
    fs::create_dir_all(&dir).unwrap();
    let cases = [
        (
            "escape",
            archives::deb("../../../../escaped", 4, b"data"),
            "leaves the folder",
        ),
        (
            "absolute",
            archives::deb("/tmp/recrash-escaped", 4, b"data"),
            "leaves the folder",
        ),
        (
            "bomb",
            archives::deb("./boot/vmlinuz-6.1", 64 << 30, b""),
            "all of it together may have",
        ),
        (
            "cut",
            archives::deb("./boot/vmlinuz-6.1", 4096, b"short"),
            "ends after",
        ),
        (
            "empty",
            archives::deb("./usr/share/doc/x", 4, b"data"),
            "there is no kernel in it",
        ),
        ("text", b"no package".to_vec(), "cannot"),
    ];
    for (name, bytes, expected) in cases {
        let file = dir.join(format!("{name}.deb"));
        fs::write(&file, bytes).unwrap();
        let found = recrash.finish(&["target", "add", "x", "--deb", path(&file)]);
        assert_ne!(found.code, 0, "{name}");
        if name != "text" {
            assert!(found.stderr.contains(expected), "{name}: {}", found.stderr);
        }
        recrash.has_none();
    }
    assert!(!Path::new("/tmp/recrash-escaped").exists());
    assert!(!recrash.data.parent().unwrap().join("escaped").exists());
}
