//! What is kept of a finished build, laid out as Debian's packages are: the image and its configuration, modules,
//! headers for more modules, and vmlinux and modules with DWARF below `usr/lib/debug`. Builds nothing.
use super::super::{SetupError, child};
use super::recipe;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const MAX_DEPTH: u32 = 32;

/// Where a tree keeps its files with DWARF, as `--debug-dir` wants it.
pub(in super::super) const DEBUG: &str = "usr/lib/debug";

/// Copies from the built source tree `from` into `to`, an empty folder.
///
/// # Errors
/// [`SetupError::Io`]; [`SetupError::Package`] when the build lacks a part; [`SetupError::Child`] of `strip`.
pub(super) fn keep(from: &Path, to: &Path, release: &str) -> Result<(), SetupError> {
    let headers = format!("usr/src/linux-headers-{release}");
    for (file, place) in [
        ("arch/x86/boot/bzImage", format!("boot/vmlinuz-{release}")),
        ("System.map", format!("boot/System.map-{release}")),
        (".config", format!("boot/config-{release}")),
        ("vmlinux", format!("{DEBUG}/boot/vmlinux-{release}")),
        (".config", format!("{headers}/.config")),
        ("Module.symvers", format!("{headers}/Module.symvers")),
        (
            "tools/objtool/objtool",
            format!("{headers}/tools/objtool/objtool"),
        ),
    ] {
        copy(&from.join(file), &to.join(place))?;
    }
    let headers = to.join(headers);
    // Its debug information has the folder it was built in, and its build id is a hash of that too.
    let objtool = headers.join("tools/objtool/objtool");
    strip(
        &objtool,
        &["--strip-all", "--remove-section=.note.gnu.build-id"],
    )?;
    for folder in ["", "arch/x86"] {
        makefiles(&from.join(folder), &headers.join(folder))?;
    }
    for folder in ["include", "scripts", "arch/x86/include", "arch/x86/scripts"] {
        if from.join(folder).is_dir() {
            copy_tree(&from.join(folder), &headers.join(folder), 0)?;
        }
    }
    keep_modules(from, to, release)
}

/// Modules without DWARF for the guest, with it for the readers. No `modules.dep`: Debian's packages have none either.
fn keep_modules(from: &Path, to: &Path, release: &str) -> Result<(), SetupError> {
    let dir = Path::new("lib/modules").join(release);
    make(&to.join(&dir).join("kernel"))?;
    let order = from.join("modules.order");
    let list = fs::read_to_string(&order).map_err(SetupError::io("reading", &order))?;
    for line in list.lines().filter(|line| !line.is_empty()) {
        let module =
            super::super::unpack::inside(Path::new(line)).ok_or_else(|| SetupError::Package {
                file: order.clone(),
                what: format!("{line:?} leaves the folder"),
            })?;
        let file = dir.join("kernel").join(module);
        let whole = to.join(DEBUG).join(&file);
        copy(&from.join(line), &whole)?;
        let stripped = to.join(&file);
        copy(&whole, &stripped)?;
        strip(&stripped, &["--strip-debug"])?;
    }
    for file in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        copy(&from.join(file), &to.join(&dir).join(file))?;
    }
    let build = to.join(&dir).join("build");
    let target = format!("../../../usr/src/linux-headers-{release}");
    symlink(target, &build).map_err(SetupError::io("linking", &build))
}

fn strip(file: &Path, what: &[&str]) -> Result<(), SetupError> {
    let mut arguments: Vec<String> = what.iter().map(|word| (*word).to_owned()).collect();
    arguments.push(file.display().to_string());
    let output = child::logged_alone("strip", &arguments, recipe::ENVIRONMENT, &mut |_| {})?;
    if output.status.success() {
        Ok(())
    } else {
        Err(child::failure(
            &format!("strip {}", arguments.join(" ")),
            &output,
        ))
    }
}

/// `Makefile`, `Makefile.um` and so on of one folder.
fn makefiles(from: &Path, to: &Path) -> Result<(), SetupError> {
    for entry in entries(from)? {
        let name = entry.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with("Makefile") {
            copy(&entry, &to.join(name))?;
        }
    }
    Ok(())
}

