//! Finds the recrash checkout: `repro-module/`, `qemu/`, `golden/`.
use super::SetupError;
use std::path::{Path, PathBuf};

/// The checkout to read from: [`here`], else where the binary was built.
///
/// # Errors
/// [`SetupError::NoRoot`] says where it was looked for.
pub fn find() -> Result<PathBuf, SetupError> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    match here() {
        Err(error) if std::env::var_os("RECRASH_ROOT").is_some() => Err(error),
        Err(error) => above(built).ok_or(error),
        found => found,
    }
}

/// The checkout that the caller works in: `$RECRASH_ROOT`, else the nearest folder above the current one. What a
/// person will review is written only there.
///
/// # Errors
/// [`SetupError::NoRoot`] says where it was looked for.
pub fn here() -> Result<PathBuf, SetupError> {
    if let Some(root) = std::env::var_os("RECRASH_ROOT") {
        let root = PathBuf::from(root);
        return if is_root(&root) {
            Ok(root)
        } else {
            Err(SetupError::NoRoot(format!(
                "RECRASH_ROOT is {}, which holds no qemu/targets and repro-module",
                root.display()
            )))
        };
    }
    let current = std::env::current_dir().unwrap_or_default();
    above(&current).ok_or_else(|| {
        SetupError::NoRoot(format!(
            "no recrash checkout (qemu/targets and repro-module) in or above {}; go to one, or set RECRASH_ROOT",
            current.display()
        ))
    })
}

fn above(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .find(|dir| is_root(dir))
        .map(Path::to_path_buf)
}

fn is_root(dir: &Path) -> bool {
    dir.join("qemu/targets").is_dir() && dir.join("repro-module").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_found_from_a_folder_inside_it() {
        let dir = tempfile::tempdir().unwrap();
        for inside in ["qemu/targets", "repro-module", "harness/cli/src"] {
            std::fs::create_dir_all(dir.path().join(inside)).unwrap();
        }
        assert_eq!(
            above(&dir.path().join("harness/cli/src")).as_deref(),
            Some(dir.path())
        );
    }

    #[test]
    fn a_folder_outside_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(above(dir.path()), None);
    }
}
