//! Which compressions a target's makedumpfile has: lzo, snappy and zstd are options of its build. Asks the program
//! itself, run by its own loader with its own libraries; dumps nothing.
use recrash_agent::plan::Compression;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::setup::InitramfsFile;

/// How long it may take to print its version.
const LIMIT: Duration = Duration::from_secs(20);
/// The compressions that are options of its build, as `makedumpfile -v` lists them.
const OPTIONAL: [Compression; 3] = [Compression::Lzo, Compression::Snappy, Compression::Zstd];

/// Why a compression cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// This makedumpfile was built without it.
    #[error("the target's makedumpfile was built without {wanted}; it has {}", has.join(", "))]
    Lacking {
        /// What was asked for.
        wanted: &'static str,
        /// What there is.
        has: Vec<&'static str>,
    },
    /// It cannot be run here.
    #[error("asking the target's makedumpfile for its compressions: {0}")]
    Io(#[from] io::Error),
}

/// Whether it can compress so. Nothing and zlib are in every build, and it is not run for them.
///
/// # Errors
/// [`CompressionError`]
pub fn check(files: &[InitramfsFile], wanted: Compression) -> Result<(), CompressionError> {
    if !OPTIONAL.contains(&wanted) {
        return Ok(());
    }
    let has = offered(&version(files)?);
    if has.contains(&wanted) {
        return Ok(());
    }
    Err(CompressionError::Lacking {
        wanted: wanted.name(),
        has: has.into_iter().map(Compression::name).collect(),
    })
}

/// The compressions in what `makedumpfile -v` prints: a line `lzo enabled` for each option since 1.5.1 (`snappy` 1.5.1,
/// `zstd` 1.7.0); an option that it does not list it does not know.
fn offered(text: &str) -> Vec<Compression> {
    let enabled = |compression: &Compression| {
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(compression.name()) && words.next() == Some("enabled")
        })
    };
    let optional = OPTIONAL.into_iter().filter(enabled);
    [Compression::None, Compression::Zlib]
        .into_iter()
        .chain(optional)
        .collect()
}

/// What `makedumpfile -v` prints.
fn version(files: &[InitramfsFile]) -> io::Result<String> {
    let (_, text) = run(files, &["-v".as_ref()], None, LIMIT)?;
    Ok(text)
}

/// Runs it on the host. The loader is named and the libraries are linked into one folder, so that the host's are not
/// used. `stdin` is what it reads there. Gives whether it ended well, and what it said on stdout and stderr.
///
/// # Errors
/// It cannot be started, or has not ended within `limit`; then it is killed.
pub fn run(
    files: &[InitramfsFile],
    args: &[&OsStr],
    stdin: Option<&Path>,
    limit: Duration,
) -> io::Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    let mut program = None;
    let mut loader = None;
    for file in files {
        let name = Path::new(&file.path).file_name().unwrap_or_default();
        let text = name.to_string_lossy();
        if text == "makedumpfile" {
            program = Some(&file.source);
        } else if text.starts_with("ld-linux") {
            loader = Some(&file.source);
        }
        // The loader is there twice: as the interpreter, and as a library that libc needs.
        match symlink(&file.source, folder.path().join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let program = program.ok_or_else(|| io::Error::other("it is not among its files"))?;
    let mut words: Vec<&OsStr> = Vec::new();
    if loader.is_some() {
        words.extend(["--library-path".as_ref(), folder.path().as_os_str()]);
        words.push(program.as_os_str());
    }
    words.extend(args);
    let command = duct::cmd(loader.unwrap_or(program), words);
    let command = match stdin {
        Some(file) => command.stdin_path(file),
        None => command.stdin_null(),
    };
    let handle = command
        .stderr_to_stdout()
        .stdout_capture()
        .unchecked()
        .start()?;
    let begin = Instant::now();
    loop {
        if let Some(output) = handle.try_wait()? {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok((output.status.success(), text));
        }
        if begin.elapsed() > limit {
            handle.kill()?;
            let seconds = limit.as_secs();
            return Err(io::Error::other(format!("no end within {seconds} s")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn check(script: &str, wanted: Compression) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("makedumpfile");
        std::fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&source, PermissionsExt::from_mode(0o755)).unwrap();
        let file = InitramfsFile {
            path: "/usr/bin/makedumpfile".into(),
            source,
            mode: 0o755,
        };
        super::check(&[file], wanted).map_err(|error| error.to_string())
    }

    const VERSION: &str = "echo 'makedumpfile: version 1.7.2 (released on 17 Nov 2022)'\n\
        printf 'lzo\\tenabled\\nsnappy\\tdisabled\\nzstd\\tdisabled\\n'";

    #[test]
    fn what_is_enabled_can_be_had() {
        assert_eq!(check(VERSION, Compression::Lzo), Ok(()));
    }

    #[test]
    fn what_is_disabled_or_not_listed_is_refused_with_what_there_is() {
        let error = check(VERSION, Compression::Snappy).unwrap_err();
        assert!(
            error.ends_with("without snappy; it has none, zlib, lzo"),
            "{error}"
        );
        let error = check("echo makedumpfile: version 1.4", Compression::Zstd).unwrap_err();
        assert!(
            error.ends_with("without zstd; it has none, zlib"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_there_twice_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let file = |folder: &str| InitramfsFile {
            path: format!("/{folder}/makedumpfile"),
            source: dir.path().join("makedumpfile"),
            mode: 0o755,
        };
        let files = [file("bin"), file("usr/bin")];
        std::fs::write(&files[0].source, format!("#!/bin/sh\n{VERSION}\n")).unwrap();
        let mode = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&files[0].source, mode).unwrap();
        super::check(&files, Compression::Lzo).unwrap();
    }

    #[test]
    fn what_every_build_has_is_not_asked_for() {
        assert_eq!(check("exit 1", Compression::Zlib), Ok(()));
        assert_eq!(check("exit 1", Compression::None), Ok(()));
    }

    #[test]
    fn a_makedumpfile_that_cannot_be_run_is_an_error_of_its_own() {
        let error = super::check(&[], Compression::Lzo).unwrap_err();
        assert!(matches!(error, CompressionError::Io(_)), "{error}");
    }
}
