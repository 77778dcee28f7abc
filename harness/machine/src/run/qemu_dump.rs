//! The dump that QEMU writes of a guest that it has stopped: the commands for it, the bytes as they come through a
//! pipe, and when it is whole. Decides no stage; reads nothing inside the dump.
//! Commands and events: QEMU's `qapi/dump.json`.
use recrash_agent::plan::Compression;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::fd::OwnedFd;

use super::capture::{CaptureError, Whole, hex};
use crate::qemu::formats;
use crate::qemu::qmp::QmpCommand;

/// QEMU's name for the descriptor that it writes to.
const FD_NAME: &str = "vmcore";
/// Room in the pipe, in bytes; as much as a user without privileges may have.
const PIPE_BYTES: usize = 1 << 20;

/// What becomes a hole in the file.
const ZEROS: [u8; 4096] = [0; 4096];

/// What QEMU's control socket is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    /// Stop the guest.
    Stop,
    /// Begin the dump.
    Dump,
    /// Let the guest go on.
    Continue,
    /// Save the whole machine ([`super::guest::snapshot`]).
    Save,
    /// Restore it.
    Restore,
}

impl Errand {
    /// The commands, in order, where they are the same each time.
    pub(super) fn commands(self) -> Vec<QmpCommand> {
        match self {
            Self::Stop => vec![QmpCommand::plain("stop")],
            Self::Continue => vec![QmpCommand::plain("cont")],
            Self::Dump | Self::Save | Self::Restore => Vec::new(),
        }
    }
}

/// A pipe for the dump and the commands that have QEMU write into it. A descriptor that is handed over, not a path: so
/// nobody can put another file there, and what is hashed is what QEMU wrote.
///
/// # Errors
/// No pipe can be made.
pub(super) fn begin(compression: Compression) -> io::Result<(PipeReader, Vec<QmpCommand>)> {
    let (reader, writer) = io::pipe()?;
    // A smaller pipe is slower, nothing more.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES);
    let format = formats::name(compression)
        .ok_or_else(|| io::Error::other("QEMU has no such compression"))?;
    let pass = QmpCommand {
        name: "getfd",
        arguments: json!({"fdname": FD_NAME}),
        fd: Some(OwnedFd::from(writer)),
    };
    let dump = QmpCommand {
        name: "dump-guest-memory",
        arguments: json!({
            "paging": false,
            "protocol": format!("fd:{FD_NAME}"),
            "detach": true,
            "format": format,
        }),
        fd: None,
    };
    Ok((reader, vec![pass, dump]))
}

