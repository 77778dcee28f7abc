//! SHA-256 of files and of whole trees.
use super::SetupError;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Of a file's contents, in hex.
///
/// # Errors
/// When the file cannot be read.
pub fn file(path: &Path) -> Result<String, SetupError> {
    let mut hasher = Sha256::new();
    feed(&mut hasher, path)?;
    Ok(hex(&hasher.finalize()))
}

/// Of all names, link targets and contents below a folder, in hex. Files whose name `skip` holds are
/// passed over.
///
/// # Errors
/// When anything cannot be read.
pub fn tree(root: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<String, SetupError> {
    let mut hasher = Sha256::new();
    walk(&mut hasher, root, root, skip)?;
    Ok(hex(&hasher.finalize()))
}

fn walk(
    hasher: &mut Sha256,
    root: &Path,
    dir: &Path,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<(), SetupError> {
    let entries = std::fs::read_dir(dir).map_err(SetupError::io("reading", dir))?;
    let paths: io::Result<Vec<_>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut paths = paths.map_err(SetupError::io("reading", dir))?;
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap_or(&path);
        if skip(name) {
            continue;
        }
        let kind = path
            .symlink_metadata()
            .map_err(SetupError::io("reading", &path))?;
        // Length first, so that no two trees give the same stream.
        part(hasher, name.as_os_str().as_bytes());
        if kind.is_dir() {
            hasher.update(b"d");
            walk(hasher, root, &path, skip)?;
            hasher.update(b"u");
        } else if kind.is_symlink() {
            let target = std::fs::read_link(&path).map_err(SetupError::io("reading", &path))?;
            hasher.update(b"l");
            part(hasher, target.as_os_str().as_bytes());
        } else {
            hasher.update(b"f");
            part(hasher, file(&path)?.as_bytes());
        }
    }
    Ok(())
}

/// Adds a length and the bytes.
pub(crate) fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn feed(hasher: &mut Sha256, path: &Path) -> Result<(), SetupError> {
    let mut file = std::fs::File::open(path).map_err(SetupError::io("reading", path))?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(SetupError::io("reading", path))?;
        if count == 0 {
            return Ok(());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_file_has_the_known_hash() {
        let file_with_nothing = tempfile::NamedTempFile::new().unwrap();
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(file(file_with_nothing.path()).unwrap(), expected);
    }

    #[test]
    fn a_tree_changes_with_a_name_a_link_and_a_byte() {
        let hash_of = |name: &str, bytes: &str, link: &str| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("d")).unwrap();
            std::fs::write(dir.path().join("d").join(name), bytes).unwrap();
            std::os::unix::fs::symlink(link, dir.path().join("l")).unwrap();
            tree(dir.path(), &|_| false).unwrap()
        };
        let first = hash_of("a", "1", "x");
        assert_eq!(first, hash_of("a", "1", "x"));
        for other in [
            hash_of("b", "1", "x"),
            hash_of("a", "2", "x"),
            hash_of("a", "1", "y"),
        ] {
            assert_ne!(first, other);
        }
    }
}
