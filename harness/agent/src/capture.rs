//! The capture boot: writes the crashed kernel's memory to the vmcore port, with a trailer behind it.
use crate::boot::{wait_for, wait_for_port};
use crate::elf_copy;
use crate::failure::{Doing, Failure};
use crate::report::Reporter;
use recrash_agent::VMCORE_PORT;
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{Compression, Makedumpfile};
use recrash_agent::trailer::Trailer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The crashed kernel's memory as an ELF core file.
const VMCORE: &str = "/proc/vmcore";
/// Where makedumpfile's messages go.
const MESSAGES: &str = "/makedumpfile.log";
/// How long the host may take to fetch the last bytes.
const DRAIN_PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

pub(crate) fn run(
    makedumpfile: Option<&Makedumpfile>,
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    let path = wait_for_port(VMCORE_PORT)?;
    let port = OpenOptions::new()
        .write(true)
        .open(&path)
        .doing(|| format!("opening {}", path.display()))?;
    wait_for(Duration::from_secs(2), || std::fs::metadata(VMCORE).ok()).ok_or_else(|| {
        Failure::new(
            format!("opening {VMCORE}"),
            "not there: no kernel has crashed before this boot",
        )
    })?;

    let mut out = Hashed {
        to: port,
        sha256: Sha256::new(),
        length: 0,
    };
    let mut written = false;
    if let Some(tool) = makedumpfile {
        reporter.report(GuestEvent::DumpStarted {
            tool: "makedumpfile".into(),
        });
        match run_makedumpfile(tool, &mut out) {
            Ok(()) => written = true,
            // The stream can't be taken back; and who asked for a form gets no other.
            Err(failure) if out.length > 0 || tool.strict => return Err(failure),
            Err(failure) => reporter.note(&format!("{failure}; copying {VMCORE} instead")),
        }
    }
    if !written {
        reporter.report(GuestEvent::DumpStarted {
            tool: "elf-copy".into(),
        });
        let source = File::open(VMCORE).doing(|| format!("opening {VMCORE}"))?;
        let size = source
            .metadata()
            .doing(|| format!("asking for the size of {VMCORE}"))?
            .len();
        elf_copy::copy(&source, size, &mut out).doing(|| format!("copying {VMCORE}"))?;
    }

    let bytes = out.length;
    let trailer = Trailer {
        length: bytes,
        sha256: out.sha256.finalize().into(),
    };
    let mut port = out.to;
    port.write_all(&trailer.to_bytes())
        .doing(|| "writing the trailer".into())?;
    drain(&port);
    reporter.report(GuestEvent::DumpWritten { bytes });
    Ok(())
}

/// Counts and hashes what goes to the port.
struct Hashed {
    to: File,
    sha256: Sha256,
    length: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sha256.update(bytes.get(..written).unwrap_or(bytes));
        self.length += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// `-F` (flattened) because a port can't seek. Its output comes through a pipe and not straight to the
/// port, so that the bytes that are hashed are the bytes that are sent.
fn run_makedumpfile(tool: &Makedumpfile, out: &mut Hashed) -> Result<(), Failure> {
    let args = arguments(tool);
    let doing = || format!("running {} {}", tool.path, args.join(" "));
    // It copies VMCOREINFO to a file in /tmp first. Where the folder can't be made, its message says so.
    let _ = std::fs::create_dir("/tmp");
    let messages = File::create(MESSAGES).doing(|| format!("creating {MESSAGES}"))?;
    let mut child = Command::new(&tool.path)
        .args(&args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(messages)
        .spawn()
        .doing(doing)?;
    let copied = child.stdout.take().map_or(Ok(()), |from| pump(from, out));
    let status = child.wait().doing(doing)?;
    copied.doing(|| "sending makedumpfile's output".into())?;
    if status.success() && out.length > 0 {
        return Ok(());
    }
    let messages = std::fs::read(MESSAGES).unwrap_or_default();
    let messages = String::from_utf8_lossy(&messages);
    let tail: Vec<&str> = messages
        .split(['\n', '\r'])
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = tail
        .get(tail.len().saturating_sub(4)..)
        .unwrap_or_default()
        .join(" | ");
    Err(Failure::new(
        doing(),
        format!("{status} after {} bytes: {tail}", out.length),
    ))
}

/// makedumpfile(8). Without an option for compression it writes the kdump format with pages as they are.
fn arguments(tool: &Makedumpfile) -> Vec<String> {
    let compress = match tool.compression {
        Compression::None => None,
        Compression::Zlib => Some("-c"),
        Compression::Lzo => Some("-l"),
        Compression::Snappy => Some("-p"),
        Compression::Zstd => Some("-z"),
    };
    let level = tool.level.to_string();
    let before = std::iter::once("-F").chain(compress);
    before
        .chain(["-d", &level, VMCORE])
        .map(str::to_owned)
        .collect()
}

fn pump(mut from: impl Read, out: &mut Hashed) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => out.write_all(buffer.get(..length).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the port takes more, as far as that tells that it has passed on what it has. The last
/// buffers may still lie in the queue; QEMU works off its queues before it ends, and the host checks
/// the trailer.
fn drain(port: &File) {
    let _ = poll(
        &mut [PollFd::new(port, PollFlags::OUT)],
        Some(&DRAIN_PATIENCE),
    );
    rustix::fs::sync();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(compression: Compression, level: u8, expected: &str) {
        let tool = Makedumpfile {
            path: "/m".into(),
            compression,
            level,
            strict: false,
        };
        assert_eq!(arguments(&tool).join(" "), expected);
    }

    #[test]
    fn makedumpfile_is_told_what_was_asked_for() {
        check(Compression::Lzo, 31, "-F -l -d 31 /proc/vmcore");
        check(Compression::Zstd, 1, "-F -z -d 1 /proc/vmcore");
        check(Compression::None, 0, "-F -d 0 /proc/vmcore");
    }
}
