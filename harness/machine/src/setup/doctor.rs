//! What is there and what is missing, without changing anything. Whether an accelerator works is for
//! [`crate::qemu`] to try.
use super::cache::{Cache, Lock};
use super::provide::Place;
use super::{Role, child, host};
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

/// Looks at what a run of any of these targets needs of the host itself.
#[must_use]
pub fn host(targets: &[Target]) -> Vec<Check> {
    let cache = Cache::find();
    let locks: Vec<Lock> = cache.as_ref().map_or_else(
        |_| Vec::new(),
        |cache| {
            let locks = targets.iter().map(|target| cache.read_lock(&target.name));
            locks.flatten().collect()
        },
    );
    let mut out = programs(&locks);
    match &cache {
        Ok(cache) => out.push(disk(cache.root())),
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

/// Looks at what set-up has made ready for a target.
#[must_use]
pub fn provided(target: &Target) -> Vec<Check> {
    // Without a cache, `host` has said so.
    Cache::find().map_or_else(
        |_| Vec::new(),
        |cache| in_cache(target, &cache, cache.read_lock(&target.name).as_ref()),
    )
}

/// The host's programs: each compiler that a target takes from the host, Debian's default one before any is set up.
fn programs(locks: &[Lock]) -> Vec<Check> {
    let from_host = || {
        let locks = locks.iter();
        locks.filter(|lock| lock.of(&[Role::Toolchain]).next().is_none())
    };
    let mut compilers: Vec<&str> = from_host().map(|lock| lock.compiler.as_str()).collect();
    compilers.sort_unstable();
    compilers.dedup();
    if locks.is_empty() {
        compilers.push("gcc");
    }
    let mut out = vec![
        one_program("apt", "apt-get", None),
        one_program("qemu", host::QEMU, Some("qemu-system-x86")),
        one_program("make", "make", Some("make")),
    ];
    let compilers = compilers
        .into_iter()
        .map(|name| one_program("compiler", name, Some(name)));
    out.extend(compilers);
    let mut libraries: Vec<String> = from_host()
        .flat_map(|lock| lock.host_libraries.clone())
        .collect();
    libraries.sort();
    libraries.dedup();
    if locks.is_empty() {
        return out;
    }
    if let Ok(missing) = host::missing(&host::needs(None, &libraries)) {
        let missing: Vec<String> = missing
            .into_iter()
            .filter(|name| libraries.contains(name))
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

fn in_cache(target: &Target, cache: &Cache, lock: Option<&Lock>) -> Vec<Check> {
    let fix = || format!("recrash setup --target {}", target.name);
    if let Some(why) = &target.left_out {
        return vec![there_or(
            "kernel",
            false,
            format!("left out: {why}"),
            || "choose another target".into(),
        )];
    }
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
        fix: (absent > 0).then(|| format!("{} --verify", fix())),
    });
    if !super::provide::is_current(target, lock) {
        let detail = format!("{} is of an earlier target file", target.name);
        out.push(there_or("lock file", false, detail, fix));
    }
    if let Some(tree) = &place.toolchain {
        out.push(there_or(
            "compiler",
            place.toolchain_is_there(&lock.compiler),
            format!("{} of its own release, {}", lock.compiler, tree.display()),
            fix,
        ));
    }
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
        let found = in_cache(&target, &cache, None);
        assert_eq!(found[0].status, Status::Missing);
        assert_eq!(
            found[0].fix.as_deref(),
            Some("recrash setup --target debian")
        );
    }
}
