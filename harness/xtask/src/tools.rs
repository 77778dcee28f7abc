//! Programs that only the tests need: which Debian package has each, and how they are installed. What runs of `recrash`
//! need is set-up's, not listed here.
use anyhow::{Context, Result, bail};

/// A package and the program by which it is known to be there, even if not from a package.
struct Tool {
    package: &'static str,
    program: &'static str,
}

/// In the order of the alphabet; a test that needs another program adds its row.
const TEST_TOOLS: &[Tool] = &[
    // The HTML reports are loaded, read, walked through by keyboard, photographed and printed.
    Tool {
        package: "chromium",
        program: "chromium",
    },
    // xmllint holds JUnit reports against their XSD.
    Tool {
        package: "libxml2-utils",
        program: "xmllint",
    },
    // A Slurm of one node runs a campaign in parts.
    Tool {
        package: "munge",
        program: "munged",
    },
    // rpmbuild makes the packages that `recrash target add --rpm` is tested with.
    Tool {
        package: "rpm",
        program: "rpmbuild",
    },
    // The scripts that `recrash ci init` writes are looked through.
    Tool {
        package: "shellcheck",
        program: "shellcheck",
    },
    // The same Slurm: sbatch, squeue, scontrol; its controller; its node.
    Tool {
        package: "slurm-client",
        program: "sbatch",
    },
    Tool {
        package: "slurmctld",
        program: "slurmctld",
    },
    Tool {
        package: "slurmd",
        program: "slurmd",
    },
];

const UPDATE: &str = "apt-get update";
const INSTALL: &str = "apt-get install --no-install-recommends --yes";

/// Installs what is missing.
///
/// # Errors
/// Without root, with the command to run; or apt-get failed.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&str> = TEST_TOOLS
        .iter()
        .filter(|tool| !is_there(tool.program))
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!(
            "not installed, and the tests need them: {}; run:\n    {}",
            missing.join(", "),
            command(&missing)
        );
    }
    eprintln!("==> test tools: {INSTALL} {}", missing.join(" "));
    let install = || {
        let mut words: Vec<&str> = INSTALL.split(' ').chain(missing.iter().copied()).collect();
        let program = words.remove(0);
        apt(program, words)
    };
    if install().is_err() {
        // Lists may be missing or older than the archive.
        let mut words = UPDATE.split(' ');
        let program = words.next().unwrap_or_default();
        apt(program, words.collect()).context(UPDATE)?;
        install().with_context(|| format!("{INSTALL} {}", missing.join(" ")))?;
    }
    Ok(())
}

/// Runs it so that it asks nothing: nobody may be there to answer.
fn apt(program: &str, words: Vec<&str>) -> std::io::Result<std::process::Output> {
    duct::cmd(program, words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin_null()
        .stdout_to_stderr()
        .run()
}

/// What a person runs to install packages.
fn command(packages: &[&str]) -> String {
    format!("sudo {UPDATE} && sudo {INSTALL} {}", packages.join(" "))
}

/// Whether the path has such a file; it is not started, since some programs open windows when they are.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons lie where only root's path leads.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .into_iter()
        .any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    duct::cmd!("id", "--user")
        .read()
        .is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_all_that_is_missing() {
        assert_eq!(
            command(&["chromium", "rpm"]),
            "sudo apt-get update && sudo apt-get install --no-install-recommends --yes chromium rpm"
        );
    }

    #[test]
    fn packages_are_in_order_and_named_once() {
        assert!(TEST_TOOLS.is_sorted_by(|a, b| a.package < b.package));
    }

    #[test]
    fn a_program_is_found_on_the_path_without_being_started() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program"));
    }
}
