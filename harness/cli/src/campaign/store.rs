//! How a campaign's files are written: at once or not at all, so that whoever reads beside it never sees half of one.
//! Knows nothing of what is in them.
use anyhow::Context;
use std::io::Write;
use std::path::Path;

/// Replaces the file of this name, and ends it with a newline.
///
/// # Errors
/// The file system's.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let file = folder.join(name);
    let mut scratch = tempfile::Builder::new()
        .prefix(".campaign.")
        .tempfile_in(folder)?;
    scratch.write_all(bytes)?;
    scratch.write_all(b"\n")?;
    // tempfile makes it private; it is as readable as the other files.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    scratch.as_file().set_permissions(mode)?;
    scratch
        .persist(&file)
        .with_context(|| file.display().to_string())?;
    Ok(())
}
