//! Whether a program that somebody names is a QEMU that can be run: asks it its version and its machines. Starts no guest.
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long it may take to answer: 0.1 s on a quiet machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How QEMU's answer to `--version` begins.
const BANNER: &str = "QEMU emulator version ";

/// Why a program cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started, or does not end.
    #[error("{}: {source}", path.display())]
    Io {
        /// The program.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It answers otherwise than QEMU does.
    #[error("{} is no QEMU: --version says {said:?}", path.display())]
    NoQemu {
        /// The program.
        path: PathBuf,
        /// The first line that it prints.
        said: String,
    },
    /// QEMU of another architecture, or a build without the machine.
    #[error("{} has no machine {machine:?}, which the target needs", path.display())]
    NoMachine {
        /// The program.
        path: PathBuf,
        /// The machine.
        machine: String,
    },
}

/// The program's absolute path, if it is a QEMU with this machine. (A run has its folder as working directory.)
///
/// # Errors
/// [`ProgramError`]
pub fn check(path: &Path, machine: &str) -> Result<PathBuf, ProgramError> {
    let broken = |source| ProgramError::Io {
        path: path.into(),
        source,
    };
    // Its name stays: a link may be how one program has several.
    let absolute = std::path::absolute(path).map_err(broken)?;
    let said = ask(&absolute, "--version").map_err(broken)?;
    let first = said.lines().next().unwrap_or_default();
    if !first.starts_with(BANNER) {
        return Err(ProgramError::NoQemu {
            path: path.into(),
            said: first.chars().take(100).collect(),
        });
    }
    let wanted = machine.split(',').next().unwrap_or_default();
    let machines = ask(&absolute, "-machine=help").map_err(broken)?;
    let has = |line: &str| line.split_whitespace().next() == Some(wanted);
    if !machines.lines().any(has) {
        return Err(ProgramError::NoMachine {
            path: path.into(),
            machine: wanted.into(),
        });
    }
    Ok(absolute)
}

/// What it prints when it is asked this.
fn ask(program: &Path, question: &str) -> io::Result<String> {
    // QEMU takes `-machine help` as two words only.
    let words: Vec<&str> = question.splitn(2, '=').collect();
    let handle = duct::cmd(program, words)
        .stdin_null()
        .stderr_null()
        .stdout_capture()
        .unchecked()
        .start()?;
    let begin = Instant::now();
    loop {
        if let Some(output) = handle.try_wait()? {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        if begin.elapsed() > LIMIT {
            handle.kill()?;
            let seconds = LIMIT.as_secs();
            return Err(io::Error::other(format!("no end within {seconds} s")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What is made of a shell script in QEMU's place, which the target needs for the machine q35.
    fn check_script(script: &str, expected: Result<(), &str>) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let found = check(&program, "q35,smm=off");
        let found = found.map(|path| assert_eq!(path, program));
        let found = found.map_err(|error| error.to_string());
        let name = program.display().to_string();
        let found = found.map_err(|text| text.replace(&name, "qemu"));
        assert_eq!(found.as_ref().copied().map_err(String::as_str), expected);
    }

    const VERSION: &str = "echo 'QEMU emulator version 9.9'; test $1 = -machine &&";

    #[test]
    fn a_qemu_with_the_machine_is_taken() {
        check_script(
            &format!("{VERSION} test $2 = help && echo 'q35   Standard PC'"),
            Ok(()),
        );
    }

    #[test]
    fn another_program_and_another_architecture_are_refused() {
        check_script(
            "echo hello",
            Err("qemu is no QEMU: --version says \"hello\""),
        );
        check_script("", Err("qemu is no QEMU: --version says \"\""));
        check_script(
            &format!("{VERSION} echo 'virt  ARM'"),
            Err("qemu has no machine \"q35\", which the target needs"),
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = check(Path::new("/nonexistent/qemu"), "q35").unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/qemu: "));
    }
}
