//! How a dying guest's memory is saved: by which of the two ways, and in which form. What a target and a command
//! line ask for becomes a [`Capture`] here, or an error that says what goes. Saves nothing itself.
use recrash_agent::plan::Compression;
use serde::{Deserialize, Serialize};
use std::fmt;

/// makedumpfile's `-d`: bits for zero pages, cache, private cache, user data and free pages (makedumpfile(8)).
pub const MAX_LEVEL: u8 = 31;
/// Where QEMU has its pvpanic device unless told otherwise (docs/specs/pvpanic.txt).
const PVPANIC_PORT: u16 = 0x505;
/// Kernel parameter that reserves memory for a capture kernel.
const CRASHKERNEL: &str = "crashkernel=";

/// Who writes the vmcore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMode {
    /// A second kernel in the guest, as on a real machine.
    #[default]
    Kdump,
    /// QEMU, which stops the guest as it dies. There is no second kernel.
    Qemu,
    /// QEMU first, then the second kernel: two dumps of one death.
    Both,
}

impl CaptureMode {
    /// Whether QEMU writes one.
    #[must_use]
    pub fn by_qemu(self) -> bool {
        self != Self::Kdump
    }

    /// Whether a second kernel writes one.
    #[must_use]
    pub fn by_kdump(self) -> bool {
        self != Self::Qemu
    }
}

impl fmt::Display for CaptureMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kdump => "kdump",
            Self::Qemu => "qemu",
            Self::Both => "both",
        })
    }
}

/// By what QEMU learns that the guest dies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopBy {
    /// repro-module tells a pvpanic device, before anything else runs.
    #[default]
    Module,
    /// The console says that the panic is over; the kernel then turns in place.
    Console,
}

impl fmt::Display for StopBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Module => "module",
            Self::Console => "console",
        })
    }
}

/// What is asked for, on the command line or in a target; what is absent is left to the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Who writes.
    pub mode: Option<CaptureMode>,
    /// By what QEMU learns of the death.
    pub stop_by: Option<StopBy>,
    /// How pages are compressed.
    pub compression: Option<Compression>,
    /// Which pages makedumpfile leaves out.
    pub level: Option<u8>,
}

/// What makedumpfile is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdumpForm {
    /// How pages are compressed.
    pub compression: Compression,
    /// Which pages are left out.
    pub level: u8,
}

/// The default: what makedumpfile is commonly run with.
impl Default for KdumpForm {
    fn default() -> Self {
        Self {
            compression: Compression::Lzo,
            level: MAX_LEVEL,
        }
    }
}

/// How a run captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Who writes.
    pub mode: CaptureMode,
    /// By what QEMU learns of the death; `None` where it does not write.
    pub stop_by: Option<StopBy>,
    /// What makedumpfile is asked for; `None` where it is not run.
    pub kdump: Option<KdumpForm>,
    /// How QEMU compresses; `None` where it does not write.
    pub qemu: Option<Compression>,
    /// Compression or level were asked for: then nothing else will do.
    pub strict: bool,
}

/// kdump as it always was.
impl Default for Capture {
    fn default() -> Self {
        Self {
            mode: CaptureMode::Kdump,
            stop_by: None,
            kdump: Some(KdumpForm::default()),
            qemu: None,
            strict: false,
        }
    }
}

impl Capture {
    /// Settles what the command line asks for and what the target says. `makedumpfile`: the target brings it.
    ///
    /// # Errors
    /// Two things that do not go together, in words for people. What the target says is only refused where the
    /// command line did not choose another mode.
    pub fn settle(line: Wanted, target: Wanted, makedumpfile: bool) -> Result<Self, String> {
        let mode = line.mode.or(target.mode).unwrap_or_default();
        let stop_by = line.stop_by.or(target.stop_by);
        let compression = line.compression.or(target.compression);
        let level = line.level.or(target.level);
        if let Some(level) = level.filter(|level| *level > MAX_LEVEL) {
            return Err(format!("dump level {level}: expected 0 to {MAX_LEVEL}"));
        }
        if line.stop_by.is_some() && !mode.by_qemu() {
            return Err("--stop-by is about QEMU's dump; use it with --capture qemu".into());
        }
        if line.level.is_some() && !mode.by_kdump() {
            return Err(
                "--dump-level is makedumpfile's; QEMU writes all pages (use --capture kdump or both)".into(),
            );
        }
        if mode == CaptureMode::Both && stop_by == Some(StopBy::Console) {
            return Err(
                "--capture both needs --stop-by module: before the console has told of the death, the capture kernel may run already"
                    .into(),
            );
        }
        if mode.by_qemu() && compression == Some(Compression::Zstd) {
            return Err(
                "QEMU does not compress dumps with zstd; it has none, zlib, and in some builds lzo and snappy"
                    .into(),
            );
        }
        let asked = line.compression.is_some() || line.level.is_some();
        if mode.by_kdump() && !makedumpfile && asked {
            return Err(
                "the target brings no makedumpfile, so its vmcore is the plain ELF file; leave --dump-compression and --dump-level out"
                    .into(),
            );
        }
        let usual = KdumpForm::default();
        let form = KdumpForm {
            compression: compression.unwrap_or(usual.compression),
            level: level.unwrap_or(usual.level),
        };
        Ok(Self {
            mode,
            stop_by: mode.by_qemu().then(|| stop_by.unwrap_or_default()),
            kdump: (mode.by_kdump() && makedumpfile).then_some(form),
            // In every build of QEMU, a tenth of the size, and no slower on a busy disk.
            qemu: mode
                .by_qemu()
                .then(|| compression.unwrap_or(Compression::Zlib)),
            strict: compression.is_some() || level.is_some(),
        })
    }

