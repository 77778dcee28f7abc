//! Finds out which accelerator really runs a guest: boots 512 bytes under a time limit. That `/dev/kvm` opens
//! proves nothing. Chooses for [`super::args`]; starts no real guest.
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::args::{Accel, SANDBOX, escape};
use super::process::{Launch, Process};

/// How long a tiny guest may take. Through TCG it takes 0.2 s.
const LIMIT_KVM: Duration = Duration::from_secs(3);
/// TCG needs no luck, so a loaded machine gets time.
const LIMIT_TCG: Duration = Duration::from_secs(30);

/// What the tiny guest writes to the exit port; QEMU exits with `value << 1 | 1`
/// (`hw/misc/debugexit.c`).
const EXIT_VALUE: u8 = 0x10;
const EXIT_CODE: i32 = ((EXIT_VALUE as i32) << 1) | 1;

/// Size of the tiny guest's disk. From AHCI, which is what `q35` has, SeaBIOS reads no disk of a few sectors.
const DISK_BYTES: u64 = 1 << 20;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "probe", rename_all = "kebab-case")]
pub enum ProbeResult {
    /// The tiny guest ran to its end.
    Works {
        /// How long it took.
        took_ms: u64,
        /// Whether QEMU confined itself with seccomp.
        sandbox: bool,
    },
    /// The tiny guest ran to its end, but much faster without: KVM that another hypervisor emulates.
    Slow {
        /// How long it took.
        took_ms: u64,
        /// How long TCG took in the same minute.
        tcg_ms: u64,
        /// Whether QEMU confined itself with seccomp.
        sandbox: bool,
    },
    /// It started and did not end.
    Hangs {
        /// How long it had.
        limit_ms: u64,
    },
    /// QEMU would not start it.
    Refused {
        /// QEMU's reason.
        reason: String,
    },
}

impl ProbeResult {
    /// Whether a guest is well run with it.
    #[must_use]
    pub fn works(&self) -> bool {
        matches!(self, Self::Works { .. })
    }

    /// Whether it is worth remembering. A refusal may be mended the next minute (a group, a package), and TCG
    /// hangs only on a host that is overloaded now; a KVM that hangs costs seconds to ask again, and stays so.
    fn lasts(&self, accel: Accel) -> bool {
        match self {
            Self::Works { .. } | Self::Slow { .. } => true,
            Self::Hangs { .. } => accel == Accel::Kvm,
            Self::Refused { .. } => false,
        }
    }
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works { took_ms, .. } => write!(f, "works ({took_ms} ms)"),
            Self::Slow {
                took_ms, tcg_ms, ..
            } => write!(
                f,
                "slow: a tiny guest took {took_ms} ms, and {tcg_ms} ms with TCG"
            ),
            Self::Hangs { limit_ms } => {
                write!(f, "hangs: a tiny guest did not end within {limit_ms} ms")
            }
            Self::Refused { reason } => write!(f, "refused: {reason}"),
        }
    }
}

/// Which accelerator is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccelChoice {
    /// KVM if it works, else TCG.
    #[default]
    Auto,
    /// This one or none.
    Only(Accel),
}

/// The accelerator to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub accel: Accel,
    /// Whether QEMU can confine itself.
    pub sandbox: bool,
    /// What the probe of KVM said, where it is not used though nobody asked for another.
    pub why_not_kvm: Option<String>,
}

/// Why no accelerator can be used.
#[derive(Debug, thiserror::Error)]
pub enum AccelError {
    /// The one wanted does not work.
    #[error("accelerator {accel}: {result}")]
    Unusable {
        /// Which.
        accel: Accel,
        /// What the probe found.
        result: ProbeResult,
    },
    /// The probe itself failed on the host.
    #[error("cannot probe the accelerator: {0}")]
    Io(#[from] io::Error),
}

/// Probes accelerators with the machine and processor that the real guest will have, and remembers what
/// will stay so: in the process, and, as long as the host is not booted anew, in a file.
#[derive(Debug, Clone)]
pub struct Prober {
    /// QEMU.
    pub program: OsString,
    /// `-machine`.
    pub machine_type: String,
    /// `-cpu`.
    pub cpu: String,
    /// Folder for the file, if any.
    pub cache: Option<PathBuf>,
}

/// A remembered result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    key: String,
    result: ProbeResult,
}

