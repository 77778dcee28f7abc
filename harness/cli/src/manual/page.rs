//! Man pages: names, synopsis and options from the definition of the command line by clap_mangen, the other sections from
//! what `--help` and `facts` say. Writes no file.
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

use super::facts::{ENVIRONMENT, EXAMPLES, FILES};
use super::grouped;
use crate::exit;

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// `recrash-inspect-bt`.
    pub(crate) name: String,
    /// As roff.
    pub(crate) text: String,
}

/// The pages of a command and of all below it; `command` is the whole command line.
///
/// # Errors
/// A page cannot be rendered.
pub(crate) fn all(command: &clap::Command) -> io::Result<Vec<Page>> {
    let mut pages = Vec::new();
    let mut root = command.clone().disable_help_subcommand(true);
    root.build();
    add(&root, &[], &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, above: &[&str], pages: &mut Vec<Page>) -> io::Result<()> {
    let mut words = above.to_vec();
    words.push(command.get_name());
    pages.push(Page {
        name: words.join("-"),
        text: page(command, &words)?,
    });
    for below in command.get_subcommands().filter(|below| is_shown(below)) {
        add(below, &words, pages)?;
    }
    Ok(())
}

fn is_shown(command: &clap::Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// `words`: `recrash`, `inspect`, `bt`.
fn page(command: &clap::Command, words: &[&str]) -> io::Result<String> {
    let man = Man::new(command.clone());
    // Without a date: the same sources give the same page. Nothing is hyphenated, as names of options and functions
    // would get dashes that are none.
    let mut out = format!(
        ".TH {} 1 \"\" \"recrash {}\" \"recrash\"\n.nh\n.ad l\n",
        words.join("-").to_uppercase(),
        env!("CARGO_PKG_VERSION")
    )
    .into_bytes();
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    let mut roff = Roff::new();
    commands(&mut roff, command, words);
    after(&mut roff, command, words);
    if words.len() == 1 {
        terms(&mut roff, "ENVIRONMENT", ENVIRONMENT);
        terms(&mut roff, "FILES", FILES);
    }
    examples(&mut roff, words);
    see_also(&mut roff, command, words);
    roff.to_writer(&mut out)?;
    let text = String::from_utf8(out).map_err(io::Error::other)?;
    // Three ways to ask for one empty line.
    Ok(text.replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// The commands below, in their groups where they have some.
fn commands(roff: &mut Roff, command: &clap::Command, words: &[&str]) {
    if !command.get_subcommands().any(is_shown) {
        return;
    }
    roff.control("SH", ["COMMANDS"]);
    let one = |roff: &mut Roff, below: &clap::Command| {
        roff.control("TP", []);
        roff.text([
            bold(format!("{}-{}", words.join("-"), below.get_name())),
            roman("(1)"),
        ]);
        roff.text([roman(
            below
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )]);
    };
    if words.len() == 1 {
        for (heading, commands) in grouped(command) {
            roff.control("SS", [heading]);
            commands.iter().for_each(|below| one(roff, below));
        }
    } else {
        let below = command.get_subcommands().filter(|below| is_shown(below));
        below.for_each(|below| one(roff, below));
    }
}

/// What `--help` ends with: exit codes under their own heading, the command's own or those of all; the rest as notes.
fn after(roff: &mut Roff, command: &clap::Command, words: &[&str]) {
    let text = command.get_after_long_help().or(command.get_after_help());
    let text = text.map(ToString::to_string).unwrap_or_default();
    let mut notes = Vec::new();
    let mut exits = None;
    for paragraph in text.split("\n\n") {
        match paragraph.strip_prefix("Exit codes:\n") {
            Some(codes) => exits = Some(codes.to_owned()),
            None if !paragraph.trim().is_empty() => notes.push(paragraph),
            None => {}
        }
    }
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
        for (index, paragraph) in notes.into_iter().enumerate() {
            if index > 0 {
                roff.control("PP", []);
            }
            literal(roff, paragraph);
        }
    }
    roff.control("SH", ["EXIT STATUS"]);
    let common = exit::HELP.strip_prefix("Exit codes:\n");
    let codes = exits.or(common.map(str::to_owned)).unwrap_or_default();
    let mut in_paragraph = false;
    for line in codes.lines() {
        match code(line) {
            Some((code, means)) => {
                roff.control("TP", ["4"]);
                roff.text([bold(code)]);
                roff.text([roman(means)]);
                continue;
            }
            // What a code means goes on in the next line, indented; other lines are about all of them.
            None if line.starts_with("     ") => {}
            None if in_paragraph => {}
            None => {
                roff.control("PP", []);
                in_paragraph = true;
            }
        }
        roff.text([roman(line.trim_start())]);
    }
    if words.len() == 1 {
        roff.control("PP", []);
        roff.text([roman("The numbers are stable. Some commands give them another meaning: their pages say which.")]);
    }
}

/// `  0  what it means`.
fn code(line: &str) -> Option<(&str, &str)> {
    let (code, means) = line.strip_prefix("  ")?.split_once("  ")?;
    code.chars()
        .all(|c| c.is_ascii_digit())
        .then_some((code, means))
}

/// Lines as they stand.
fn literal(roff: &mut Roff, text: &str) {
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn terms(roff: &mut Roff, heading: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (term, means) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*means)]);
    }
}

