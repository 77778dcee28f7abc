//! What is told of the command line beside clap's own definition of it: how the commands are grouped in `--help`, what
//! man pages add, which names a shell completes. Carries out no command.
pub(crate) mod complete;
mod facts;
mod help;
pub(crate) mod page;

/// The commands as `--help` and recrash(1) group them. A command in no group is shown under `Other`; a test wants each
/// in exactly one.
pub(crate) const GROUPS: [(&str, &[&str]); 7] = [
    ("Reproduce a crash", &["run", "diagnose"]),
    ("Prove a fix", &["verify", "bisect"]),
    (
        "Read a crash",
        &["analyze", "inspect", "explain", "import", "titles"],
    ),
    ("Compare crashes", &["compare", "triage", "golden"]),
    ("Tell others", &["report", "ci", "merge", "mcp"]),
    (
        "Look after the machine",
        &["setup", "doctor", "target", "runs"],
    ),
    ("Help", &["man", "completions"]),
];

/// The options of a command under headings of their own, where clap would list dozens in a row: the command, a heading,
/// the options' long names. What is not named stays where its definition puts it.
pub(crate) const HEADINGS: &[(&str, &str, &[&str])] = &[
    (
        "run",
        "What runs",
        &[
            "target",
            "scenario",
            "device",
            "usb-host",
            "controller",
            "speed",
            "fault",
            "append",
            "accel",
        ],
    ),
    (
        "run",
        "What is expected of it",
        &["golden", "expect", "exact"],
    ),
    (
        "run",
        "How the memory is saved",
        &["capture", "stop-by", "dump-compression", "dump-level"],
    ),
    (
        "run",
        "What is kept and shown",
        &["out", "keep", "timings", "json", "verbose"],
    ),
];

/// The heading of commands that no group names.
const OTHER: &str = "Other";

/// The command line as it is parsed, shown and completed.
pub(crate) fn dressed(command: clap::Command) -> clap::Command {
    complete::with_names(help::with_headings(help::with_groups(command)))
}

/// The commands of each group that there are; at the end those of none.
fn grouped(command: &clap::Command) -> Vec<(&'static str, Vec<&clap::Command>)> {
    let visible = || {
        let all = command.get_subcommands();
        all.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
    };
    let of_group = |names: &[&str]| -> Vec<&clap::Command> {
        let find = |name: &&str| visible().find(|sub| sub.get_name() == *name);
        names.iter().filter_map(find).collect()
    };
    let mut groups: Vec<_> = GROUPS
        .iter()
        .map(|(heading, names)| (*heading, of_group(names)))
        .collect();
    let is_named = |sub: &&clap::Command| {
        let mut names = GROUPS.iter().flat_map(|(_, names)| names.iter());
        names.any(|name| *name == sub.get_name())
    };
    groups.push((OTHER, visible().filter(|sub| !is_named(sub)).collect()));
    groups.retain(|(_, commands)| !commands.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_in_exactly_one_group() {
        let command = crate::Cli::command();
        let mut there: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let mut named: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        there.sort_unstable();
        named.sort_unstable();
        assert_eq!(
            named, there,
            "manual::GROUPS (left) and the commands there are (right)"
        );
    }

    #[test]
    fn every_option_under_a_heading_is_there() {
        let command = dressed(crate::Cli::command());
        for (name, heading, options) in HEADINGS {
            let sub = command.find_subcommand(name).unwrap();
            for option in *options {
                let mut args = sub.get_arguments();
                let arg = args.find(|arg| arg.get_long() == Some(*option));
                let found = arg.map(|arg| arg.get_help_heading());
                assert_eq!(found, Some(Some(*heading)), "{name} --{option}");
            }
        }
    }
}
