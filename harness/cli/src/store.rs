//! How files of results are written: at once or not at all, so that whoever reads beside it never sees half of one. Knows
//! nothing of what is in them.
use anyhow::Context as _;
use std::io::Write as _;
use std::path::Path;

/// Replaces the file of this name. It ends with a newline.
///
/// # Errors
/// The file system's.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let file = folder.join(name);
    let write = || -> anyhow::Result<()> {
        let mut scratch = tempfile::Builder::new()
            .prefix(".recrash.")
            .tempfile_in(folder)?;
        scratch.write_all(bytes)?;
        if !bytes.ends_with(b"\n") {
            scratch.write_all(b"\n")?;
        }
        // tempfile makes it private; it is as readable as the other files.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        scratch.as_file().set_permissions(mode)?;
        scratch.persist(&file)?;
        Ok(())
    };
    write().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_ends_with_one_newline() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in ["first", "second\n"] {
            replace(folder.path(), "x", bytes.as_bytes()).unwrap();
            let text = std::fs::read_to_string(folder.path().join("x")).unwrap();
            assert_eq!(text, format!("{}\n", bytes.trim_end()));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = replace(Path::new("/nowhere"), "x", b"").unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/x"), "{error:#}");
    }
}
