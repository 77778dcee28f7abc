//! The golden store: `golden/<case>/<name>.snap`, insta's header above, a signature below.
//!
//! Reads goldens and proposes changes beside them as `.snap.new`; a person accepts. It never
//! writes a golden, and proposes nothing under CI.

use crate::Signature;
use crate::model::TextError;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Goldens are small; anything longer is not one.
const MAX_BYTES: u64 = 1 << 20;

/// Why a golden could not be read or proposed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or folder could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not an insta snapshot.
    #[error("{}:{line}: {what}", file.display())]
    NotASnapshot {
        /// The file.
        file: PathBuf,
        /// 1 is the first line.
        line: usize,
        /// What was expected.
        what: &'static str,
    },
    /// The signature in it is wrong.
    #[error("{}:{line}: {message}", file.display())]
    Signature {
        /// The file.
        file: PathBuf,
        /// 1 is the first line of the file.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// One golden, read.
#[derive(Debug, Clone)]
pub struct Golden {
    /// The `.snap` file.
    pub path: PathBuf,
    /// Its folder's name.
    pub case: String,
    /// Its file name without `.snap`.
    pub name: String,
    /// insta's header, without the `---` lines.
    pub header: String,
    /// What it holds.
    pub signature: Signature,
}

/// Lists the `.snap` files under `root/<case>/`, sorted. Symbolic links are not followed, and what
/// is not a regular file is left out, so nothing outside `root` is listed.
///
/// # Errors
/// A folder that cannot be read.
pub fn list(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for (case, kind) in entries(root)? {
        if !kind.is_dir() {
            continue;
        }
        for (file, kind) in entries(&case)? {
            if kind.is_file() && file.extension().is_some_and(|e| e == "snap") {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A snapshot's two parts, the body not yet read as a signature: it may be of another schema.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// insta's header, without the `---` lines.
    pub header: String,
    /// What stands below it.
    pub body: String,
}

/// Reads one golden.
///
/// # Errors
/// The file is unreadable, not a regular file, over 1 MiB, not UTF-8, no insta snapshot, or holds no valid signature.
pub fn read(path: &Path) -> Result<Golden, StoreError> {
    let Snapshot { header, body } = read_snapshot(path)?;
    // Two `---` lines and the header stand above the body.
    let above = header.lines().count() + 2;
    let signature = Signature::from_toml(&body).map_err(|error| {
        let (line, message) = match error {
            TextError::Invalid { line, message } => (above + line, message),
            other => (above + 1, other.to_string()),
        };
        StoreError::Signature {
            file: path.to_owned(),
            line,
            message,
        }
    })?;
    let part =
        |name: Option<&std::ffi::OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
    Ok(Golden {
        path: path.to_owned(),
        case: part(path.parent().and_then(Path::file_name)),
        name: part(path.file_stem()),
        header,
        signature,
    })
}

/// Reads a snapshot whose body may be of any schema.
///
/// # Errors
/// The file is unreadable, not a regular file, over 1 MiB, not UTF-8, or no insta snapshot.
pub fn read_snapshot(path: &Path) -> Result<Snapshot, StoreError> {
    let io = |source| StoreError::Io {
        file: path.to_owned(),
        source,
    };
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(io::Error::other("not a regular file: not a golden")));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io(io::Error::other("over 1 MiB: not a golden")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        StoreError::NotASnapshot {
            file: path.to_owned(),
            line: before.filter(|&&byte| byte == b'\n').count() + 1,
            what: "expected UTF-8 text",
        }
    })?;
    let text = text.replace("\r\n", "\n");
    let (header, body) = split(&text).map_err(|(line, what)| StoreError::NotASnapshot {
        file: path.to_owned(),
        line,
        what,
    })?;
    Ok(Snapshot {
        header: header.to_owned(),
        body: body.to_owned(),
    })
}

/// Writes `signature` below `header` as the snapshot `file`, whole or not at all. For a person's order only: runs
/// propose.
///
/// # Errors
/// It cannot be written, or is a symbolic link.
pub fn write(file: &Path, header: &str, signature: &Signature) -> Result<(), StoreError> {
    let body = signature.to_toml().map_err(|error| StoreError::Signature {
        file: file.to_owned(),
        line: 1,
        message: error.to_string(),
    })?;
    let io = |source| StoreError::Io {
        file: file.to_owned(),
        source,
    };
    // A link is a person's doing: it is neither written through nor replaced.
    if fs::symlink_metadata(file).is_ok_and(|meta| meta.is_symlink()) {
        return Err(io(io::Error::other("is a symbolic link: not written")));
    }
    replace(file, &format!("---\n{header}---\n{body}")).map_err(io)
}

/// Whether this process runs under CI (`CI` set, and not to nothing, `0` or `false`).
pub fn under_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "0" && v != "false")
}

