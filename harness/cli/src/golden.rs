//! Finds the golden that a command line or a target names, and proposes one under the name that a person gives it.
//! Reading and writing it is the store's work.
use anyhow::{Context as _, anyhow};
use recrash_signature::Signature;
use recrash_signature::store::{self, Golden};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::output;

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
    named(folder, wanted)
}

/// The golden of this name; a path is none.
///
/// # Errors
/// As [`find`]'s.
pub(crate) fn named(folder: &Path, wanted: &str) -> Result<Golden, Failure> {
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

/// Proposes `signature` as the golden `CASE/NAME` of `folder`, for review, and says so on stderr; `evidence` is kept
/// beside it, unless other evidence is there. Under CI nothing is written.
///
/// # Errors
/// The name is not of that form, or a file cannot be written.
pub(crate) fn propose(
    folder: &Path,
    wanted: &str,
    signature: &Signature,
    evidence: Option<&str>,
) -> Result<(), Failure> {
    let (case, name) = wanted
        .split_once('/')
        .ok_or_else(|| Failure::usage(anyhow!("{wanted:?} is not of the form CASE/NAME")))?;
    let ci = store::under_ci();
    let proposal = store::propose_as(folder, case, name, signature, ci).map_err(Failure::usage)?;
    output::note(&match &proposal {
        Some(proposal) => format!("proposed: {} (cargo insta review)\n", proposal.display()),
        None if ci => "nothing is proposed under CI\n".into(),
        None => "the golden says the same already\n".into(),
    });
    let Some(evidence) = evidence.filter(|_| !ci) else {
        return Ok(());
    };
    let file = folder.join(case).join(format!("{name}.txt"));
    // A link is a person's doing: it is not written through.
    let there = std::fs::symlink_metadata(&file).is_ok();
    if there && std::fs::read_to_string(&file).ok().as_deref() != Some(evidence) {
        output::note(&format!(
            "{} is there and says something else: left as it is\n",
            file.display()
        ));
    } else if !there {
        std::fs::write(&file, evidence).with_context(|| file.display().to_string())?;
    }
    Ok(())
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

/// `case/name` of a golden's path.
pub(crate) fn full_name(path: &Path) -> String {
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
    fn a_new_golden_is_proposed_with_its_evidence_and_other_evidence_is_left_as_it_is() {
        let golden = include_str!(
            "../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
        );
        let signature = Signature::from_toml(golden.split("---\n").nth(2).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join("case").join(name);
        propose(folder.path(), "case/new", &signature, Some("bt\n")).unwrap();
        propose(folder.path(), "case/new", &signature, Some("other\n")).unwrap();
        if store::under_ci() {
            assert!(!file("new.snap.new").exists() && !file("new.txt").exists());
        } else {
            assert!(file("new.snap.new").is_file());
            assert_eq!(std::fs::read_to_string(file("new.txt")).unwrap(), "bt\n");
        }
        for wrong in ["new", "../new", "case/../new", "/x", "case/"] {
            assert!(
                propose(folder.path(), wrong, &signature, None).is_err(),
                "{wrong}"
            );
        }
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
