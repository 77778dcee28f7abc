//! `recrash --help`: the commands under the headings of their groups. The rest of the text is clap's.
use clap::builder::StyledStr;
use std::fmt::Write;

use super::{HEADINGS, grouped};

/// Columns where the terminal does not say; clap's own default.
const WIDTH: usize = 100;
/// Where descriptions begin.
const COLUMN: usize = 15;

/// The command with its own template of help.
pub(super) fn with_groups(command: clap::Command) -> clap::Command {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into());
    let template = template(&command, width);
    command.help_template(template)
}

/// The commands with their options under the headings of the table.
pub(super) fn with_headings(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|sub| {
        let of: Vec<_> = HEADINGS
            .iter()
            .filter(|(name, ..)| *name == sub.get_name())
            .collect();
        sub.mut_args(|arg| {
            let is_named =
                |names: &[&str]| arg.get_long().is_some_and(|long| names.contains(&long));
            let heading = of.iter().find(|(_, _, names)| is_named(names));
            match heading {
                Some((_, heading, _)) => arg.help_heading(*heading),
                None => arg,
            }
        })
    })
}

fn template(command: &clap::Command, width: usize) -> StyledStr {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = String::from("{before-help}{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, commands) in grouped(command) {
        let _ = writeln!(text, "\n{header}{heading}:{header:#}");
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            let mut lines = wrapped(&about.unwrap_or_default(), width).into_iter();
            let name = command.get_name();
            let gap = COLUMN.saturating_sub(name.len() + 2).max(2);
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name}{literal:#}{:gap$}{first}", "");
            for line in lines {
                let _ = writeln!(text, "{:COLUMN$}{line}", "");
            }
        }
    }
    let _ = write!(
        text,
        "\n{header}Options:{header:#}\n{{options}}{{after-help}}"
    );
    text.into()
}

/// The lines of a description; braces would be the template's.
fn wrapped(about: &str, width: usize) -> Vec<String> {
    let about = about.replace(['{', '}'], "");
    let width = width.saturating_sub(COLUMN).max(30);
    let lines = textwrap::wrap(&about, width);
    lines.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn check(width: usize) -> String {
        let command = crate::Cli::command();
        let template = template(&command, width);
        let mut command = command.help_template(template).term_width(width);
        command.render_long_help().to_string()
    }

    #[test]
    fn the_help_shows_each_command_under_its_group() {
        insta::assert_snapshot!(check(100));
    }

    #[test]
    fn a_narrow_terminal_gets_narrow_lines() {
        let help = check(60);
        let commands = help.split("Options:").next().unwrap_or_default();
        let wide = commands.lines().find(|line| line.chars().count() > 60);
        assert_eq!(wide, None);
    }
}
