//! What a shell completes: the names of targets, scenarios, devices and goldens, read when they are asked for. Commands and
//! options are clap's to complete.
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use recrash_signature::store;
use std::ffi::OsStr;
use std::io::Write;

use crate::commands;

/// The variable by which a completion script asks.
pub(crate) const VARIABLE: &str = "RECRASH_COMPLETE";

/// Reads the names there are.
type Names = fn() -> Vec<String>;

/// Options that take a name, and the names there are.
const NAMES: [(&str, Names); 4] = [
    ("target", targets),
    ("scenario", || configs("scenarios")),
    ("device", || configs("devices")),
    ("golden", goldens),
];

/// The command line with names to complete.
pub(super) fn with_names(command: clap::Command) -> clap::Command {
    command.mut_subcommands(of_command)
}

fn of_command(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let names = NAMES.iter().find(|(long, _)| arg.get_long() == Some(*long));
        match names {
            Some((_, names)) if arg.get_action().takes_values() => {
                arg.add(ArgValueCompleter::new(|typed: &OsStr| {
                    fitting(names(), typed)
                }))
            }
            _ => arg,
        }
    });
    command.mut_subcommands(of_command)
}

/// Answers a completion script and says so; false where none asked.
///
/// # Errors
/// The script names a shell that is not known.
pub(crate) fn answered(command: fn() -> clap::Command) -> clap::error::Result<bool> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), here.as_deref())
}

/// The script that makes a shell ask. `shell` is a name that clap knows.
///
/// # Errors
/// It cannot be written.
pub(crate) fn script(shell: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| std::io::Error::other(format!("no completion for {shell}")))?;
    completer.write_registration(VARIABLE, "recrash", "recrash", "recrash", out)
}

/// Of a list with commas, its last name is completed.
fn fitting(names: Vec<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    let (before, last) = match typed.rfind(',') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    let fitting = names.into_iter().filter(|name| name.starts_with(last));
    fitting
        .map(|name| CompletionCandidate::new(format!("{before}{name}")))
        .collect()
}

fn targets() -> Vec<String> {
    let mut names = configs("targets");
    names.extend(commands::target::added());
    names.sort();
    names
}

/// Names of the files in a folder of `qemu/`; none outside of a checkout.
fn configs(folder: &str) -> Vec<String> {
    let root = commands::checkout();
    root.map_or_else(
        |_| Vec::new(),
        |root| commands::config_names(&root.join("qemu").join(folder)),
    )
}

/// `case/name` of each golden.
fn goldens() -> Vec<String> {
    let Ok(root) = commands::checkout() else {
        return Vec::new();
    };
    let paths = store::list(&root.join("golden")).unwrap_or_default();
    paths
        .iter()
        .map(|path| crate::golden::full_name(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::engine::complete;
    use std::ffi::OsString;

    fn check(words: &[&str], expected: &[&str]) {
        let args: Vec<OsString> = ["recrash"].iter().chain(words).map(Into::into).collect();
        let last = args.len() - 1;
        let found = complete(&mut crate::command(), args, last, None).unwrap();
        let found: Vec<String> = found
            .iter()
            .map(|candidate| candidate.get_value().to_string_lossy().into_owned())
            .collect();
        for name in expected {
            assert!(
                found.iter().any(|found| found == name),
                "{words:?}: {name} in {found:?}"
            );
        }
    }

    #[test]
    fn names_are_completed_wherever_an_option_takes_them() {
        check(&["run", "--target", ""], &["debian", "el8-layout"]);
        check(&["setup", "--target", "el8"], &["el8-layout"]);
        check(&["run", "--scenario", "string-"], &["string-then-worker"]);
        let golden = "usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl";
        check(&["compare", "vmcore", "--golden", ""], &[golden]);
    }

    #[test]
    fn commands_options_and_words_are_completed() {
        check(&["ins"], &["inspect"]);
        check(&["compare", "a", "--exp"], &["--expect"]);
        check(
            &["compare", "a", "--expect", "same"],
            &["same-crash", "same-bug"],
        );
        check(&["inspect", "vmcore", "sl"], &["slab"]);
    }

    #[test]
    fn the_last_name_of_a_list_is_completed() {
        let names = || vec!["debian".to_owned(), "el8-layout".to_owned()];
        let found = fitting(names(), OsStr::new("debian,el"));
        assert_eq!(found[0].get_value(), "debian,el8-layout");
        assert_eq!(fitting(names(), OsStr::new("x")).len(), 0);
    }
}
