//! `recrash inspect`: what a crash engineer asks a dump for first, in the words and the layout of crash(8).
//! One file a command: its arguments, what it asks the libraries for, and how that is shown.
mod address;
mod bt;
mod dis;
mod form;
mod log;
mod module;
mod out;
mod ps;
mod rd;
mod reply;
mod search;
mod session;
mod similar;
mod slab;
mod slab_debug;
mod source;
mod structure;
mod sym;
mod sys;
mod task;
mod unknown;
mod usb;
mod vtop;

use anyhow::anyhow;
use clap::Parser as _;
use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::debug_files::DebugArgs;
use crate::failure::Failure;
use out::Out;
pub(crate) use out::{Kept, Stop};
use session::Session;
pub(crate) use unknown::without_bad_advice;

const HELP: &str = "\
Addresses are hexadecimal (with or without 0x), symbols, or symbols with an offset (sym+0x10, sym-8); a per-CPU
variable's copy is sym:cpu. Counts are decimal, or hexadecimal with 0x.

With --json each command prints one JSON object: \"type\" is the command, \"missing\" what could not be read and
why. Addresses and machine words are strings (\"0xffff888003a00000\"), as not every JSON reader keeps 64 bits;
sizes, counts and offsets are numbers.

What could not be read is told on stderr; the rest is printed all the same.";

/// Looks around in a vmcore: the commands of crash(8) that one begins with.
///
/// Needs nothing but the vmcore. The output is close to crash's.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, subcommand_value_name = "COMMAND", subcommand_help_heading = "Commands")]
pub(crate) struct Args {
    /// The vmcore: ELF, or what makedumpfile writes
    vmcore: PathBuf,
    /// Another file of a split dump; once for each
    #[arg(long, value_name = "FILE", global = true)]
    split: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    debug: DebugArgs,
    #[command(subcommand)]
    command: Inspect,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
enum Inspect {
    Sys(sys::Args),
    Log(log::Args),
    Bt(bt::Args),
    Ps(ps::Args),
    Mod(module::Args),
    Slab(slab::Args),
    #[command(alias = "union")]
    Struct(structure::Args),
    Sym(sym::Args),
    Rd(rd::Args),
    Dis(dis::Args),
    Usb(usb::Args),
    Vtop(vtop::Args),
    Search(search::Args),
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        if let Inspect::Unknown(words) = &self.command {
            return Err(unknown::failure(words));
        }
        let opened = session::open(&self.vmcore, &self.split, &self.debug)?;
        let out = if self.json { Out::Json } else { Out::Text };
        self.command.run(&Session::new(&opened, out)?)
    }
}

impl Inspect {
    fn run(self, session: &Session<'_>) -> Outcome {
        match self {
            Self::Sys(args) => args.run(session),
            Self::Log(args) => args.run(session),
            Self::Bt(args) => args.run(session),
            Self::Ps(args) => args.run(session),
            Self::Mod(args) => args.run(session),
            Self::Slab(args) => args.run(session),
            Self::Struct(args) => args.run(session),
            Self::Sym(args) => args.run(session),
            Self::Rd(args) => args.run(session),
            Self::Dis(args) => args.run(session),
            Self::Usb(args) => args.run(session),
            Self::Vtop(args) => args.run(session),
            Self::Search(args) => args.run(session),
            Self::Unknown(words) => Err(unknown::failure(&words)),
        }
    }
}

/// A command in words, without the dump and the options that name files.
#[derive(Debug, clap::Parser)]
#[command(
    name = "inspect",
    no_binary_name = true,
    disable_help_subcommand = true
)]
struct Words {
    #[command(subcommand)]
    command: Inspect,
}

