//! Finds a kernel's parts in a folder that is laid out as an installed system: whose layout, the folder tells.
use super::record::is_release;
use super::refuse;
use crate::setup::{SetupError, hash};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Debian and most others; Debian 13, Fedora and SUSE with a merged /usr.
const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];
/// What headers are made of, beside debug symbols and modules that lie in the same folders.
const NO_HEADERS: [&str; 4] = ["boot", "lib", "usr/lib/debug", "usr/lib/modules"];

/// A kernel's parts, relative to the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) release: String,
    pub(super) image: PathBuf,
    pub(super) modules: PathBuf,
    pub(super) config: Option<PathBuf>,
    pub(super) system_map: Option<PathBuf>,
    pub(super) vmlinux: Option<PathBuf>,
    pub(super) headers: Option<PathBuf>,
}

/// Finds the parts of the one kernel in `root`.
///
/// # Errors
/// [`SetupError::Added`] when there is no kernel, more than one, or one without image or modules.
pub(super) fn find(root: &Path) -> Result<Parts, SetupError> {
    let release = release(root)?;
    let modules = MODULES
        .map(|dir| Path::new(dir).join(&release))
        .into_iter()
        .find(|dir| has_modules(&root.join(dir)));
    let Some(modules) = modules else {
        return Err(refuse(
            format!("there are no modules of Linux {release}"),
            "add the package that has them: linux-image-… or linux-modules-… (Debian, Ubuntu), \
             kernel-core and kernel-modules, or kernel (RHEL, CentOS, openEuler)",
        ));
    };
    let below = MODULES.map(|dir| Path::new(dir).join(&release));
    let all = |boot: &str, own: &str| {
        let own = below.iter().map(|dir| dir.join(own));
        let paths = std::iter::once(PathBuf::from(format!("boot/{boot}-{release}"))).chain(own);
        paths.collect::<Vec<_>>()
    };
    let Some(image) = first(root, &all("vmlinuz", "vmlinuz")) else {
        return Err(refuse(
            format!("there is no image (vmlinuz) of Linux {release}"),
            "add the package that has it: linux-image-… (Debian, Ubuntu), kernel-core or kernel (RHEL, CentOS, openEuler)",
        ));
    };
    let debug = |path: &str| Path::new("usr/lib/debug").join(path);
    let vmlinux = [
        debug(&format!("boot/vmlinux-{release}")),
        debug(&format!("lib/modules/{release}/vmlinux")),
        debug(&format!("usr/lib/modules/{release}/vmlinux")),
        debug(&format!("lib/modules/{release}/vmlinux.debug")),
    ];
    let headers = headers(root, &release, &below);
    let config = first(root, &all("config", "config")).or_else(|| {
        let inner = headers.as_ref()?.join(".config");
        first(root, &[inner])
    });
    Ok(Parts {
        image,
        modules,
        config,
        system_map: first(root, &all("System.map", "System.map")),
        vmlinux: first(root, &vmlinux),
        headers,
        release,
    })
}

/// The one release that folders and images are named after.
fn release(root: &Path) -> Result<String, SetupError> {
    let mut found = BTreeSet::new();
    for dir in MODULES.map(|dir| root.join(dir)) {
        // A package of headers has such a folder too, with nothing but a link in it.
        found.extend(names(&dir).into_iter().filter(|name| {
            let dir = dir.join(name);
            has_modules(&dir) || dir.join("vmlinuz").is_file()
        }));
    }
    let images = names(&root.join("boot"));
    found.extend(
        images
            .iter()
            .filter_map(|name| name.strip_prefix("vmlinuz-"))
            .map(str::to_owned),
    );
    found.retain(|name| is_release(name));
    let mut all = found.iter();
    match (all.next(), all.next()) {
        (Some(release), None) => Ok(release.clone()),
        (None, _) => Err(refuse(
            "there is no kernel in it: neither an image (vmlinuz) nor modules",
            "give all packages of the kernel: image, modules, headers",
        )),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = found.iter().map(String::as_str).collect();
            Err(refuse(
                format!("these are several kernels: {}", names.join(", ")),
                "give the packages of one of them only",
            ))
        }
    }
}

fn has_modules(dir: &Path) -> bool {
    // A kernel with everything built in has the list only.
    dir.join("kernel").is_dir() || dir.join("modules.builtin").is_file()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// The folder in which external modules are built.
fn headers(root: &Path, release: &str, modules: &[PathBuf]) -> Option<PathBuf> {
    let links = modules.iter().map(|dir| dir.join("build"));
    let usual = [
        format!("usr/src/linux-headers-{release}"),
        format!("usr/src/kernels/{release}"),
    ];
    links
        .chain(usual.into_iter().map(PathBuf::from))
        .filter_map(|path| resolve(root, &path))
        .find(|path| root.join(path).join("Makefile").is_file())
}

/// The first of these that is a file.
fn first(root: &Path, paths: &[PathBuf]) -> Option<PathBuf> {
    paths
        .iter()
        .filter_map(|path| resolve(root, path))
        .find(|path| root.join(path).is_file())
}

/// Without links, and only if it is inside.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let root = root.canonicalize().ok()?;
    let found = root.join(path).canonicalize().ok()?;
    found.strip_prefix(&root).ok().map(Path::to_path_buf)
}

