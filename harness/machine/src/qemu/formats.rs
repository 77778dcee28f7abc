//! Which forms of dump this QEMU can write: lzo and snappy are options of its build. Asks QEMU itself, without a
//! guest; dumps nothing.
use recrash_agent::plan::Compression;
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::process::{Launch, Process};
use super::qmp::{Qmp, QmpError};
use crate::run::StopFlag;

/// How long QEMU may take to start and answer: 0.1 s on a quiet machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a form cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// This QEMU was built without it.
    #[error("this QEMU writes no dumps compressed with {wanted}; it has {}", has.join(", "))]
    Lacking {
        /// What was asked for.
        wanted: &'static str,
        /// What there is.
        has: Vec<&'static str>,
    },
    /// QEMU cannot be started.
    #[error("asking QEMU for the dumps it writes: {0}")]
    Io(#[from] io::Error),
    /// QEMU does not answer.
    #[error("asking QEMU for the dumps it writes: {0}")]
    Qmp(#[from] QmpError),
}

/// QEMU's name of the form (`DumpGuestMemoryFormat` in QEMU's `qapi/dump.json`); `None` where there is none.
#[must_use]
pub fn name(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => Some("elf"),
        Compression::Zlib => Some("kdump-zlib"),
        Compression::Lzo => Some("kdump-lzo"),
        Compression::Snappy => Some("kdump-snappy"),
        Compression::Zstd => None,
    }
}

/// Whether this QEMU can compress a dump so. ELF and zlib are in every build, and nothing is started for them.
///
/// # Errors
/// [`FormatError`]
pub fn check(program: &OsString, wanted: Compression) -> Result<(), FormatError> {
    if matches!(wanted, Compression::None | Compression::Zlib) {
        return Ok(());
    }
    let has = offered(&ask(program)?);
    if has.contains(&wanted) {
        return Ok(());
    }
    Err(FormatError::Lacking {
        wanted: wanted.name(),
        has: has.into_iter().map(Compression::name).collect(),
    })
}

/// The compressions in an answer to `query-dump-guest-memory-capability`.
fn offered(answer: &Value) -> Vec<Compression> {
    let formats = answer.get("formats").and_then(Value::as_array);
    let names: Vec<&str> = formats
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut offered = Compression::ALL.to_vec();
    offered.retain(|&compression| name(compression).is_some_and(|name| names.contains(&name)));
    offered
}

fn ask(program: &OsString) -> Result<Value, FormatError> {
    let (near, far) = UnixStream::pair()?;
    let chardev = format!("socket,id=qmp,fd={}", far.as_raw_fd());
    let args = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-machine",
        "none",
        "-S",
        "-chardev",
        &chardev,
        "-mon",
        "chardev=qmp,mode=control",
    ];
    let launch = Launch {
        program: program.clone(),
        args: args.iter().map(Into::into).collect(),
        cwd: "/".into(),
        log: tempfile::tempfile()?,
        inherit: vec![far.into()],
    };
    // Killed when it is dropped.
    let _process = Process::start(launch, |_| {})?;
    let never = StopFlag::default();
    let mut qmp = Qmp::connect(near, LIMIT, &never, |_| {})?;
    Ok(qmp.execute("query-dump-guest-memory-capability", LIMIT, &never)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(formats: &Value, expected: &[Compression]) {
        assert_eq!(offered(formats), expected, "{formats}");
    }

    #[test]
    fn what_qemu_offers_is_known_by_its_compression() {
        check(
            &json!({"formats": ["elf", "kdump-zlib", "kdump-snappy", "win-dmp"]}),
            &[Compression::None, Compression::Zlib, Compression::Snappy],
        );
    }

    #[test]
    fn an_answer_of_another_form_offers_nothing() {
        check(&json!({"formats": "elf"}), &[]);
        check(&json!(null), &[]);
    }

    #[test]
    fn a_missing_qemu_is_an_error_and_not_a_missing_form() {
        let program = "/nonexistent/qemu".into();
        let error = super::check(&program, Compression::Lzo).unwrap_err();
        assert!(matches!(error, FormatError::Io(_)), "{error}");
        assert!(super::check(&program, Compression::Zlib).is_ok());
    }

    #[test]
    fn the_qemu_of_this_machine_answers() {
        let program = "qemu-system-x86_64".into();
        // A machine without QEMU has nothing to ask.
        match super::ask(&program) {
            Ok(answer) => assert!(offered(&answer).contains(&Compression::Zlib), "{answer}"),
            Err(FormatError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
            Err(error) => panic!("{error}"),
        }
    }
}