fn examples(roff: &mut Roff, words: &[&str]) {
    let own: Vec<_> = match words {
        [_] => EXAMPLES.iter().filter(|(of, ..)| of.is_empty()).collect(),
        [_, of] => EXAMPLES.iter().filter(|(name, ..)| name == of).collect(),
        _ => Vec::new(),
    };
    if own.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (_, line, does) in own {
        roff.control("TP", []);
        roff.text([bold(*line)]);
        roff.text([roman(*does)]);
    }
}

fn see_also(roff: &mut Roff, command: &clap::Command, words: &[&str]) {
    let above = words.split_last().map(|(_, above)| above.join("-"));
    let mut pages: Vec<String> = above.filter(|name| !name.is_empty()).into_iter().collect();
    if words.len() > 2 {
        pages.push("recrash".into());
    }
    let below = command.get_subcommands().filter(|below| is_shown(below));
    pages.extend(below.map(|below| format!("{}-{}", words.join("-"), below.get_name())));
    pages.extend(
        ["crash", "makedumpfile"]
            .iter()
            .filter(|_| words.len() == 1)
            .map(|&peer| peer.into()),
    );
    if pages.is_empty() {
        return;
    }
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len() - 1;
    for (index, name) in pages.into_iter().enumerate() {
        let section = if name == "crash" || name == "makedumpfile" {
            8
        } else {
            1
        };
        let comma = if index == last { "" } else { "," };
        roff.text([bold(name), roman(format!("({section}){comma}"))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Vec<Page> {
        all(&crate::command()).unwrap()
    }

    #[test]
    fn every_command_has_a_page_with_the_sections_that_readers_look_for() {
        let pages = pages();
        for command in crate::command().get_subcommands() {
            let name = format!("recrash-{}", command.get_name());
            assert!(pages.iter().any(|page| page.name == name), "{name}");
        }
        for page in &pages {
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"EXIT STATUS\""] {
                let heading = format!("\n.SH {section}\n");
                assert_eq!(
                    page.text.matches(&heading).count(),
                    1,
                    "{}: {section}",
                    page.name
                );
            }
        }
        let main = &pages[0].text;
        for section in [
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
            "COMMANDS",
            "\"SEE ALSO\"",
        ] {
            assert!(main.contains(&format!("\n.SH {section}\n")), "{section}");
        }
    }

    #[test]
    fn a_command_s_own_exit_codes_stand_in_its_page() {
        let pages = pages();
        let text = |name: &str| {
            let page = pages.iter().find(|page| page.name == name);
            page.map(|page| page.text.clone()).unwrap_or_default()
        };
        assert!(text("recrash-triage").contains("one crash at least was grouped"));
        assert!(text("recrash-compare").contains("the expectation was met"));
    }

    #[test]
    fn every_page_is_roff_that_nothing_in_it_breaks() {
        // Control lines that the pages need; another one is text that began with a dot.
        const CONTROLS: [&str; 13] = [
            "TH", "SH", "SS", "TP", "PP", "IP", "RS", "RE", "nf", "fi", "nh", "ad", "sp",
        ];
        for page in pages() {
            for line in page.text.lines() {
                let control = line.strip_prefix(['.', '\'']);
                let Some(control) = control else { continue };
                let name = control.split(' ').next().unwrap_or_default();
                let known =
                    CONTROLS.contains(&name) || ["br", "ie", "el", "if", "ds"].contains(&name);
                assert!(known, "{}: {line}", page.name);
            }
            assert_eq!(
                page.text.matches("\n.nf\n").count(),
                page.text.matches("\n.fi\n").count()
            );
        }
    }
}
