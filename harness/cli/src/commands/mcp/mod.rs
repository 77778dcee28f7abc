//! `recrash mcp`: serves the commands that read (analyze, inspect, explain, compare, triage) to editors and agents over
//! the Model Context Protocol on stdin and stdout. Reads nothing outside the folders named at start, writes nothing.
mod bounded;
mod confine;
mod folders;
mod input;
mod reply;
mod request;
mod server;
mod stdin;
mod tools;

use anyhow::Context as _;
use std::path::PathBuf;

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use folders::Folders;
use tools::Reader;

const HELP: &str = "\
An editor or agent starts this itself, for example with
  {\"command\": \"recrash\", \"args\": [\"mcp\", \"/var/crash\"]}
Tools: analyze, inspect, explain, compare, triage; their arguments are described by the server itself.

Paths lie below the folders named; a link out of them is refused. Goldens of the checkout are read by their names.
Debug files are used where a request names a vmlinux, or where --debug-dir names their folder. Where the kernel has
Landlock (5.13 and later), it enforces all of that; elsewhere stderr says that recrash alone does.

Stdout carries the protocol and nothing else. It ends with 0 when the client closes stdin.";

/// Serves the commands that read to editors and agents, over the Model Context Protocol.
///
/// Read-only, and confined to the folders named here.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Folders that may be read: dumps, runs, texts, signatures lie below them
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Look for debug packages here, by build id; without it none is looked for
    #[arg(long, value_name = "DIR")]
    debug_dir: Option<PathBuf>,
}

impl Args {
    /// Runs the command: until the client has gone.
    pub(crate) fn run(self) -> Outcome {
        let folders = Folders::open(&self.folders)?;
        let debug_dir = self.debug_dir.as_deref().map(folders::folder).transpose()?;
        let checkout = super::checkout().ok();
        // Before any thread is started: it holds for this one and those that it starts.
        let read = folders
            .paths()
            .chain(debug_dir.as_deref())
            .map(PathBuf::from)
            .chain(
                checkout
                    .iter()
                    .flat_map(|root| ["golden", "qemu/targets"].map(|folder| root.join(folder))),
            )
            .collect::<Vec<_>>();
        if let Err(why) = confine::to(&read) {
            output::note(&format!(
                "recrash mcp: {why}: paths are checked by recrash alone\n"
            ));
        }
        let reader = Reader::new(folders, debug_dir, checkout);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .context("the server cannot start")
            .map_err(Failure::inconclusive)?;
        let served = runtime.block_on(server::serve(reader));
        // What a client no longer waits for does not keep the process.
        runtime.shutdown_background();
        served.map(|()| Exit::Met)
    }
}