/// Copies the dump to `file` until the pipe ends, hashed on the way. Zeros become holes, of which most of a guest's memory
/// is. `progress` gets the number of bytes so far.
///
/// # Errors
/// [`CaptureError`]; what had arrived stays in the file.
pub(super) fn receive(
    mut pipe: impl Read,
    file: &mut File,
    limit: u64,
    mut progress: impl FnMut(u64),
) -> Result<Whole, CaptureError> {
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    let mut buffer = vec![0; PIPE_BYTES];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(CaptureError::Read { bytes, source }),
        };
        if bytes.saturating_add(count as u64) > limit {
            return Err(CaptureError::TooLarge { limit });
        }
        let piece = buffer.get(..count).unwrap_or_default();
        write_sparse(file, piece).map_err(|source| CaptureError::Write { bytes, source })?;
        hash.update(piece);
        bytes += count as u64;
        progress(bytes);
    }
    if bytes == 0 {
        return Err(CaptureError::Nothing);
    }
    // A hole at the end is no part of the file until its length says so.
    file.set_len(bytes)
        .map_err(|source| CaptureError::Write { bytes, source })?;
    Ok(Whole {
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

/// Writes at the file's position and moves it; pieces of zeros are passed over.
fn write_sparse(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    // Slices are compared by memcmp, which even a build without optimisation has in its fast form.
    let is_zero = |piece: &&[u8]| ZEROS.get(..piece.len()) == Some(*piece);
    let length = |pieces: &mut dyn Iterator<Item = &[u8]>| pieces.map(<[u8]>::len).sum::<usize>();
    while !bytes.is_empty() {
        let zeros = length(&mut bytes.chunks(ZEROS.len()).take_while(is_zero));
        let (hole, rest) = bytes.split_at(zeros);
        file.seek_relative(i64::try_from(hole.len()).unwrap_or(i64::MAX))?;
        let data = length(&mut rest.chunks(ZEROS.len()).take_while(|piece| !is_zero(piece)));
        let (data, rest) = rest.split_at(data);
        file.write_all(data)?;
        bytes = rest;
    }
    Ok(())
}

/// What is known of the dump: it is whole once QEMU has said so and the pipe has ended.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: bool,
    arrived: Option<Whole>,
}

impl Progress {
    /// The pipe has ended with these bytes.
    pub(super) fn arrived(&mut self, whole: Whole) {
        self.arrived = Some(whole);
    }

    /// QEMU's `DUMP_COMPLETED`.
    ///
    /// # Errors
    /// Its reason, where it says that the dump failed.
    pub(super) fn completed(&mut self, data: &Map<String, Value>) -> Result<(), String> {
        let result = data.get("result");
        let part = |name: &str| result.and_then(|result| result.get(name));
        let bytes = |name: &str| part(name).and_then(Value::as_u64);
        let well = part("status").and_then(Value::as_str) == Some("completed");
        if let Some(reason) = data.get("error").and_then(Value::as_str) {
            return Err(format!("QEMU could not write its dump: {reason}"));
        }
        if !well || bytes("completed") != bytes("total") {
            let said = result.cloned().unwrap_or_default();
            return Err(format!("QEMU did not write all of its dump: {said}"));
        }
        self.told = true;
        Ok(())
    }

    /// The dump, if whole.
    pub(super) fn whole(&self) -> Option<&Whole> {
        self.arrived.as_ref().filter(|_| self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: Value, expected: Result<(), &str>) {
        let Value::Object(data) = event else {
            panic!("not an object");
        };
        let mut progress = Progress::default();
        progress.arrived(Whole {
            bytes: 1,
            sha256: String::new(),
        });
        let found = progress.completed(&data);
        assert_eq!(progress.whole().is_some(), expected.is_ok());
        match (found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn only_a_dump_that_qemu_calls_completed_is_whole() {
        let result = |status: &str, completed: u64| json!({"result": {"status": status, "completed": completed, "total": 9}});
        check(result("completed", 9), Ok(()));
        check(result("completed", 8), Err("did not write all"));
        check(result("failed", 9), Err("did not write all"));
        check(json!({}), Err("did not write all"));
        let failed = json!({"result": {"status": "failed"}, "error": "no space"});
        check(failed, Err("no space"));
    }

    #[test]
    fn a_dump_that_has_not_all_arrived_is_not_whole() {
        let mut progress = Progress::default();
        let Value::Object(data) =
            json!({"result": {"status": "completed", "completed": 9, "total": 9}})
        else {
            panic!("not an object");
        };
        progress.completed(&data).unwrap();
        assert!(progress.whole().is_none());
    }

    #[test]
    fn bytes_are_kept_and_hashed_up_to_the_limit() {
        let mut file = tempfile::tempfile().unwrap();
        let whole = receive(&[7_u8; 1000][..], &mut file, 1000, |_| {}).unwrap();
        assert_eq!(whole.bytes, 1000);
        assert_eq!(whole.sha256, hex(&Sha256::digest([7; 1000])));
        let much = receive(&[7_u8; 1000][..], &mut file, 999, |_| {});
        assert!(matches!(much, Err(CaptureError::TooLarge { limit: 999 })));
        let nothing = receive(&[][..], &mut file, 999, |_| {});
        assert!(matches!(nothing, Err(CaptureError::Nothing)));
    }

    #[test]
    fn zeros_take_no_room_and_are_zeros_all_the_same() {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = vec![0; 1 << 20];
        for at in [0, 5000, 300_000, 300_001] {
            bytes[at] = 7;
        }
        let mut file = tempfile::tempfile().unwrap();
        let whole = receive(&bytes[..], &mut file, 1 << 20, |_| {}).unwrap();
        assert_eq!(whole.sha256, hex(&Sha256::digest(&bytes)));
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 18);
        let mut kept = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut kept).unwrap();
        assert!(kept == bytes, "the file holds what was sent");
    }

    #[test]
    fn qemu_gets_a_descriptor_and_no_path() {
        let (_reader, commands) = begin(Compression::Zlib).unwrap();
        assert_eq!(commands[0].name, "getfd");
        assert!(commands[0].fd.is_some());
        assert_eq!(commands[1].arguments["protocol"], "fd:vmcore");
        assert_eq!(commands[1].arguments["format"], "kdump-zlib");
        assert!(begin(Compression::Zstd).is_err());
    }
}