    /// The first kernel's command line: without a second kernel no memory is set aside for one.
    #[must_use]
    pub fn cmdline(&self, cmdline: &str) -> String {
        if self.mode.by_kdump() {
            return cmdline.to_owned();
        }
        let words = cmdline.split_whitespace();
        let kept: Vec<&str> = words
            .filter(|word| !word.starts_with(CRASHKERNEL))
            .collect();
        kept.join(" ")
    }

    /// The I/O port at which the guest says that it dies, where it does.
    #[must_use]
    pub fn pvpanic(&self) -> Option<u16> {
        (self.stop_by == Some(StopBy::Module)).then_some(PVPANIC_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Wanted = Wanted {
        mode: None,
        stop_by: None,
        compression: None,
        level: None,
    };

    fn check(line: Wanted, target: Wanted, expected: Result<Capture, &str>) {
        let found = Capture::settle(line, target, true);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    fn mode(mode: CaptureMode) -> Wanted {
        Wanted {
            mode: Some(mode),
            ..NOTHING
        }
    }

    #[test]
    fn kdump_is_the_default() {
        check(NOTHING, NOTHING, Ok(Capture::default()));
    }

    #[test]
    fn the_command_line_goes_before_the_target() {
        let qemu = Capture {
            mode: CaptureMode::Qemu,
            stop_by: Some(StopBy::Module),
            kdump: None,
            qemu: Some(Compression::Zlib),
            strict: false,
        };
        check(NOTHING, mode(CaptureMode::Qemu), Ok(qemu));
        check(mode(CaptureMode::Qemu), mode(CaptureMode::Both), Ok(qemu));
    }

    #[test]
    fn one_compression_is_for_both_dumps() {
        let both = Wanted {
            compression: Some(Compression::Snappy),
            level: Some(1),
            ..mode(CaptureMode::Both)
        };
        let expected = Capture {
            mode: CaptureMode::Both,
            stop_by: Some(StopBy::Module),
            kdump: Some(KdumpForm {
                compression: Compression::Snappy,
                level: 1,
            }),
            qemu: Some(Compression::Snappy),
            strict: true,
        };
        check(both, NOTHING, Ok(expected));
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_words() {
        let with = |change: fn(&mut Wanted), wanted: CaptureMode| {
            let mut line = mode(wanted);
            change(&mut line);
            line
        };
        let zstd = |line: &mut Wanted| line.compression = Some(Compression::Zstd);
        check(with(zstd, CaptureMode::Qemu), NOTHING, Err("zstd"));
        let level = |line: &mut Wanted| line.level = Some(1);
        check(with(level, CaptureMode::Qemu), NOTHING, Err("--dump-level"));
        let level = |line: &mut Wanted| line.level = Some(32);
        check(with(level, CaptureMode::Kdump), NOTHING, Err("0 to 31"));
        let console = |line: &mut Wanted| line.stop_by = Some(StopBy::Console);
        check(with(console, CaptureMode::Both), NOTHING, Err("--stop-by"));
        check(with(console, CaptureMode::Kdump), NOTHING, Err("--stop-by"));
    }

    #[test]
    fn a_form_is_refused_where_no_makedumpfile_is() {
        let level = Wanted {
            level: Some(1),
            ..NOTHING
        };
        let error = Capture::settle(level, NOTHING, false).unwrap_err();
        assert!(error.contains("no makedumpfile"), "{error}");
        let plain = Capture::settle(NOTHING, level, false).unwrap();
        assert_eq!(plain.kdump, None);
    }

    #[test]
    fn memory_is_set_aside_for_a_second_kernel_only() {
        let line = "console=ttyS0 crashkernel=128M panic=-1";
        let settled = |wanted| Capture::settle(mode(wanted), NOTHING, true).unwrap();
        let qemu = settled(CaptureMode::Qemu);
        assert_eq!(qemu.cmdline(line), "console=ttyS0 panic=-1");
        assert_eq!(settled(CaptureMode::Both).cmdline(line), line);
    }
}
