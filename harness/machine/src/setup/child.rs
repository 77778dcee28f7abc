//! Runs apt, make and the compiler: in English, with their output kept for the error.
use super::SetupError;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

/// How many of a failed child's last lines an error shows.
const LAST_LINES: usize = 25;

/// What a caller's shell may have set and a build must not inherit.
const SCRUBBED: &[&str] = &[
    "ARCH",
    "CC",
    "CFLAGS",
    "CROSS_COMPILE",
    "KBUILD_EXTMOD",
    "KBUILD_OUTPUT",
    "KCFLAGS",
    "LLVM",
    "M",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "O",
    "V",
];

fn expression(program: &str, arguments: &[String]) -> duct::Expression {
    let out = duct::cmd(program, arguments)
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let out = SCRUBBED.iter().fold(out, |out, name| out.env_remove(name));
    out.stdin_null().unchecked()
}

fn line_of(program: &str, arguments: &[String]) -> String {
    std::iter::once(program)
        .chain(arguments.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Standard output of a child whose status says nothing.
///
/// # Errors
/// When it cannot be started.
pub(super) fn quiet(
    program: &str,
    arguments: impl IntoIterator<Item = String>,
) -> Result<String, SetupError> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let output = expression(program, &arguments)
        .stdout_capture()
        .stderr_null()
        .run();
    let output = output.map_err(|error| not_started(program, &arguments, &error))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a child to its end and hands over each line that it writes.
///
/// # Errors
/// When it cannot be started. A failure is in the status.
pub(super) fn logged(
    program: &str,
    arguments: &[String],
    on_line: &mut dyn FnMut(&str),
) -> Result<Output, SetupError> {
    let child = expression(program, arguments);
    lines_of(&child, program, arguments, on_line)
}

/// The same with these variables in the child's environment.
///
/// # Errors
/// As [`logged`].
pub(super) fn logged_in(
    environment: &[(&str, OsString)],
    program: &str,
    arguments: &[String],
    on_line: &mut dyn FnMut(&str),
) -> Result<Output, SetupError> {
    let child = environment
        .iter()
        .fold(expression(program, arguments), |child, (name, value)| {
            child.env(name, value)
        });
    lines_of(&child, program, arguments, on_line)
}

/// The same with nothing in the environment but these variables and where programs are found.
///
/// # Errors
/// When it cannot be started. A failure is in the status.
pub(super) fn logged_alone(
    program: &str,
    arguments: &[String],
    environment: &[(&str, &str)],
    on_line: &mut dyn FnMut(&str),
) -> Result<Output, SetupError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .chain([(OsString::from("PATH"), path)]);
    let child = duct::cmd(program, arguments)
        .full_env(environment)
        .stdin_null()
        .unchecked();
    lines_of(&child, program, arguments, on_line)
}

fn lines_of(
    child: &duct::Expression,
    program: &str,
    arguments: &[String],
    on_line: &mut dyn FnMut(&str),
) -> Result<Output, SetupError> {
    let failed = |error: std::io::Error| not_started(program, arguments, &error);
    let reader = child.stderr_to_stdout().reader().map_err(failed)?;
    let mut all = Vec::new();
    let mut lines = BufReader::new(&reader);
    loop {
        let mut line = Vec::new();
        // A bounded line: progress bars have no line ends.
        lines
            .by_ref()
            .take(1 << 16)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if line.is_empty() {
            break;
        }
        on_line(String::from_utf8_lossy(&line).trim_end());
        all.extend(line);
    }
    let mut output =
        reader
            .try_wait()
            .map_err(failed)?
            .cloned()
            .ok_or_else(|| SetupError::Child {
                command: line_of(program, arguments),
                status: "closed its output and did not end".into(),
                output: String::new(),
            })?;
    output.stdout = all;
    Ok(output)
}

/// A child that works in `dir` while the caller watches.
pub(super) fn start(
    program: &str,
    arguments: impl IntoIterator<Item = String>,
    dir: &Path,
) -> Result<Running, SetupError> {
    let arguments: Vec<String> = arguments.into_iter().collect();
    let child = expression(program, &arguments)
        .dir(dir)
        .stderr_to_stdout()
        .stdout_capture()
        .start();
    Ok(Running {
        handle: child.map_err(|error| not_started(program, &arguments, &error))?,
        line: line_of(program, &arguments),
    })
}

/// See [`start`]. Killed when dropped before its end.
pub(super) struct Running {
    handle: duct::Handle,
    line: String,
}

impl Running {
    /// True when the child has ended.
    pub(super) fn wait_timeout(&self, time: Duration) -> Result<bool, SetupError> {
        let ended = self.handle.wait_timeout(time);
        ended
            .map(|output| output.is_some())
            .map_err(|error| not_started(&self.line, &[], &error))
    }

    /// Waits for the end; an error carries the last lines.
    pub(super) fn finish(self) -> Result<(), SetupError> {
        let output = self
            .handle
            .wait()
            .map_err(|error| not_started(&self.line, &[], &error))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(failure(&self.line, output))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Has ended already unless the caller failed in between.
        let _ = self.handle.kill();
    }
}

/// The error of a child that ended badly.
pub(super) fn failure(line: &str, output: &Output) -> SetupError {
    SetupError::Child {
        command: line.into(),
        status: output.status.to_string(),
        output: last_lines(&output.stdout),
    }
}

/// The last lines of a child's output.
pub(super) fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(LAST_LINES)..)
        .unwrap_or_default()
        .join("\n")
}

fn not_started(program: &str, arguments: &[String], error: &std::io::Error) -> SetupError {
    SetupError::Child {
        command: line_of(program, arguments),
        status: error.to_string(),
        output: String::new(),
    }
}

/// Where a program lies, by `$PATH`.
#[must_use]
pub(super) fn which(program: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let paths = std::env::var_os("PATH")?;
    let usable = |path: &std::path::PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&paths)
        .map(|dir| dir.join(program))
        .find(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_child_shows_its_last_lines() {
        let script = "for i in $(seq 40); do echo line $i; done; exit 3";
        let mut lines = 0;
        let output = logged("sh", &["-c".into(), script.into()], &mut |_| lines += 1).unwrap();
        let error = failure("sh", &output).to_string();
        assert_eq!(lines, 40);
        assert!(
            error.contains("exit status: 3") && error.contains("line 16\n"),
            "{error}"
        );
        assert!(
            !error.contains("line 15\n") && error.ends_with("line 40"),
            "{error}"
        );
    }

    #[test]
    fn a_child_alone_inherits_only_where_programs_are() {
        let output = logged_alone("env", &[], &[("LC_ALL", "C")], &mut |_| {}).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split('=').next())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = logged("no-such-program", &[], &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no-such-program"), "{error}");
    }
}
