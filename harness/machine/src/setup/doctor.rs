//! What is there and what is missing, without changing anything. Whether an accelerator works is for
//! [`crate::qemu`] to try.
use super::cache::{Cache, Lock};
use super::provide::Place;
use super::{child, host};
use crate::target::Target;
use std::path::Path;

/// Free space that a first set-up and some runs need, in MiB: 90 of packages, 560 unpacked, 300 a run.
const WANTED_MIB: u64 = 2048;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There.
    Ok,
    /// Set-up must provide it, or a person.
    Missing,
    /// A run is possible without it, or may fail.
    Warn,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// Version, place, or what is wrong.
    pub detail: String,
    /// The command that helps.
    pub fix: Option<String>,
}

/// Looks at everything a run of `target` needs on this host.
#[must_use]
pub fn check(target: &Target) -> Vec<Check> {
    let cache = Cache::find();
    let lock = cache
        .as_ref()
        .ok()
        .and_then(|cache| cache.read_lock(&target.name));
    let mut out = programs(lock.as_ref());
    match &cache {
        Ok(cache) => {
            out.extend(provided(target, cache, lock.as_ref()));
            out.push(disk(cache.root()));
        }
        Err(error) => out.push(Check {
            name: "cache",
            status: Status::Missing,
            detail: error.to_string(),
            fix: None,
        }),
    }
    out.push(kvm(Path::new("/dev/kvm")));
    out
}

fn programs(lock: Option<&Lock>) -> Vec<Check> {
    let apt = ("apt", "apt-get", None);
    let compiler = lock.map_or("gcc", |lock| lock.compiler.as_str());
    let rest = [
        ("qemu", host::QEMU, Some("qemu-system-x86")),
        ("make", "make", Some("make")),
        ("compiler", compiler, Some(compiler)),
    ];
    let programs = std::iter::once(apt).chain(rest);
    let mut out: Vec<Check> = programs
        .map(|(name, program, package)| one_program(name, program, package))
        .collect();
    let libraries = lock.map(|lock| host::missing(&host::needs(None, &lock.host_libraries)));
    if let Some(Ok(missing)) = libraries {
        let missing: Vec<String> = missing
            .into_iter()
            .filter(|name| lock.is_some_and(|lock| lock.host_libraries.contains(name)))
            .collect();
        out.push(there_or(
            "build libraries",
            missing.is_empty(),
            if missing.is_empty() {
                "installed".into()
            } else {
                missing.join(", ")
            },
            || host::command(&missing),
        ));
    }
    out
}

fn one_program(name: &'static str, program: &str, package: Option<&str>) -> Check {
    let Some(path) = child::which(program) else {
        return Check {
            name,
            status: Status::Missing,
            detail: format!("{program} is not in PATH"),
            fix: package.map(|package| host::command(&[package.to_owned()])),
        };
    };
    let version = child::quiet(program, ["--version".to_owned()]).unwrap_or_default();
    Check {
        name,
        status: Status::Ok,
        detail: format!(
            "{}, {}",
            path.display(),
            version.lines().next().unwrap_or("no version")
        ),
        fix: None,
    }
}

fn provided(target: &Target, cache: &Cache, lock: Option<&Lock>) -> Vec<Check> {
    let fix = || "recrash setup".to_owned();
    let Some(lock) = lock else {
        let file = cache.lock_file(&target.name);
        return vec![there_or(
            "packages",
            false,
            format!("no {}", file.display()),
            fix,
        )];
    };
    let place = match Place::of(cache, target, lock) {
        Ok(place) => place,
        // A kernel that is built here, without what it is built with.
        Err(error) => return vec![there_or("kernel", false, error.to_string(), fix)],
    };
    let absent = lock
        .packages
        .iter()
        .filter(|package| !cache.deb(package).is_file())
        .count();
    let packages = format!(
        "{} locked, {absent} of them not downloaded",
        lock.packages.len()
    );
    let mut out = vec![
        there_or(
            "kernel",
            place.kernel_is_there(&lock.release),
            lock.release.clone(),
            fix,
        ),
        there_or(
            "headers",
            place.headers(&lock.release).is_dir(),
            place.headers(&lock.release).display().to_string(),
            fix,
        ),
    ];
    out.push(Check {
        name: "packages",
        // Unpacked ones do for a run.
        status: if absent == 0 {
            Status::Ok
        } else {
            Status::Warn
        },
        detail: packages,
        fix: (absent > 0).then(|| "recrash setup --verify".into()),
    });
    if let Some(tools) = &place.tools {
        out.push(there_or(
            "makedumpfile",
            place.tools_are_there(),
            tools.display().to_string(),
            fix,
        ));
    }
    let module = super::root::find().and_then(|root| {
        let sources = root.join("repro-module");
        Ok(place
            .build(&sources, lock)
            .place(cache)?
            .join(super::module::MODULE))
    });
    out.push(match module {
        Ok(file) => there_or("module", file.is_file(), file.display().to_string(), fix),
        Err(error) => there_or("module", false, error.to_string(), fix),
    });
    out
}

fn there_or(
    name: &'static str,
    is_there: bool,
    detail: String,
    fix: impl FnOnce() -> String,
) -> Check {
    Check {
        name,
        status: if is_there {
            Status::Ok
        } else {
            Status::Missing
        },
        detail,
        fix: (!is_there).then(fix),
    }
}

fn disk(cache: &Path) -> Check {
    // The nearest folder that is there: the cache may not be yet.
    let at = cache
        .ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("/"));
    let free =
        rustix::fs::statvfs(at).map(|found| found.f_bavail.saturating_mul(found.f_frsize) >> 20);
    let (status, detail) = match free {
        Ok(free) if free >= WANTED_MIB => {
            (Status::Ok, format!("{free} MiB free at {}", at.display()))
        }
        Ok(free) => (
            Status::Warn,
            format!("{free} MiB free at {}, {WANTED_MIB} wanted", at.display()),
        ),
        Err(error) => (Status::Warn, format!("{}: {error}", at.display())),
    };
    Check {
        name: "disk",
        status,
        detail,
        fix: None,
    }
}

fn kvm(device: &Path) -> Check {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(device);
    let (status, detail) = match opened {
        Ok(_) => (
            Status::Ok,
            format!(
                "{} opens; whether it works is for the accelerator probe",
                device.display()
            ),
        ),
        Err(error) => (
            Status::Warn,
            format!("{}: {error}; QEMU's TCG is used", device.display()),
        ),
    };
    Check {
        name: "kvm",
        status,
        detail,
        fix: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_comes_with_the_command_that_installs_it() {
        let found = one_program("make", "no-such-make", Some("make"));
        assert_eq!(found.status, Status::Missing);
        assert!(found.fix.unwrap().ends_with("--yes make"));
    }

    #[test]
    fn without_a_device_kvm_is_a_warning_only() {
        assert_eq!(kvm(Path::new("/no/such/device")).status, Status::Warn);
    }

    #[test]
    fn before_set_up_the_packages_are_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = Target::load(&root.join("qemu/targets/debian.toml")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("c")).unwrap();
        let found = provided(&target, &cache, None);
        assert_eq!(found[0].status, Status::Missing);
        assert_eq!(found[0].fix.as_deref(), Some("recrash setup"));
    }
}