/// Key of the headers inside of an added kernel's folder.
///
/// # Errors
/// When they cannot be read.
pub(super) fn inner_headers_key(root: &Path) -> Result<String, SetupError> {
    hash::tree(root, &|path| {
        NO_HEADERS.iter().any(|skipped| path == Path::new(skipped))
    })
}

/// Key of a tree that stays where it is: of its release, its configuration and what it exports.
///
/// # Errors
/// When they cannot be read.
pub(super) fn outer_headers_key(headers: &Path) -> Result<String, SetupError> {
    let mut hasher = Sha256::new();
    for name in [
        "include/generated/utsrelease.h",
        "include/generated/autoconf.h",
        "Module.symvers",
    ] {
        let file = headers.join(name);
        let digest = if file.is_file() {
            hash::file(&file)?
        } else {
            "absent".into()
        };
        hash::part(&mut hasher, digest.as_bytes());
    }
    Ok(hash::hex(&hasher.finalize()))
}

/// What release a header tree is of; `None` if it does not say. It is utsrelease.h that modules get theirs from:
/// Debian's kernel.release says 6.1.192 where `uname -r` says 6.1.0-57-amd64.
pub(super) fn headers_release(headers: &Path) -> Option<String> {
    let text = std::fs::read_to_string(headers.join("include/generated/utsrelease.h")).ok();
    if let Some(release) = text.as_deref().and_then(|text| text.split('"').nth(1)) {
        return Some(release.to_owned());
    }
    let text = std::fs::read_to_string(headers.join("include/config/kernel.release")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str]) -> Result<Parts, String> {
        let dir = tempfile::tempdir().unwrap();
        for path in files {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        find(dir.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn debians_layout_is_found() {
        let parts = check(&[
            "boot/vmlinuz-6.1.0-56-amd64",
            "boot/config-6.1.0-56-amd64",
            "lib/modules/6.1.0-56-amd64/kernel/usbcore.ko",
            "usr/src/linux-headers-6.1.0-56-amd64/Makefile",
            "usr/lib/debug/boot/vmlinux-6.1.0-56-amd64",
        ])
        .unwrap();
        assert_eq!(parts.release, "6.1.0-56-amd64");
        assert_eq!(parts.image, Path::new("boot/vmlinuz-6.1.0-56-amd64"));
        assert_eq!(
            parts.headers.as_deref(),
            Some(Path::new("usr/src/linux-headers-6.1.0-56-amd64"))
        );
        assert!(parts.vmlinux.is_some() && parts.config.is_some());
    }

    #[test]
    fn red_hats_layout_is_found() {
        let release = "4.18.0-147.5.1.el8_1.x86_64";
        let parts = check(&[
            &format!("lib/modules/{release}/vmlinuz"),
            &format!("lib/modules/{release}/config"),
            &format!("lib/modules/{release}/System.map"),
            &format!("lib/modules/{release}/kernel/usbcore.ko.xz"),
            &format!("usr/src/kernels/{release}/Makefile"),
            &format!("usr/lib/debug/lib/modules/{release}/vmlinux"),
        ])
        .unwrap();
        assert_eq!(parts.release, release);
        assert!(parts.image.ends_with("vmlinuz") && parts.headers.is_some());
        assert!(parts.system_map.is_some() && parts.vmlinux.is_some());
    }

    #[test]
    fn a_merged_usr_is_found() {
        let parts = check(&[
            "usr/lib/modules/6.12/vmlinuz",
            "usr/lib/modules/6.12/kernel/a.ko.zst",
        ]);
        assert_eq!(parts.unwrap().modules, Path::new("usr/lib/modules/6.12"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (files, expected) in [
            (
                &["usr/src/linux-headers-6.1/Makefile"][..],
                "no kernel in it",
            ),
            (&["boot/vmlinuz-6.1"], "no modules of Linux 6.1"),
            (
                &["lib/modules/6.1/kernel/a.ko"],
                "no image (vmlinuz) of Linux 6.1",
            ),
            (
                &["boot/vmlinuz-6.1", "boot/vmlinuz-6.2"],
                "several kernels: 6.1, 6.2",
            ),
        ] {
            let error = check(files).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn headers_are_found_by_the_link_of_the_modules_folder() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "boot/vmlinuz-6.4",
            "lib/modules/6.4/kernel/a.ko",
            "usr/src/linux-6.4-obj/x86_64/default/Makefile",
        ] {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let link = "../../../usr/src/linux-6.4-obj/x86_64/default";
        std::os::unix::fs::symlink(link, dir.path().join("lib/modules/6.4/build")).unwrap();
        let found = find(dir.path()).unwrap().headers.unwrap();
        assert_eq!(found, Path::new("usr/src/linux-6.4-obj/x86_64/default"));
    }
}
