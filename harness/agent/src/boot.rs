//! What both boots do first: mounts, modules, ports.
use crate::failure::{Doing, Failure};
use crate::report::Reporter;
use crate::sysfs;
use recrash_agent::EVENTS_PORT;
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::ModuleToLoad;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Mount {
    filesystem: &'static str,
    target: &'static str,
    flags: MountFlags,
    required: bool,
}

const PLAIN: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

const MOUNTS: &[Mount] = &[
    Mount {
        filesystem: "proc",
        target: "/proc",
        flags: PLAIN,
        required: true,
    },
    Mount {
        filesystem: "sysfs",
        target: "/sys",
        flags: PLAIN,
        required: true,
    },
    Mount {
        filesystem: "devtmpfs",
        target: "/dev",
        flags: MountFlags::NOSUID,
        required: true,
    },
    Mount {
        filesystem: "debugfs",
        target: "/sys/kernel/debug",
        flags: PLAIN,
        required: false,
    },
];

/// How long a virtio-serial port may take to appear.
const PORT_PATIENCE: Duration = Duration::from_secs(10);

/// Mounts [`MOUNTS`].
pub(crate) fn mount_all() -> Result<(), Failure> {
    for mount in MOUNTS {
        // Fails where it exists, and where it can't be made mounting says so.
        let _ = std::fs::create_dir(mount.target);
        match rustix::mount::mount(
            mount.filesystem,
            mount.target,
            mount.filesystem,
            mount.flags,
            None,
        ) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) if mount.required => {
                return Err(Failure::new(
                    format!("mounting {} on {}", mount.filesystem, mount.target),
                    error,
                ));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Loads modules in order; the events port is opened as soon as it is there.
pub(crate) fn load_modules(
    modules: &[ModuleToLoad],
    reporter: &mut Reporter,
) -> Result<(), Failure> {
    for module in modules {
        load_module(module)?;
        reporter.report(GuestEvent::ModuleLoaded {
            path: module.path.clone(),
        });
        if !reporter.has_port()
            && let Some(port) = sysfs::port(Path::new("/"), EVENTS_PORT)
        {
            reporter
                .open_port(&port)
                .doing(|| format!("opening {}", port.display()))?;
        }
    }
    if !reporter.has_port() {
        let port = wait_for_port(EVENTS_PORT)?;
        reporter
            .open_port(&port)
            .doing(|| format!("opening {}", port.display()))?;
    }
    Ok(())
}

fn load_module(module: &ModuleToLoad) -> Result<(), Failure> {
    let doing = || {
        format!(
            "loading {} with parameters \"{}\"",
            module.path, module.params
        )
    };
    let file = File::open(&module.path).doing(doing)?;
    let params = CString::new(module.params.as_str()).doing(doing)?;
    match rustix::system::finit_module(file, &params, 0) {
        // Built in, or loaded before.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Failure::new(
            doing(),
            format!("{errno}{}", module_errno(errno)),
        )),
    }
}

/// What `finit_module(2)` means by an errno, where that is not what the errno's name says.
fn module_errno(errno: Errno) -> &'static str {
    const MEANINGS: &[(Errno, &str)] = &[
        (
            Errno::NOENT,
            ": a symbol is missing, so a module it needs is not loaded",
        ),
        (
            Errno::NOEXEC,
            ": not a module of this kernel, or still compressed",
        ),
        (
            Errno::INVAL,
            ": a parameter is unknown or wrong, or symbol versions differ",
        ),
        (Errno::KEYREJECTED, ": the kernel wants a signature"),
        (Errno::PERM, ": modules are locked"),
        (Errno::NODEV, ": its hardware is not there"),
    ];
    MEANINGS
        .iter()
        .find(|(known, _)| *known == errno)
        .map_or("", |(_, meaning)| meaning)
}

/// Waits for the character device of the virtio-serial port with this name.
pub(crate) fn wait_for_port(name: &str) -> Result<PathBuf, Failure> {
    wait_for(PORT_PATIENCE, || sysfs::port(Path::new("/"), name)).ok_or_else(|| {
        Failure::new(
            format!("waiting for the virtio-serial port {name}"),
            format!(
                "not there after {} s; ports: {:?}",
                PORT_PATIENCE.as_secs(),
                sysfs::port_names(Path::new("/"))
            ),
        )
    })
}

/// Asks until there is an answer or the time is over.
pub(crate) fn wait_for<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
