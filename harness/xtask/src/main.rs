//! `cargo verify`: what CI runs and what a change must pass. Only calls the tools and times them;
//! what is checked, and how, stays with cargo, the lints and the tests.
mod tools;

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Exit code for a missing tool or a wrong command line, as in `recrash`.
const USAGE: u8 = 2;

/// One command that has to succeed.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

/// In order: cheap before dear, and first what a person may have to do something about.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        args: &["fmt", "--all", "--check"],
        env: &[],
    },
    Step {
        name: "set-up",
        args: &[
            "run",
            "--package",
            "recrash",
            "--",
            "setup",
            "--target",
            "all",
        ],
        env: &[],
    },
    Step {
        name: "lints",
        args: &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ],
        env: &[],
    },
    Step {
        name: "documentation",
        args: &["doc", "--workspace", "--no-deps"],
        env: &[("RUSTDOCFLAGS", "--deny warnings")],
    },
    Step {
        name: "tests",
        args: &["test", "--workspace", "--no-fail-fast"],
        env: &[],
    },
];

/// What is left of a step for the summary.
struct Done {
    name: &'static str,
    took: Duration,
    ok: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [command] if command == "verify" => verify(),
        _ => {
            eprintln!(
                "usage: cargo verify\n\nInstalls what the tests need (as root), checks format, sets up what is missing, checks lints, documentation and all tests, in this order, and stops at the first failure."
            );
            ExitCode::from(USAGE)
        }
    }
}

fn verify() -> ExitCode {
    if let Err(error) = ensure_components().and_then(|()| tools::ensure()) {
        eprintln!("error: {error:#}");
        return ExitCode::from(USAGE);
    }
    let mut done = Vec::new();
    for step in STEPS {
        eprintln!("==> {}: cargo {}", step.name, step.args.join(" "));
        let begin = Instant::now();
        let code = run(step);
        let took = begin.elapsed();
        let ok = matches!(code, Ok(0));
        eprintln!(
            "    {} in {}",
            if ok { "done" } else { "failed" },
            text(took)
        );
        done.push(Done {
            name: step.name,
            took,
            ok,
        });
        match code {
            Ok(0) => {}
            Ok(code) => {
                summarise(&done);
                return ExitCode::from(u8::try_from(code).unwrap_or(1));
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                summarise(&done);
                return ExitCode::from(USAGE);
            }
        }
    }
    summarise(&done);
    ExitCode::SUCCESS
}

/// The cargo that runs this program.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs the step with its output shown; its exit code.
fn run(step: &Step) -> Result<i32> {
    // What the tests have recrash do is no result of the job that runs them, and no part of its summary.
    let mut command = duct::cmd(cargo(), step.args).env_remove("GITHUB_ACTIONS");
    for (name, value) in step.env {
        command = command.env(name, value);
    }
    let output = command
        .unchecked()
        .run()
        .with_context(|| format!("cannot start cargo {}", step.args.join(" ")))?;
    Ok(output.status.code().unwrap_or(1))
}

/// rustfmt and clippy, which a minimal tool chain lacks.
fn ensure_components() -> Result<()> {
    let missing: Vec<&str> = [("rustfmt", "fmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(_, sub)| !answers(cargo(), &[sub, "--version"]))
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !answers("rustup".into(), &["--version"]) {
        bail!(
            "the Rust tool chain lacks {names}, and there is no rustup to add it with; install it the way Rust was installed"
        );
    }
    eprintln!("==> tool chain: rustup component add {names}");
    let mut args = vec!["component", "add"];
    args.extend(missing);
    duct::cmd("rustup", args)
        .run()
        .with_context(|| format!("rustup could not add {names}"))?;
    Ok(())
}

/// Whether the program starts and succeeds.
fn answers(program: OsString, args: &[&str]) -> bool {
    duct::cmd(program, args)
        .stdout_null()
        .stderr_null()
        .run()
        .is_ok()
}

fn summarise(done: &[Done]) {
    let total = done.iter().map(|step| step.took).sum();
    eprintln!();
    for step in done {
        let mark = if step.ok { "ok" } else { "FAILED" };
        eprintln!("{:<14} {mark:<7} {:>9}", step.name, text(step.took));
    }
    for step in STEPS.iter().skip(done.len()) {
        eprintln!("{:<14} not run", step.name);
    }
    eprintln!("{:<14} {:<7} {:>9}", "verify", "", text(total));
}

/// Minutes and seconds; tenths below a minute.
fn text(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_above_a_minute_are_whole_seconds() {
        for (seconds, expected) in [
            (0.04, "0.0 s"),
            (59.5, "59.5 s"),
            (61.9, "1 min 01 s"),
            (3600.0, "60 min 00 s"),
        ] {
            assert_eq!(text(Duration::from_secs_f64(seconds)), expected);
        }
    }

    #[test]
    fn tests_run_last_and_after_the_set_up() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.last(), Some(&"tests"));
        assert!(names.contains(&"set-up"));
    }
}
