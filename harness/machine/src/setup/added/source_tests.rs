//! Trees and installed systems as small as they can be.
use super::*;

fn put(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn check(from: &Path, source: &Source) -> Result<(tempfile::TempDir, Filled), String> {
    let out = tempfile::tempdir().unwrap();
    match source.fill(out.path(), &mut |_| {}) {
        Ok(filled) => Ok((out, filled)),
        Err(error) => Err(error
            .to_string()
            .replace(&from.canonicalize().unwrap().display().to_string(), "DIR")),
    }
}

fn tree(order: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("include/config/kernel.release", "6.1.0-mine+\n"),
        ("arch/x86/boot/bzImage", "image"),
        (".config", "CONFIG_SMP=y\n"),
        ("vmlinux", "dwarf"),
        ("drivers/usb/core/usbcore.ko", "module"),
        ("modules.builtin", "kernel/virtio.ko\n"),
        ("modules.order", order),
    ] {
        put(dir.path(), path, text);
    }
    dir
}

#[test]
fn a_built_trees_files_come_to_where_an_installed_kernel_has_them() {
    for order in [
        "kernel/drivers/usb/core/usbcore.ko\n",
        "drivers/usb/core/usbcore.ko\n",
        "drivers/usb/core/usbcore.o\n",
    ] {
        let dir = tree(order);
        let (out, filled) = check(dir.path(), &Source::Tree(dir.path().into())).unwrap();
        let read = |path| std::fs::read_to_string(out.path().join(path)).unwrap();
        assert_eq!(read("boot/vmlinuz-6.1.0-mine+"), "image");
        assert_eq!(read("usr/lib/debug/boot/vmlinux-6.1.0-mine+"), "dwarf");
        let module = "lib/modules/6.1.0-mine+/kernel/drivers/usb/core/usbcore.ko";
        assert_eq!(read(module), "module");
        assert_eq!(
            filled.outer_headers,
            Some(dir.path().canonicalize().unwrap())
        );
    }
}

#[test]
fn a_tree_that_is_not_built_says_what_to_make() {
    let dir = tree("drivers/usb/core/gone.ko\n");
    let error = check(dir.path(), &Source::Tree(dir.path().into())).unwrap_err();
    assert_eq!(
        error,
        "DIR/drivers/usb/core/gone.ko is not there, but in modules.order"
    );
    std::fs::remove_file(dir.path().join("arch/x86/boot/bzImage")).unwrap();
    let error = check(dir.path(), &Source::Tree(dir.path().into())).unwrap_err();
    assert_eq!(error, "DIR/arch/x86/boot/bzImage is not there");
    let other = tempfile::tempdir().unwrap();
    let error = check(other.path(), &Source::Tree(other.path().into())).unwrap_err();
    assert!(
        error.contains("no tree that a kernel was built in"),
        "{error}"
    );
}

#[test]
fn a_list_of_modules_that_leaves_the_tree_is_refused() {
    for line in ["../../etc/x.ko", "/etc/x.ko", "etc/passwd"] {
        let dir = tree(line);
        let error = check(dir.path(), &Source::Tree(dir.path().into())).unwrap_err();
        assert!(error.contains("no path of a module"), "{error}");
    }
}

fn host(root: &Path, release: &str) -> Source {
    Source::Host {
        root: root.into(),
        release: release.into(),
    }
}

#[test]
fn an_installed_kernel_is_copied_and_its_headers_are_found_in_its_own_system() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "boot/vmlinuz-6.1", "image");
    put(dir.path(), "lib/modules/6.1/kernel/a.ko.xz", "module");
    put(dir.path(), "usr/src/headers/Makefile", "all:");
    std::os::unix::fs::symlink("/usr/src/headers", dir.path().join("lib/modules/6.1/build"))
        .unwrap();
    let (out, filled) = check(dir.path(), &host(dir.path(), "6.1")).unwrap();
    let modules = out.path().join("lib/modules/6.1");
    assert!(modules.join("kernel/a.ko.xz").is_file());
    assert!(
        !modules.join("build").exists(),
        "headers stay where they are"
    );
    let headers = dir.path().canonicalize().unwrap().join("usr/src/headers");
    assert_eq!(filled.outer_headers, Some(headers));
}

#[test]
fn a_host_without_that_kernel_says_which_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let error = check(dir.path(), &host(dir.path(), "6.1")).unwrap_err();
    assert_eq!(
        error,
        "Linux 6.1 is not installed below DIR: no DIR/lib/modules/6.1"
    );
    put(dir.path(), "lib/modules/6.1/kernel/a.ko", "module");
    let error = check(dir.path(), &host(dir.path(), "6.1")).unwrap_err();
    assert!(error.starts_with("no image of Linux 6.1"), "{error}");
    let error = check(dir.path(), &host(dir.path(), "../etc")).unwrap_err();
    assert!(error.contains("no kernel release"), "{error}");
}

#[test]
fn of_packages_only_what_is_needed_is_unpacked() {
    for wanted in [
        "boot/vmlinuz-6.1",
        "lib/modules/6.1/kernel/a.ko",
        "usr/src/kernels/6.1/Makefile",
        "usr/lib/linux-kbuild-6.1/scripts/mod/modpost",
        "usr/lib/debug/lib/modules/6.1/vmlinux",
        "usr/lib/debug/lib/modules/6.1/kernel/drivers/usb/core/usbcore.ko.debug",
    ] {
        assert!(is_wanted(Path::new(wanted)), "{wanted}");
    }
    for other in [
        "etc/passwd",
        "boot/grub/grub.cfg",
        "usr/lib/debug/lib/modules/6.1/kernel/fs/xfs/xfs.ko",
        "usr/share/doc/x",
        "libx/modules/a",
    ] {
        assert!(!is_wanted(Path::new(other)), "{other}");
    }
}
