//! `recrash golden migrate`: rewrites goldens of an older schema, as proposals or in place.
use anyhow::anyhow;
use recrash_signature::migrate::{Migrated, migrate};
use recrash_signature::{Signature, store};
use std::path::{Path, PathBuf};

use super::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Rewrites goldens of an older schema.
///
/// By default each becomes a proposal (.snap.new) for cargo insta review. A golden of a newer schema is refused, and
/// so is one that is no signature; the others are rewritten all the same, and the exit code is 2.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Goldens (.snap), or folders of them [default: golden in the checkout]
    #[arg(value_name = "FILE|DIR")]
    subjects: Vec<PathBuf>,
    /// Rewrite them in place instead of proposing
    #[arg(long)]
    write: bool,
}

impl Args {
    pub(super) fn run(mut self) -> Outcome {
        if self.subjects.is_empty() {
            self.subjects.push(super::folder(None)?);
        }
        let mut refused = false;
        for subject in &self.subjects {
            for file in files(subject)? {
                let name = output::printable(&file.display().to_string());
                match one(&file, self.write) {
                    Ok(said) => output::print(&format!("{name}: {said}\n"))?,
                    Err(failure) => {
                        refused = true;
                        output::print(&format!("{name}: refused: {}\n", failure.chain()))?;
                    }
                }
            }
        }
        Ok(if refused { Exit::Usage } else { Exit::Met })
    }
}

/// The file itself; of a folder, its snapshots, and those of the folders in it.
fn files(subject: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !subject.is_dir() {
        return Ok(vec![subject.to_owned()]);
    }
    let mut out: Vec<PathBuf> = std::fs::read_dir(subject)?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|e| e == "snap"))
        // Snapshots that are no signatures, such as the table of all pairs, lie beside the cases.
        .filter(|file| {
            let body = store::read_snapshot(file).map(|snapshot| snapshot.body);
            body.is_ok_and(|body| body.lines().any(|line| line.starts_with("schema = ")))
        })
        .collect();
    out.sort();
    out.extend(store::list(subject).map_err(Failure::usage)?);
    Ok(out)
}

fn one(file: &Path, write: bool) -> Result<String, Failure> {
    let snapshot = store::read_snapshot(file).map_err(Failure::usage)?;
    let (from, signature) = match migrate(&snapshot.body).map_err(Failure::usage)? {
        Migrated::Current => return Ok("up to date".into()),
        Migrated::Rewritten { from, signature } => (from, signature),
    };
    let target = target(file, write)?;
    store::write(&target, &snapshot.header, &signature).map_err(Failure::usage)?;
    let to = recrash_signature::model::SCHEMA;
    Ok(format!(
        "schema {from} → {to}{}",
        absences(&signature, write)
    ))
}

/// Where the rewritten one goes. A proposal that waits is a person's to judge first.
fn target(file: &Path, write: bool) -> Result<PathBuf, Failure> {
    if write {
        return Ok(file.to_owned());
    }
    if store::under_ci() {
        let error = anyhow!("under CI nothing is proposed");
        return Err(Failure::usage(error).hint("--write rewrites in place"));
    }
    let mut proposal = file.to_owned().into_os_string();
    proposal.push(".new");
    let proposal = PathBuf::from(proposal);
    if proposal.exists() {
        let error = anyhow!("a proposal waits beside it: accept or reject that first");
        return Err(Failure::usage(error));
    }
    Ok(proposal)
}

fn absences(signature: &Signature, write: bool) -> String {
    let done = if write { "written" } else { "proposed" };
    match signature.fault.report.reason() {
        Some(reason) => format!(", {done}; fault.report is absent: {reason}"),
        None => format!(", {done}"),
    }
}
