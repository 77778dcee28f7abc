//! Whole builds of a kernel of a few lines: a Makefile that makes what the real one makes. Needs make and patch.
use super::super::cache::{Cache, Lock};
use super::super::hash;
use super::*;

/// What a source package's Makefile does when all is well.
const MAKEFILE: &str = "\
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) .config
bzImage:
\t@echo '  CC      init/main.o'
\t@echo '  HOSTCC  scripts/x'
\tmkdir -p arch/x86/boot arch/x86/include include/config scripts tools/objtool
\techo $(KCFLAGS) > vmlinux
\techo $$KBUILD_BUILD_TIMESTAMP $$SECRET > arch/x86/boot/bzImage
\tcp $$(command -v strip) tools/objtool/objtool
\ttouch System.map Module.symvers modules.builtin modules.builtin.modinfo
\techo 5.10.1-x > include/config/kernel.release
modules:
\ttouch modules.order
";
const FRAGMENT: &str = "CONFIG_A=y\nCONFIG_LOCALVERSION=\"-x\"\n";
/// To what lies in every source package here.
const PATCH: &str = "--- a/mm/slub.c\n+++ b/mm/slub.c\n@@ -1 +1 @@\n-middle\n+first\n";

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A source package as Debian's: an archive in a package.
fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
    let source = tar(files);
    let data = tar(&[("usr/src/linux-source-5.10.tar.xz", &source)]);
    let mut deb = ar::Builder::new(Vec::new());
    for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("data.tar", &data)] {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        deb.append(&header, bytes).unwrap();
    }
    deb.into_inner().unwrap()
}

struct Built {
    result: Result<(), SetupError>,
    tree: PathBuf,
    events: Vec<SetupEvent>,
    /// What is left in the scratch folder.
    left: usize,
    _dir: tempfile::TempDir,
}

fn build(makefile: &str, slub: &str, fragment: &str) -> Built {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkout/qemu/kconfig");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("x.config"), fragment).unwrap();
    std::fs::write(folder.join("x.patch"), PATCH).unwrap();
    let kernel = BuiltKernel {
        sources: vec![BuiltSource {
            package: "linux-source-5.10".into(),
            suites: vec!["bullseye".into()],
            config: vec!["x.config".into()],
            patches: vec!["x.patch".into()],
        }],
        compiler: "true".into(),
        compiled_files: 1,
    };
    let deb = package(&[
        ("linux-source-5.10/Makefile", makefile.as_bytes()),
        ("linux-source-5.10/mm/slub.c", slub.as_bytes()),
        ("linux-source-5.10/arch/arm/x.c", b"left out"),
    ]);
    let cache = Cache::at(dir.path().join("cache")).unwrap();
    let mut source = LockedPackage {
        name: kernel.sources[0].package.clone(),
        version: "5.10.1-1".into(),
        role: Role::Source,
        sha256: "0".repeat(64),
        size: deb.len() as u64,
    };
    let file = dir.path().join("x.deb");
    std::fs::write(&file, &deb).unwrap();
    source.sha256 = hash::file(&file).unwrap();
    cache.folder("downloads").unwrap();
    std::fs::rename(&file, cache.deb(&source)).unwrap();
    let plan = apt::Plan {
        release: "5.10.1-x".into(),
        compiler: "true".into(),
        host_libraries: Vec::new(),
        packages: vec![source],
    };
    let lock = Lock::new(plan, &[], String::new());
    let tree = cache.root().join("trees/key");
    let mut events = Vec::new();
    let checkout = dir.path().join("checkout");
    let result = Inputs::locked(&checkout, &kernel, &lock)
        .and_then(|inputs| inputs.make(&cache, &tree, &lock, &mut |event| events.push(event)));
    let left = std::fs::read_dir(cache.root().join("scratch"));
    Built {
        result,
        tree,
        events,
        left: left.map_or(0, Iterator::count),
        _dir: dir,
    }
}

