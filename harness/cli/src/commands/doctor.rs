//! `recrash doctor`: what is there, what is missing, which accelerator works. Changes nothing.
use recrash_machine::qemu::accel::Prober;
use recrash_machine::qemu::args::Accel;
use recrash_machine::setup::{doctor, host, status};
use recrash_machine::target::Target;
use serde::Serialize;
use std::fmt::Write;

use super::Outcome;
use super::targets::{self, TargetsArg};
use crate::exit::Exit;
use crate::output::{self, BAD, GOOD, WARN};

/// Says what is there, what is missing, and which accelerator works.
///
/// Accelerators are tried with a tiny guest: a /dev/kvm that opens proves nothing. The targets asked for are looked at
/// in detail, the others in one line. Ends with 0 if a run of those asked for can start, with 2 if something is
/// missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetsArg,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    json: bool,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Good,
    /// Not as it could be, and a run does without it.
    Optional,
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "check")]
struct Check {
    name: String,
    state: State,
    detail: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn new(name: &str, state: State, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state,
            detail: detail.into(),
            fix: None,
        }
    }
}

impl From<doctor::Check> for Check {
    fn from(check: doctor::Check) -> Self {
        let state = match check.status {
            doctor::Status::Ok => State::Good,
            doctor::Status::Warn => State::Optional,
            doctor::Status::Missing => State::Missing,
        };
        Self {
            fix: check.fix,
            ..Self::new(check.name, state, check.detail)
        }
    }
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let asked = self.targets.load()?;
        let mut checks = vec![Check::new(
            "checkout",
            State::Good,
            super::checkout()?.display().to_string(),
        )];
        checks.extend(doctor::host(&asked).into_iter().map(Check::from));
        if let Some(target) = asked.first() {
            checks.extend(accelerators(target));
        }
        for target in &asked {
            let prefixed = |check: doctor::Check| Check {
                name: format!("{}: {}", target.name, check.name),
                ..Check::from(check)
            };
            checks.extend(doctor::provided(target).into_iter().map(prefixed));
        }
        let others = targets::all()?;
        let others = others.iter().filter(|one| !asked.contains(one));
        checks.extend(others.map(in_one_line));
        if self.json {
            for check in &checks {
                output::print_json(check)?;
            }
        } else {
            output::print(&table(&checks))?;
        }
        Ok(exit(&checks))
    }
}

/// A target that was not asked for: a run does without it.
fn in_one_line(target: &Target) -> Check {
    let name = format!("target {}", target.name);
    match status::of(target) {
        status::Status::Ready { kernel_release } => Check::new(&name, State::Good, kernel_release),
        status::Status::LeftOut { why } => {
            Check::new(&name, State::Optional, format!("left out: {why}"))
        }
        status::Status::NotSetUp { why } => Check {
            fix: Some(format!("recrash setup --target {}", target.name)),
            ..Check::new(&name, State::Optional, format!("not set up: {why}"))
        },
    }
}

fn exit(checks: &[Check]) -> Exit {
    if checks.iter().any(|check| check.state == State::Missing) {
        Exit::Usage
    } else {
        Exit::Met
    }
}

/// KVM is a bonus; without TCG too, nothing runs.
fn accelerators(target: &Target) -> Vec<Check> {
    let Ok(program) = host::qemu() else {
        return Vec::new();
    };
    let prober = Prober {
        program: program.into(),
        machine_type: target.machine.machine_type.clone(),
        cpu: target.machine.cpu.clone(),
        cache: None,
    };
    let mut checks = Vec::new();
    for accel in [Accel::Kvm, Accel::Tcg] {
        let (works, detail) = match prober.probe_now(accel) {
            Ok(result) => (result.works(), result.to_string()),
            Err(error) => (false, error.to_string()),
        };
        let state = match (works, accel) {
            (true, _) => State::Good,
            (false, Accel::Kvm) => State::Optional,
            (false, Accel::Tcg) => State::Missing,
        };
        checks.push(Check::new(&format!("accelerator {accel}"), state, detail));
    }
    checks
}

fn table(checks: &[Check]) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for check in checks {
        let (style, word) = match check.state {
            State::Good => (GOOD, "ok"),
            State::Optional => (WARN, "no"),
            State::Missing => (BAD, "missing"),
        };
        let _ = writeln!(
            out,
            "{style}{word:<8}{style:#}{:<width$}  {}",
            check.name,
            output::printable(&check.detail)
        );
        if let Some(fix) = check.fix.as_deref().filter(|_| check.state != State::Good) {
            let _ = writeln!(out, "{:<8}{:<width$}  {fix}", "", "");
        }
    }
    if exit(checks) == Exit::Usage {
        out.push_str("\nrecrash setup provides what is missing.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_run_needs_makes_it_fail() {
        let check = |state| Check::new("x", state, "");
        assert_eq!(
            exit(&[check(State::Good), check(State::Optional)]),
            Exit::Met
        );
        assert_eq!(
            exit(&[check(State::Good), check(State::Missing)]),
            Exit::Usage
        );
    }

    #[test]
    fn the_table_lines_names_up_and_says_what_to_do() {
        let checks = [
            Check::new("make", State::Good, "installed"),
            Check::new("target debian", State::Missing, "not set up"),
        ];
        let text = anstream::adapter::strip_str(&table(&checks)).to_string();
        let expected = "\
ok      make           installed
missing target debian  not set up

recrash setup provides what is missing.
";
        assert_eq!(text, expected);
    }
}