/// Writes `signature` as `<golden>.snap.new` beside `golden`, for review; nothing if `ci` (see
/// [`under_ci`]) or if the golden says the same. It appears whole, in place of an earlier one. Returns the proposal's path.
///
/// # Errors
/// The proposal cannot be written.
pub fn propose(
    golden: &Golden,
    signature: &Signature,
    ci: bool,
) -> Result<Option<PathBuf>, StoreError> {
    if ci || golden.signature == *signature {
        return Ok(None);
    }
    write_proposal(&golden.path, &golden.header, signature).map(Some)
}

/// Proposes a golden that there may not be yet, `root/case/name.snap`; see [`propose`].
///
/// # Errors
/// `case` or `name` is no plain file name, the golden there is not readable, or the proposal cannot be written.
pub fn propose_as(
    root: &Path,
    case: &str,
    name: &str,
    signature: &Signature,
    ci: bool,
) -> Result<Option<PathBuf>, StoreError> {
    let plain = |word: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !word.is_empty() && word.len() <= 128 && !word.starts_with('.') && word.bytes().all(allowed)
    };
    let folder = root.join(case);
    let path = folder.join(format!("{name}.snap"));
    let io = |source| StoreError::Io {
        file: path.clone(),
        source,
    };
    if !plain(case) || !plain(name) {
        return Err(io(io::Error::other(
            "expected CASE/NAME of letters, digits, `-`, `_` and `.`",
        )));
    }
    if path.is_file() {
        return propose(&read(&path)?, signature, ci);
    }
    if ci {
        return Ok(None);
    }
    fs::create_dir_all(&folder).map_err(io)?;
    write_proposal(&path, HEADER, signature).map(Some)
}

/// insta's header of a golden that is new.
const HEADER: &str = "source: golden/golden.rs\n";

fn write_proposal(
    golden: &Path,
    header: &str,
    signature: &Signature,
) -> Result<PathBuf, StoreError> {
    let mut file = golden.as_os_str().to_owned();
    file.push(".new");
    let file = PathBuf::from(file);
    write(&file, header, signature)?;
    Ok(file)
}

/// Writes `file` whole or not at all: parallel runs may propose at the same time, and a reader must
/// not see a part. The last one stands.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".proposal-")
        .suffix(".tmp")
        // As any new file: the process's umask takes its part.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}

/// Header and body, or the line and what was expected there.
fn split(text: &str) -> Result<(&str, &str), (usize, &'static str)> {
    let rest = text
        .strip_prefix("---\n")
        .ok_or((1, "an insta snapshot begins with a line of `---`"))?;
    if let Some(body) = rest.strip_prefix("---\n") {
        return Ok(("", body));
    }
    let end = rest.find("\n---\n").ok_or((
        text.lines().count().max(1),
        "the header is not closed by a line of `---`",
    ))?;
    let (header, rest) = rest.split_at(end + 1);
    Ok((header, rest.strip_prefix("---\n").unwrap_or_default()))
}

/// What lies in a folder, and what each is; a link is a link.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, StoreError> {
    let io = |source| StoreError::Io {
        file: folder.to_owned(),
        source,
    };
    let listing = fs::read_dir(folder).map_err(io)?;
    listing
        .map(|entry| {
            let entry = entry.map_err(io)?;
            Ok((entry.path(), entry.file_type().map_err(io)?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
