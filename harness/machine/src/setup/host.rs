//! Packages that the host itself must have: QEMU, make, the kernel's compiler, libraries of its build tools.
use super::{SetupError, SetupEvent, child};
use std::path::PathBuf;

/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";
const UPDATE: &str = "apt-get update";
/// What objtool needs and small machines lack. Debian 13's libelf1t64 provides it. The kernel's build tools name it
/// themselves once apt has lists.
const LIBELF: &str = "libelf1";
const INSTALL: &str = "apt-get install --no-install-recommends --yes";

/// A need of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The Debian package.
    pub package: String,
    /// The program by which it is known to be there, even if not from a package.
    pub program: Option<String>,
}

/// What a target needs. Without a `compiler` (apt has no lists yet) Debian's default one: it is what
/// Debian's kernel is built with.
#[must_use]
pub fn needs(compiler: Option<&str>, libraries: &[String]) -> Vec<Need> {
    let program = |package: &str, program: &str| Need {
        package: package.into(),
        program: Some(program.into()),
    };
    let compiler = compiler.unwrap_or("gcc");
    let mut out = without_compiler();
    out.push(program(compiler, compiler));
    out.extend(libraries.iter().map(|package| Need {
        package: package.clone(),
        program: None,
    }));
    out
}

/// What a target needs that brings a compiler of its own.
#[must_use]
pub fn without_compiler() -> Vec<Need> {
    let program = |package: &str, program: &str| Need {
        package: package.into(),
        program: Some(program.into()),
    };
    vec![program("qemu-system-x86", QEMU), program("make", "make")]
}

/// Those that are missing.
///
/// # Errors
/// When dpkg-query cannot be run.
pub fn missing(needs: &[Need]) -> Result<Vec<String>, SetupError> {
    let (programs, libraries): (Vec<_>, Vec<_>) =
        needs.iter().partition(|need| need.program.is_some());
    let is_there = |need: &Need| {
        need.program
            .as_deref()
            .is_some_and(|program| child::which(program).is_some())
    };
    let mut out: Vec<String> = programs
        .into_iter()
        .filter(|need| !is_there(need))
        .map(|n| n.package.clone())
        .collect();
    if libraries.is_empty() {
        return Ok(out);
    }
    let arguments = [
        "--show",
        "--showformat=${db:Status-Status} ${Package}\\n",
        "--",
    ]
    .map(String::from)
    .into_iter();
    let names = libraries.iter().map(|need| need.package.clone());
    let installed = child::quiet("dpkg-query", arguments.chain(names))?;
    let is_installed = |name: &str| {
        installed
            .lines()
            .any(|line| line.strip_prefix("installed ") == Some(name))
    };
    out.extend(
        libraries
            .into_iter()
            .map(|need| need.package.clone())
            .filter(|name| !is_installed(name)),
    );
    Ok(out)
}

/// What a person runs to install packages.
#[must_use]
pub fn command(packages: &[String]) -> String {
    format!("sudo {UPDATE} && sudo {INSTALL} {}", packages.join(" "))
}

/// Installs packages if allowed and root; else the error carries the command.
///
/// # Errors
/// [`SetupError::NeedsRoot`], [`SetupError::Child`].
pub fn install(
    packages: &[String],
    allowed: bool,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !(allowed && is_root()) {
        return Err(SetupError::NeedsRoot {
            what: format!("not installed: {}", packages.join(", ")),
            command: command(packages),
        });
    }
    on(SetupEvent::Started {
        what: format!("installing {list}"),
    });
    let command = format!("{INSTALL} {list}");
    if run(&command, on).is_err() {
        // Lists may be missing or older than the archive.
        run(UPDATE, on)?;
        run(&command, on)?;
    }
    on(SetupEvent::Done);
    Ok(())
}

/// Has apt read its archives' lists; without root the error carries the command, with all that is missing.
///
/// # Errors
/// [`SetupError::NeedsRoot`], [`SetupError::Child`].
pub fn update_lists(
    why: &str,
    allowed: bool,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    if !(allowed && is_root()) {
        let missing = missing(&needs(None, &[LIBELF.into()]))?;
        let install = if missing.is_empty() {
            String::new()
        } else {
            format!(" && sudo {INSTALL} {}", missing.join(" "))
        };
        return Err(SetupError::NeedsRoot {
            what: why.into(),
            command: format!("sudo {UPDATE}{install}"),
        });
    }
    on(SetupEvent::Started {
        what: "updating apt's lists".into(),
    });
    run(UPDATE, on)?;
    on(SetupEvent::Done);
    Ok(())
}

/// Where QEMU is.
///
/// # Errors
/// [`SetupError::NeedsRoot`] with the command that installs it.
pub fn qemu() -> Result<PathBuf, SetupError> {
    child::which(QEMU).ok_or_else(|| SetupError::NeedsRoot {
        what: format!("{QEMU} is not installed"),
        command: command(&["qemu-system-x86".into()]),
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn run(command: &str, on: &mut dyn FnMut(SetupEvent)) -> Result<(), SetupError> {
    let mut words = command.split(' ').map(String::from);
    let program = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.collect();
    let output = child::logged(&program, &arguments, &mut |line| {
        on(SetupEvent::Log { line: line.into() })
    })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(child::failure(command, &output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_leave_to_install_the_command_is_the_error() {
        let packages = ["make".to_owned(), "gcc-12".to_owned()];
        let error = install(&packages, false, &mut |_| {})
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "not installed: make, gcc-12; run:\n    sudo apt-get update && \
             sudo apt-get install --no-install-recommends --yes make gcc-12"
        );
    }

    #[test]
    fn the_kernels_own_compiler_is_needed() {
        let names: Vec<String> = needs(Some("gcc-12"), &["libelf1".into()])
            .into_iter()
            .map(|need| need.package)
            .collect();
        assert_eq!(names, ["qemu-system-x86", "make", "gcc-12", "libelf1"]);
    }

    #[test]
    fn a_program_that_is_there_needs_no_package() {
        let need = |program: &str| Need {
            package: format!("{program}-package"),
            program: Some(program.into()),
        };
        assert_eq!(
            missing(&[need("sh"), need("no-such-program")]).unwrap(),
            ["no-such-program-package"]
        );
    }
}