static KNOWN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
const CACHE_FILE: &str = "accel.json";

impl Prober {
    /// The accelerator to use.
    ///
    /// # Errors
    /// [`AccelError`]
    pub fn choose(&self, choice: AccelChoice) -> Result<Chosen, AccelError> {
        let mut why_not_kvm = None;
        let accel = match choice {
            AccelChoice::Only(accel) => accel,
            AccelChoice::Auto => match self.probe(Accel::Kvm)? {
                ProbeResult::Works { sandbox, .. } => {
                    return Ok(Chosen {
                        accel: Accel::Kvm,
                        sandbox,
                        why_not_kvm,
                    });
                }
                other => {
                    why_not_kvm = Some(other.to_string());
                    Accel::Tcg
                }
            },
        };
        match self.probe(accel)? {
            // Whoever asks for a slow one gets it.
            ProbeResult::Works { sandbox, .. } | ProbeResult::Slow { sandbox, .. } => Ok(Chosen {
                accel,
                sandbox,
                why_not_kvm,
            }),
            result => Err(AccelError::Unusable { accel, result }),
        }
    }

    /// What is known of an accelerator; probes it if nothing is.
    ///
    /// # Errors
    /// The probe itself failed on the host.
    pub fn probe(&self, accel: Accel) -> io::Result<ProbeResult> {
        let key = self.key(accel);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.iter().find(|entry| entry.key == key) {
            return Ok(entry.result.clone());
        }
        let stored = self.load();
        if let Some(entry) = stored.iter().find(|entry| entry.key == key) {
            known.push(entry.clone());
            return Ok(entry.result.clone());
        }
        let result = self.probe_now(accel)?;
        if result.lasts(accel) {
            let entry = Entry {
                key,
                result: result.clone(),
            };
            self.store(stored, &entry);
            known.push(entry);
        }
        Ok(result)
    }

    /// Probes, whatever is known. An accelerator that refuses the sandbox is tried without.
    ///
    /// # Errors
    /// The probe itself failed on the host.
    pub fn probe_now(&self, accel: Accel) -> io::Result<ProbeResult> {
        if accel == Accel::Kvm && !Path::new("/dev/kvm").exists() {
            return Ok(ProbeResult::Refused {
                reason: "there is no /dev/kvm".into(),
            });
        }
        let limit = match accel {
            Accel::Kvm => LIMIT_KVM,
            Accel::Tcg => LIMIT_TCG,
        };
        let result = match self.boot(accel, limit, true)? {
            ProbeResult::Refused { reason } if reason.contains("sandbox") => {
                self.boot(accel, limit, false)?
            }
            result => result,
        };
        match (accel, result) {
            (Accel::Kvm, ProbeResult::Works { took_ms, sandbox }) => {
                Ok(match self.probe_now(Accel::Tcg)? {
                    ProbeResult::Works {
                        took_ms: tcg_ms, ..
                    } if is_slow(took_ms, tcg_ms) => ProbeResult::Slow {
                        took_ms,
                        tcg_ms,
                        sandbox,
                    },
                    _ => ProbeResult::Works { took_ms, sandbox },
                })
            }
            (_, result) => Ok(result),
        }
    }

    fn boot(&self, accel: Accel, limit: Duration, sandbox: bool) -> io::Result<ProbeResult> {
        let mut disk = tempfile::NamedTempFile::new()?;
        disk.write_all(&boot_sector())?;
        disk.as_file().set_len(DISK_BYTES)?;
        let mut log = tempfile::tempfile()?;
        let begin = Instant::now();
        let (sender, exit) = mpsc::channel();
        let started = Process::start(
            Launch {
                program: self.program.clone(),
                args: self.args(accel, disk.path().as_os_str(), sandbox),
                cwd: "/".into(),
                log: log.try_clone()?,
                inherit: Vec::new(),
            },
            move |status| drop(sender.send(status)),
        );
        let mut process = match started {
            Ok(process) => process,
            Err(error) => {
                return Ok(ProbeResult::Refused {
                    reason: format!("{}: {error}", self.program.to_string_lossy()),
                });
            }
        };
        match exit.recv_timeout(limit) {
            Ok(status) if status.as_ref().is_ok_and(|s| s.code() == Some(EXIT_CODE)) => {
                Ok(ProbeResult::Works {
                    took_ms: millis(begin.elapsed()),
                    sandbox,
                })
            }
            Ok(status) => Ok(ProbeResult::Refused {
                reason: reason(&mut log, &super::process::describe_exit(status?)),
            }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                process.kill();
                Ok(ProbeResult::Hangs {
                    limit_ms: millis(limit),
                })
            }
        }
    }