/// Nothing half-built is there, and nothing of the work is left.
fn check_failed(built: &Built, expected: &[&str]) {
    let error = built.result.as_ref().unwrap_err().to_string();
    for text in expected {
        assert!(error.contains(text), "{text:?} in {error}");
    }
    assert!(!built.tree.exists());
    assert_eq!(built.left, 0);
}

#[test]
fn a_kernel_is_built_patched_and_kept_without_its_sources() {
    let built = build(MAKEFILE, "middle\n", FRAGMENT);
    built.result.unwrap();
    let read = |file: &str| std::fs::read_to_string(built.tree.join(file)).unwrap();
    assert_eq!(read("boot/config-5.10.1-x"), FRAGMENT);
    // Neither the day nor the folder of the build, nor what the caller has in the environment.
    assert_eq!(
        read("boot/vmlinuz-5.10.1-x").trim(),
        "Thu Jan 1 00:00:00 UTC 1970"
    );
    let flags = read("usr/lib/debug/boot/vmlinux-5.10.1-x");
    assert!(
        flags.trim().ends_with("=/usr/src/linux-source-5.10"),
        "{flags}"
    );
    assert!(
        !built
            .tree
            .join("usr/src/linux-headers-5.10.1-x/mm")
            .exists()
    );
    assert_eq!(built.left, 0);
    let files: Vec<&SetupEvent> = built
        .events
        .iter()
        .filter(|event| matches!(event, SetupEvent::Files { .. }))
        .collect();
    assert_eq!(files, [&SetupEvent::Files { done: 1, about: 2 }]);
}

#[test]
fn a_build_that_fails_shows_its_last_lines_and_keeps_its_log_alone() {
    let makefile = MAKEFILE.replace(
        "modules:\n",
        "modules:\n\t@echo 'mm/slub.c:1: error: no'; false\n",
    );
    let built = build(&makefile, "middle\n", FRAGMENT);
    check_failed(
        &built,
        &[
            "Linux 5.10.1-x does not build: make failed",
            "mm/slub.c:1: error: no",
        ],
    );
    let log = std::fs::read_to_string(built.tree.with_extension("log")).unwrap();
    assert!(
        log.contains("CC      init/main.o") && log.contains("mm/slub.c:1"),
        "{log}"
    );
}

#[test]
fn a_patch_that_does_not_fit_is_named_before_anything_is_built() {
    let built = build(MAKEFILE, "elsewhere\n", FRAGMENT);
    check_failed(&built, &["patching with x.patch failed", "FAILED"]);
    assert!(
        !built
            .events
            .iter()
            .any(|event| matches!(event, SetupEvent::Files { .. }))
    );
}

#[test]
fn options_that_did_not_take_are_named_before_anything_is_built() {
    let makefile = MAKEFILE.replace(
        "cp $(KCONFIG_ALLCONFIG)",
        "grep -v _A= $(KCONFIG_ALLCONFIG) >",
    );
    let built = build(&makefile, "middle\n", FRAGMENT);
    check_failed(
        &built,
        &[
            "did not take 1 of its options",
            "CONFIG_A: y asked for, not set came out",
        ],
    );
    assert!(
        !built
            .events
            .iter()
            .any(|event| matches!(event, SetupEvent::Files { .. }))
    );
}

#[test]
fn a_kernel_with_another_name_than_its_package_says_is_refused() {
    let makefile = MAKEFILE.replace("echo 5.10.1-x", "echo 5.10.1-y");
    let built = build(&makefile, "middle\n", FRAGMENT);
    check_failed(&built, &["calls itself 5.10.1-y", "it is 5.10.1-x"]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused_with_its_line() {
    let built = build("", "middle\n", "CONFIG_A=y\nCONFIG A\n");
    check_failed(
        &built,
        &["x.config: line 2: neither an option nor a comment"],
    );
}
