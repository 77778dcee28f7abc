//! What is said to a command that `inspect` does not have: the ones it has, and which of them does the same as
//! crash's command of that name. Opens nothing.
use anyhow::anyhow;
use clap::Subcommand as _;
use clap::error::{ContextKind, ContextValue};
use std::ffi::OsString;

use super::similar;
use crate::failure::Failure;

/// Commands of crash that go by another name here.
const SUBSTITUTES: [(&str, &str); 22] = [
    (
        "kmem",
        "slab shows caches (kmem -s), slab ADDRESS the object an address lies in; vtop ADDRESS shows its struct page",
    ),
    ("dmesg", "log"),
    ("p", "rd SYMBOL, or struct TYPE SYMBOL"),
    ("px", "rd SYMBOL, or struct -x TYPE SYMBOL"),
    ("pd", "rd SYMBOL, or struct TYPE SYMBOL"),
    ("print", "rd SYMBOL, or struct TYPE SYMBOL"),
    ("whatis", "struct TYPE"),
    (
        "task",
        "struct task_struct TASK; ps gives the addresses of tasks",
    ),
    (
        "ptov",
        "rd -p ADDRESS reads physical memory; search -p takes physical addresses",
    ),
    ("x", "rd ADDRESS COUNT"),
    ("lsmod", "mod"),
    ("modules", "mod"),
    ("backtrace", "bt"),
    ("foreach", "bt --all, or ps"),
    ("runq", "bt -a shows what each CPU ran"),
    ("mach", "sys"),
    ("info", "sys"),
    ("disas", "dis"),
    ("lsusb", "usb"),
    ("symbol", "sym NAME|ADDRESS"),
    ("find", "search VALUE"),
    (
        "set",
        "bt PID, rd --pid PID, vtop --pid PID: each command takes the task itself",
    ),
];

/// The error for a command line whose command is not known: its words, the command first.
pub(super) fn failure(words: &[OsString]) -> Failure {
    let word = |index: usize| words.get(index).map(|word| word.to_string_lossy());
    let name = word(0).unwrap_or_default();
    let commands = names();
    let failure = Failure::usage(anyhow!(
        "no command {name:?}; commands are: {}",
        commands.join(", ")
    ));
    if let Some((_, instead)) = SUBSTITUTES.iter().find(|(known, _)| *known == name) {
        return failure.hint(format!("instead of crash's {name}: {instead}"));
    }
    let near = similar::names(&name, commands.iter().map(String::as_str));
    if let Some(hint) = similar::hint(&near) {
        return failure.hint(hint);
    }
    match word(1) {
        // crash takes a struct's name for a command.
        Some(address) => failure.hint(format!("if it is a type: struct {name} {address}")),
        None => failure.hint(format!(
            "if it is a type: struct {name}; if a symbol: sym {name}"
        )),
    }
}

/// Names of the commands there are.
pub(super) fn names() -> Vec<String> {
    let command = super::Inspect::augment_subcommands(clap::Command::new("inspect"));
    let named = command.get_subcommands();
    named.map(|command| command.get_name().to_owned()).collect()
}

/// The parser's error without the advice to pass an option's name as a value: no command here takes such values.
pub(crate) fn without_bad_advice(mut error: clap::Error) -> clap::Error {
    let as_value = |text: &clap::builder::StyledStr| text.to_string().contains("as a value");
    let bad = match error.get(ContextKind::Suggested) {
        Some(ContextValue::StyledStr(text)) => as_value(text),
        Some(ContextValue::StyledStrs(texts)) => texts.iter().any(as_value),
        _ => false,
    };
    if bad {
        error.remove(ContextKind::Suggested);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_instead_exists() {
        let commands = names();
        for (name, instead) in SUBSTITUTES {
            assert!(!commands.iter().any(|known| known == name), "{name}");
            let first = instead.split([' ', ',']).next().unwrap_or_default();
            assert!(commands.iter().any(|known| known == first), "{instead}");
        }
    }
}
