//! `cargo verify`: what CI runs and what a change must pass. Only calls the tools and times them;
//! what is checked, and how, stays with cargo, the lints and the tests.
mod tools;

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io::Write as _;
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

/// The step before which the programs that only tests need are installed.
const TESTS: &str = "tests";

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
        name: TESTS,
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
                "usage: cargo verify\n\nChecks format, sets up what is missing, checks lints and documentation, installs what only the tests need (as root; else it prints the command) and runs all tests, in this order, and stops at the first failure."
            );
            ExitCode::from(USAGE)
        }
    }
}

fn verify() -> ExitCode {
    if let Err(error) = ensure_components() {
        eprintln!("error: {error:#}");
        return ExitCode::from(USAGE);
    }
    let mut done = Vec::new();
    for step in STEPS {
        // Only the tests need them: whoever cannot install them has the other steps all the same.
        if step.name == TESTS
            && let Err(error) = tools::ensure()
        {
            eprintln!("error: {error:#}");
            summarise(&done);
            return ExitCode::from(USAGE);
        }
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
    if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY") {
        let opened = std::fs::File::options()
            .create(true)
            .append(true)
            .open(file);
        // The result stands without it.
        if let Err(error) = opened.and_then(|mut file| file.write_all(markdown(done).as_bytes())) {
            eprintln!("warning: GITHUB_STEP_SUMMARY: {error}");
        }
    }
}

/// The same for the summary of a job of GitHub's.
fn markdown(done: &[Done]) -> String {
    let mut out = String::from("## cargo verify\n\n| step | | took |\n|---|---|---|\n");
    for step in done {
        let mark = if step.ok { "ok" } else { "**failed**" };
        out.push_str(&format!(
            "| {} | {mark} | {} |\n",
            step.name,
            text(step.took)
        ));
    }
    for step in STEPS.iter().skip(done.len()) {
        out.push_str(&format!("| {} | not run | |\n", step.name));
    }
    out
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
    fn the_summary_of_a_job_has_what_was_not_run_too() {
        let done = [Done {
            name: "format",
            took: Duration::from_secs(2),
            ok: false,
        }];
        let text = markdown(&done);
        assert!(
            text.contains("| format | **failed** | 2.0 s |\n| set-up | not run | |"),
            "{text}"
        );
    }

    #[test]
    fn tests_run_last_and_after_the_set_up() {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.last(), Some(&TESTS));
        assert!(names.contains(&"set-up"));
    }
}
