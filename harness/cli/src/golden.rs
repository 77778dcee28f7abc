//! Finds the golden that a command line or a target names. Reading it is the store's work.
use anyhow::anyhow;
use recrash_signature::store::{self, Golden};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The golden of this name: a path to a `.snap` file, `case/name`, a case or a name, or the beginning of
/// a name up to a dash (`2022-06-05` for `2022-06-05-usbdev-ioctl`).
///
/// # Errors
/// None or several fit, or it cannot be read.
pub(crate) fn find(folder: &Path, wanted: &str) -> Result<Golden, Failure> {
    let as_path = Path::new(wanted);
    if as_path.extension().is_some_and(|e| e == "snap") && as_path.is_file() {
        return store::read(as_path).map_err(Failure::usage);
    }
    let all = store::list(folder).map_err(Failure::usage)?;
    let path = choose(&all, wanted).map_err(|names| {
        Failure::usage(anyhow!(
            "{wanted:?} names no single golden in {}",
            folder.display()
        ))
        .hint(format!("one of: {}", names.join(", ")))
    })?;
    store::read(&path).map_err(Failure::usage)
}

/// The name by which reports call it.
pub(crate) fn name(golden: &Golden) -> String {
    format!("{}/{}", golden.case, golden.name)
}

/// The one path that fits; otherwise the names of those to choose from.
fn choose(all: &[PathBuf], wanted: &str) -> Result<PathBuf, Vec<String>> {
    let named: Vec<(String, &PathBuf)> = all.iter().map(|path| (full_name(path), path)).collect();
    let exact: Vec<_> = named.iter().filter(|(name, _)| name == wanted).collect();
    let loose: Vec<_> = named
        .iter()
        .filter(|(name, _)| fits(name, wanted))
        .collect();
    match (exact.as_slice(), loose.as_slice()) {
        ([(_, path)], _) | ([], [(_, path)]) => Ok((*path).clone()),
        (_, []) => Err(named.into_iter().map(|(name, _)| name).collect()),
        (_, several) => Err(several.iter().map(|(name, _)| name.clone()).collect()),
    }
}

fn full_name(path: &Path) -> String {
    let case = path.parent().and_then(Path::file_name);
    let case = case.unwrap_or_default().to_string_lossy();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{case}/{name}")
}

fn fits(full: &str, wanted: &str) -> bool {
    let (case, name) = full.split_once('/').unwrap_or(("", full));
    let begins = name
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    !wanted.is_empty() && (case == wanted || begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, expected: Result<&str, &[&str]>) {
        let all: Vec<PathBuf> = [
            "g/usb/2022-06-05-ioctl.snap",
            "g/usb/2022-06-06-xfs.snap",
            "g/other/one.snap",
        ]
        .iter()
        .map(PathBuf::from)
        .collect();
        let found = choose(&all, wanted);
        let found = found.as_ref().map(|path| path.to_str().unwrap());
        assert_eq!(
            found.map_err(|names| names.iter().map(String::as_str).collect::<Vec<_>>()),
            expected.map_err(<[_]>::to_vec),
            "{wanted}"
        );
    }

    #[test]
    fn a_golden_has_many_names() {
        for wanted in ["usb/2022-06-05-ioctl", "2022-06-05-ioctl", "2022-06-05"] {
            check(wanted, Ok("g/usb/2022-06-05-ioctl.snap"));
        }
        check("other", Ok("g/other/one.snap"));
    }

    #[test]
    fn a_name_for_several_lists_them() {
        check("usb", Err(&["usb/2022-06-05-ioctl", "usb/2022-06-06-xfs"]));
    }

    #[test]
    fn a_name_for_none_lists_all() {
        let all: &[&str] = &["usb/2022-06-05-ioctl", "usb/2022-06-06-xfs", "other/one"];
        check("2022-06-0", Err(all));
        check("", Err(all));
    }
}