    /// Firmware and boot sector: the firmware's timers and mode switches are what a broken KVM hangs on; a
    /// guest of one instruction at the reset vector ends well even there.
    fn args(&self, accel: Accel, disk: &OsStr, sandbox: bool) -> Vec<OsString> {
        let mut drive = OsString::from("format=raw,if=ide,file=");
        drive.push(escape(disk));
        let mut args: Vec<OsString> = [
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-m",
            "16M",
            "-machine",
            &self.machine_type,
            "-cpu",
            &self.cpu,
            "-accel",
            &accel.to_string(),
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=1",
        ]
        .iter()
        .map(Into::into)
        .collect();
        if sandbox {
            args.extend(["-sandbox".into(), SANDBOX.into()]);
        }
        args.extend(["-drive".into(), drive]);
        args
    }

    /// What a result depends on.
    fn key(&self, accel: Accel) -> String {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Another user or container may see another /dev/kvm.
        let uid = rustix::process::getuid().as_raw();
        format!(
            "{} {uid} {accel} {} {} {}",
            boot.trim(),
            self.machine_type,
            self.cpu,
            self.program.to_string_lossy()
        )
    }

    fn load(&self) -> Vec<Entry> {
        let Some(cache) = &self.cache else {
            return Vec::new();
        };
        let text = std::fs::read(cache.join(CACHE_FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// A cache that cannot be written costs a probe the next time, nothing more.
    fn store(&self, mut entries: Vec<Entry>, entry: &Entry) {
        let Some(cache) = &self.cache else { return };
        let boot = entry.key.split(' ').next().unwrap_or_default();
        entries.retain(|old| old.key.starts_with(boot) && old.key != entry.key);
        entries.push(entry.clone());
        let _ = (|| -> io::Result<()> {
            std::fs::create_dir_all(cache)?;
            let mut file = tempfile::NamedTempFile::new_in(cache)?;
            serde_json::to_writer(&mut file, &entries)?;
            file.persist(cache.join(CACHE_FILE))?;
            Ok(())
        })();
    }
}

/// Whether KVM is too slow to be used, by how long the tiny guest took with it and with TCG. A sound one takes less than
/// TCG, one inside of another hypervisor somewhat more, as firmware is all exits; where hypervisors emulate it, it takes
/// ten times as long and more, and a kernel does not come up in a minute.
fn is_slow(kvm_ms: u64, tcg_ms: u64) -> bool {
    kvm_ms > tcg_ms.saturating_mul(4)
}

/// QEMU's last words, without its warnings.
fn reason(log: &mut (impl Read + Seek), how: &str) -> String {
    let mut text = String::new();
    let _ = log.seek(SeekFrom::Start(0));
    let _ = log.take(64 * 1024).read_to_string(&mut text);
    let words = text
        .lines()
        .filter(|line| !line.contains("warning:") && !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    if words.is_empty() {
        format!("QEMU {how}")
    } else {
        format!("QEMU {how}: {words}")
    }
}

/// A boot sector that writes [`EXIT_VALUE`] to the exit port.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    // mov al, EXIT_VALUE; out 0xf4, al; hlt; jmp to the hlt
    let code = [0xb0, EXIT_VALUE, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
    for (to, from) in sector.iter_mut().zip(code) {
        *to = from;
    }
    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Probes TCG with a shell script in QEMU's place.
    fn check(script: &str) -> ProbeResult {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        prober(&program)
            .boot(Accel::Tcg, Duration::from_secs(10), true)
            .unwrap()
    }

    fn prober(program: &Path) -> Prober {
        Prober {
            program: program.into(),
            machine_type: "pc".into(),
            cpu: "max".into(),
            cache: None,
        }
    }

    #[test]
    fn the_known_exit_code_means_that_it_works() {
        assert!(check("exit 33").works());
    }

    #[test]
    fn any_other_exit_is_a_refusal_with_qemus_words() {
        let result = check("echo 'qemu: warning: x' >&2; echo 'qemu: no MSR' >&2; exit 1");
        let reason = "QEMU exited with code 1: qemu: no MSR".to_owned();
        assert_eq!(result, ProbeResult::Refused { reason });
    }

    #[test]
    fn a_guest_that_does_not_end_hangs() {
        let mut prober = prober(Path::new("sleep"));
        prober.cpu = "max".into();
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        prober.program = program.into();
        let result = prober
            .boot(Accel::Tcg, Duration::from_millis(50), true)
            .unwrap();
        assert_eq!(result, ProbeResult::Hangs { limit_ms: 50 });
    }

    #[test]
    fn a_missing_qemu_is_a_refusal() {
        let result = prober(Path::new("/nonexistent/qemu"))
            .boot(Accel::Tcg, LIMIT_TCG, true)
            .unwrap();
        assert!(matches!(result, ProbeResult::Refused { .. }), "{result}");
    }

    #[test]
    fn a_build_without_seccomp_is_used_without() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        let script = "#!/bin/sh\ncase \"$*\" in *-sandbox*) echo 'sandbox is not enabled' >&2; exit 1;; esac\nexit 33\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let chosen = prober(&program)
            .choose(AccelChoice::Only(Accel::Tcg))
            .unwrap();
        assert!(!chosen.sandbox);
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        let script = |text: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let mut prober = prober(&program);
        prober.cache = Some(dir.path().into());
        script("echo 'no room' >&2; exit 1");
        let refused = prober.probe(Accel::Tcg).unwrap();
        assert!(matches!(refused, ProbeResult::Refused { .. }), "{refused}");
        assert!(!dir.path().join(CACHE_FILE).exists());
        script("exit 33");
        assert!(prober.probe(Accel::Tcg).unwrap().works());
        assert!(dir.path().join(CACHE_FILE).exists());
    }

    #[test]
    fn kvm_that_is_much_slower_than_tcg_is_used_only_on_demand() {
        assert!(!is_slow(60, 160));
        assert!(!is_slow(500, 160));
        assert!(is_slow(2080, 160));
        let cache = tempfile::tempdir().unwrap();
        let mut prober = prober(Path::new("/nonexistent/qemu"));
        prober.cache = Some(cache.path().into());
        let mut entries = Vec::new();
        for (accel, result) in [
            (
                Accel::Kvm,
                ProbeResult::Slow {
                    took_ms: 2080,
                    tcg_ms: 160,
                    sandbox: true,
                },
            ),
            (
                Accel::Tcg,
                ProbeResult::Works {
                    took_ms: 160,
                    sandbox: true,
                },
            ),
        ] {
            let key = prober.key(accel);
            let entry = Entry { key, result };
            prober.store(entries.clone(), &entry);
            entries.push(entry);
        }
        let chosen = prober.choose(AccelChoice::Auto).unwrap();
        assert_eq!(chosen.accel, Accel::Tcg);
        assert!(chosen.why_not_kvm.unwrap().contains("2080 ms, and 160 ms"));
        let asked_for = prober.choose(AccelChoice::Only(Accel::Kvm)).unwrap();
        assert_eq!(asked_for.accel, Accel::Kvm);
    }

    #[test]
    fn only_kvm_is_known_to_hang() {
        let hangs = ProbeResult::Hangs { limit_ms: 1 };
        assert!(hangs.lasts(Accel::Kvm));
        assert!(!hangs.lasts(Accel::Tcg));
    }

    #[test]
    fn what_was_found_is_remembered_on_disk() {
        let cache = tempfile::tempdir().unwrap();
        let mut prober = prober(Path::new("/nonexistent/qemu"));
        prober.cache = Some(cache.path().into());
        let entry = Entry {
            key: prober.key(Accel::Tcg),
            result: ProbeResult::Works {
                took_ms: 1,
                sandbox: true,
            },
        };
        prober.store(Vec::new(), &entry);
        assert!(prober.probe(Accel::Tcg).unwrap().works());
    }
}
