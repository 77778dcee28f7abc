//! Where debug packages put what belongs to a build. Knows places and names; opens no file.
//!
//! Release and build id come from a dump, so neither reaches a path before it is known to be a plain name.
use recrash_kernel::open::build_id::hexadecimal;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Folders and files of a module tree that are looked at; a full one has some 4,500.
const TREE_MAX: usize = 40_000;
/// Depth of a module tree.
const DEPTH_MAX: usize = 12;

/// Where the vmlinux of a build may lie, best place first.
pub(super) fn vmlinux(dir: &Path, release: Option<&str>, build_id: &[u8]) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = by_build_id(dir, build_id).into_iter().collect();
    if let Some(release) = release.filter(|release| is_plain(release)) {
        let named = [
            format!("boot/vmlinux-{release}"),
            format!("boot/vmlinux-{release}.debug"),
            format!("lib/modules/{release}/vmlinux"),
            format!("lib/modules/{release}/vmlinux.debug"),
            format!("usr/lib/modules/{release}/vmlinux.debug"),
            format!("vmlinux-{release}"),
        ];
        places.extend(named.map(|place| dir.join(place)));
    }
    places
}

/// `.build-id/xx/yyyy.debug`, as gdb and others look files up.
pub(super) fn by_build_id(dir: &Path, build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id
        .split_first()
        .filter(|(_, rest)| !rest.is_empty())?;
    let rest = hexadecimal(rest);
    Some(dir.join(format!(".build-id/{first:02x}/{rest}.debug")))
}

/// The module files of a release, by [`module_key`].
pub(super) fn modules(dir: &Path, release: Option<&str>) -> HashMap<String, PathBuf> {
    let mut found = HashMap::new();
    let Some(release) = release.filter(|release| is_plain(release)) else {
        return found;
    };
    let roots = ["lib/modules", "usr/lib/modules"];
    let mut open: Vec<(PathBuf, usize)> = roots
        .iter()
        .map(|root| (dir.join(root).join(release), 0))
        .collect();
    let mut seen = 0;
    while let Some((folder, depth)) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > TREE_MAX {
                return found;
            }
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            // A link to a folder is not followed, so the walk ends.
            if kind.is_dir() && depth < DEPTH_MAX {
                open.push((entry.path(), depth + 1));
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = name.strip_suffix(".debug").unwrap_or(&name);
            if let Some(name) = name.strip_suffix(".ko") {
                found.entry(module_key(name)).or_insert(entry.path());
            }
        }
    }
    found
}

/// A module's name as the kernel writes it: with underscores, however its file is called.
pub(super) fn module_key(name: &str) -> String {
    name.replace('-', "_")
}

/// A release as kernels have them, which is also a name that leaves no folder.
fn is_plain(release: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    !release.is_empty() && !release.starts_with('.') && release.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_looked_for_by_its_id_first() {
        let places = vmlinux(Path::new("/d"), Some("6.1.0-56-amd64"), &[0xab, 1, 2]);
        assert_eq!(places[0], Path::new("/d/.build-id/ab/0102.debug"));
        assert!(places.contains(&PathBuf::from("/d/boot/vmlinux-6.1.0-56-amd64")));
        assert!(places.contains(&PathBuf::from("/d/lib/modules/6.1.0-56-amd64/vmlinux")));
    }

    #[test]
    fn a_release_that_would_leave_the_folder_is_not_looked_for() {
        for release in ["../../etc", "..", "", "a/b", ".hidden", "a\0b", "6.1 x"] {
            assert_eq!(
                vmlinux(Path::new("/d"), Some(release), &[1]),
                Vec::<PathBuf>::new()
            );
        }
    }

    #[test]
    fn modules_are_found_by_the_name_the_kernel_gives_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("lib/modules/6.1/kernel/drivers/usb");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("xhci-hcd.ko.debug"), "").unwrap();
        std::fs::write(folder.join("usbcore.ko"), "").unwrap();
        std::fs::write(folder.join("notes.txt"), "").unwrap();
        let found = modules(dir.path(), Some("6.1"));
        let mut names: Vec<&str> = found.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["usbcore", "xhci_hcd"]);
        assert_eq!(module_key("xhci-hcd"), "xhci_hcd");
        assert!(modules(dir.path(), Some("../6.1")).is_empty());
    }
}
