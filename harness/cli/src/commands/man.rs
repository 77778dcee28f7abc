//! `recrash man`: the man pages, generated from the definition of the command line. What they say is `manual`'s.
use anyhow::{Context as _, anyhow};
use std::path::PathBuf;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::manual::page;
use crate::output;

/// Prints man pages, or writes all of them to a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command whose page is printed, for example: run, or: inspect bt [default: recrash itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Write a page for each command to DIR, for example ~/.local/share/man/man1; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let pages = page::all(&crate::command()).map_err(Failure::inconclusive)?;
        let Some(folder) = self.out else {
            let mut words = vec!["recrash".to_owned()];
            words.extend(self.command);
            let name = words.join("-");
            let page = pages.iter().find(|page| page.name == name).ok_or_else(|| {
                let names: Vec<String> = pages
                    .iter()
                    .filter_map(|page| page.name.strip_prefix("recrash-"))
                    .map(|name| name.replacen('-', " ", 1))
                    .collect();
                Failure::usage(anyhow!("there is no command {:?}", words[1..].join(" ")))
                    .hint(format!("one of: {}", names.join(", ")))
            })?;
            output::print(&page.text)?;
            return Ok(Exit::Met);
        };
        let unwritable = "give --out a folder that you may write to";
        std::fs::create_dir_all(&folder)
            .with_context(|| folder.display().to_string())
            .map_err(|error| Failure::usage(error).hint(unwritable))?;
        for page in &pages {
            let file = folder.join(format!("{}.1", page.name));
            std::fs::write(&file, &page.text)
                .with_context(|| file.display().to_string())
                .map_err(|error| Failure::usage(error).hint(unwritable))?;
        }
        output::note(&format!("{} pages in {}\n", pages.len(), folder.display()));
        Ok(Exit::Met)
    }
}