/// Asks one command of a dump and keeps its answer; `words` are the command and its arguments. Options that name files
/// (`--split`, `--vmlinux`) are the caller's, not the words'. The answer is kept also where the command fails in the end.
///
/// # Errors
/// The words are no command, or the dump cannot be opened.
pub(crate) fn ask(
    vmcore: &Path,
    split: &[PathBuf],
    debug: &DebugArgs,
    words: &[String],
    stop: &Stop,
) -> Result<(Kept, Option<Failure>), Failure> {
    let mut args: Vec<OsString> = ["recrash", "inspect", "vmcore"].map(OsString::from).into();
    args.extend(words.iter().map(OsString::from));
    let args = respell(args.into_iter()).into_iter().skip(3);
    let command = match Words::try_parse_from(args) {
        Ok(words) => words.command,
        Err(error) if error.exit_code() == 0 => {
            let text = error.render().to_string();
            let kept = Kept {
                objects: vec![serde_json::json!({ "type": "help", "text": text })],
                text,
                ..Kept::default()
            };
            return Ok((kept, None));
        }
        Err(error) => {
            let text = without_bad_advice(error).render().to_string();
            let text = text.trim_start_matches("error: ").trim_end().to_owned();
            return Err(Failure::usage(anyhow!(text)));
        }
    };
    if let Inspect::Unknown(words) = &command {
        return Err(unknown::failure(words));
    }
    let opened = session::open(vmcore, split, debug)?;
    let kept = RefCell::new(Kept {
        stop: Stop::clone(stop),
        ..Kept::default()
    });
    let failure = command.run(&Session::new(&opened, Out::Kept(&kept))?).err();
    Ok((kept.into_inner(), failure))
}

/// Names of the commands.
pub(crate) fn names() -> Vec<String> {
    unknown::names()
}

/// crash's `rd -8 -16 -32 -64` in the spelling that the option parser knows, and `struct struct page` as one type.
pub(crate) fn respell(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.collect();
    if args.get(1).is_some_and(|command| command == "inspect") {
        for arg in args.iter_mut().skip(2) {
            if matches!(arg.to_str(), Some("-8" | "-16" | "-32" | "-64")) {
                let mut long = OsString::from("-");
                long.push(&*arg);
                *arg = long;
            }
        }
        join_type(&mut args);
    }
    args
}

/// `struct struct page`: the shell made two words of the type's name.
fn join_type(args: &mut Vec<OsString>) {
    let is_struct = |arg: &OsString| arg == "struct" || arg == "union";
    // After the dump and options that stand before the command.
    let names: Vec<String> = unknown::names();
    let is_command = |arg: &OsString| is_struct(arg) || names.iter().any(|name| arg == &**name);
    let command = args.iter().skip(3).position(is_command).map(|at| at + 3);
    let Some(command) = command.filter(|at| args.get(*at).is_some_and(is_struct)) else {
        return;
    };
    let is_keyword = |arg: &OsString| is_struct(arg) || arg == "enum";
    let after = args.iter().skip(command + 1).position(is_keyword);
    let Some(keyword) = after.map(|at| at + command + 1) else {
        return;
    };
    if keyword + 1 < args.len() {
        let name = args.remove(keyword + 1);
        if let Some(joined) = args.get_mut(keyword) {
            joined.push(" ");
            joined.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_may_be_spelled_as_crash_does_and_only_here() {
        let spelled = |args: &[&str]| respell(args.iter().map(OsString::from));
        assert_eq!(
            spelled(&["recrash", "inspect", "f", "rd", "-16", "-p", "1000"]),
            ["recrash", "inspect", "f", "rd", "--16", "-p", "1000"]
        );
        assert_eq!(spelled(&["recrash", "run", "-8"]), ["recrash", "run", "-8"]);
    }

    #[test]
    fn a_type_may_be_two_words() {
        let check = |args: &[&str], expected: &[&str]| {
            let words = ["recrash", "inspect", "f"].iter().chain(args);
            let spelled = respell(words.map(OsString::from));
            assert_eq!(spelled.get(3..).unwrap_or_default(), expected, "{args:?}");
        };
        check(
            &["struct", "struct", "page.flags", "1"],
            &["struct", "struct page.flags", "1"],
        );
        check(
            &["struct", "-o", "enum", "pid_type"],
            &["struct", "-o", "enum pid_type"],
        );
        check(&["struct", "page", "1"], &["struct", "page", "1"]);
        check(&["struct", "struct"], &["struct", "struct"]);
        check(
            &["search", "-c", "struct", "struct", "x"],
            &["search", "-c", "struct", "struct", "x"],
        );
    }
}