/// A folder without what only the build itself uses. Links stay as they are: they are relative.
fn copy_tree(from: &Path, to: &Path, depth: u32) -> Result<(), SetupError> {
    make(to)?;
    for entry in entries(from)? {
        let name = entry.file_name().unwrap_or_default();
        let target = to.join(name);
        let kind = entry
            .symlink_metadata()
            .map_err(SetupError::io("reading", &entry))?;
        let text = name.to_string_lossy();
        if kind.is_symlink() {
            let link = fs::read_link(&entry).map_err(SetupError::io("reading", &entry))?;
            if link.is_relative() {
                symlink(link, &target).map_err(SetupError::io("linking", &target))?;
            }
        } else if kind.is_dir() {
            if depth < MAX_DEPTH {
                copy_tree(&entry, &target, depth + 1)?;
            }
        } else if !text.ends_with(".o") && !text.ends_with(".cmd") {
            copy(&entry, &target)?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let entries = fs::read_dir(dir).map_err(SetupError::io("reading", dir))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    paths.map_err(SetupError::io("reading", dir))
}

fn make(dir: &Path) -> Result<(), SetupError> {
    fs::create_dir_all(dir).map_err(SetupError::io("making", dir))
}

fn copy(from: &Path, to: &Path) -> Result<(), SetupError> {
    if !from.is_file() {
        return Err(SetupError::Package {
            file: from.into(),
            what: "the build ended well and did not make it".into(),
        });
    }
    if let Some(parent) = to.parent() {
        make(parent)?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(SetupError::io("copying", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with one file of each kind; `order` is its list of modules.
    fn check(order: &str, lacks: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        // Something that strip takes for an object.
        let object = fs::read(std::env::current_exe().unwrap()).unwrap();
        for file in [
            "Makefile",
            "Kbuild",
            ".config",
            "System.map",
            "Module.symvers",
            "vmlinux",
            "arch/x86/boot/bzImage",
            "arch/x86/Makefile_32.cpu",
            "arch/x86/include/generated/asm/x.h",
            "arch/x86/kernel/x.c",
            "include/linux/slab.h",
            "scripts/mod/modpost",
            "scripts/mod/modpost.o",
            "scripts/mod/.modpost.cmd",
            "tools/objtool/objtool",
            "drivers/a.ko",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            if file != lacks {
                let path = from.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(
                    path,
                    if file.ends_with(".ko") || file.ends_with("objtool") {
                        &object[..]
                    } else {
                        b"x"
                    },
                )
                .unwrap();
            }
        }
        fs::write(from.join("modules.order"), order).unwrap();
        fs::create_dir(&to).unwrap();
        keep(&from, &to, "5.10.1-x").map_err(|error| {
            error
                .to_string()
                .replace(&dir.path().display().to_string(), "")
        })?;
        let mut found = Vec::new();
        list(&to, &to, &mut found);
        found.sort();
        Ok(found)
    }

    fn list(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for path in entries(dir).unwrap() {
            if path.is_dir() && !path.is_symlink() {
                list(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn what_runs_and_readers_need_is_kept_and_the_rest_is_not() {
        assert_eq!(
            check("drivers/a.ko\n", "").unwrap(),
            [
                "boot/System.map-5.10.1-x",
                "boot/config-5.10.1-x",
                "boot/vmlinuz-5.10.1-x",
                "lib/modules/5.10.1-x/build",
                "lib/modules/5.10.1-x/kernel/drivers/a.ko",
                "lib/modules/5.10.1-x/modules.builtin",
                "lib/modules/5.10.1-x/modules.builtin.modinfo",
                "lib/modules/5.10.1-x/modules.order",
                "usr/lib/debug/boot/vmlinux-5.10.1-x",
                "usr/lib/debug/lib/modules/5.10.1-x/kernel/drivers/a.ko",
                "usr/src/linux-headers-5.10.1-x/.config",
                "usr/src/linux-headers-5.10.1-x/Makefile",
                "usr/src/linux-headers-5.10.1-x/Module.symvers",
                "usr/src/linux-headers-5.10.1-x/arch/x86/Makefile_32.cpu",
                "usr/src/linux-headers-5.10.1-x/arch/x86/include/generated/asm/x.h",
                "usr/src/linux-headers-5.10.1-x/include/linux/slab.h",
                "usr/src/linux-headers-5.10.1-x/scripts/mod/modpost",
                "usr/src/linux-headers-5.10.1-x/tools/objtool/objtool",
            ]
        );
    }

    #[test]
    fn a_build_without_its_image_is_refused() {
        let error = check("", "arch/x86/boot/bzImage").unwrap_err();
        assert!(
            error.starts_with("/from/arch/x86/boot/bzImage: "),
            "{error}"
        );
    }

    #[test]
    fn a_list_of_modules_that_leaves_the_tree_is_refused() {
        let error = check("../../etc/passwd\n", "").unwrap_err();
        assert!(error.contains("leaves the folder"), "{error}");
    }
}
