//! The folder of a matrix: its table as Markdown, its cells as JSON and its report, written anew after each run, so that a harness
//! that is killed leaves what it had. Decides nothing.
use anyhow::{Context, Result};
use jiff::ZonedDateTime;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::cell::Cell;
use super::document;
use super::table::{self, Waiting};
use crate::output;
use crate::report::document::Document;
use crate::report::emit;

/// Folder of the matrices, beside the runs.
const MATRICES: &str = "matrices";

/// Where a matrix is written down.
pub(super) struct Paper {
    folder: PathBuf,
    table: PathBuf,
    cells: PathBuf,
    started: ZonedDateTime,
}

impl Paper {
    /// Makes `<root>/matrices/<time>[-n]`.
    pub(super) fn create(root: &Path) -> Result<Self> {
        let folder = root.join(MATRICES);
        let context = || format!("cannot make a folder in {}", folder.display());
        fs::create_dir_all(&folder).with_context(context)?;
        let started = ZonedDateTime::now();
        let time = started.strftime("%Y%m%d-%H%M%S").to_string();
        let mut own = folder.join(&time);
        let mut n = 1;
        while let Err(error) = fs::create_dir(&own) {
            if error.kind() != std::io::ErrorKind::AlreadyExists {
                return Err(error).with_context(context);
            }
            n += 1;
            own = folder.join(format!("{time}-{n}"));
        }
        let own = own.canonicalize().with_context(context)?;
        Ok(Self {
            table: own.join("matrix.md"),
            cells: own.join("matrix.jsonl"),
            folder: own,
            started,
        })
    }

    /// The table.
    pub(super) fn table(&self) -> &Path {
        &self.table
    }

    /// The page, once it is written.
    pub(super) fn page(&self) -> Option<PathBuf> {
        Some(self.folder.join(emit::HTML)).filter(|page| page.is_file())
    }

    /// All there is to tell of these cells; paths in it are relative to the folder.
    pub(super) fn document(&self, cells: &[Cell]) -> Document {
        document::document(cells, &self.folder, &self.started)
    }

    /// Writes all files. The runs stand even if the disk is full.
    pub(super) fn write(&self, cells: &[Cell]) {
        let mut lines = String::new();
        for cell in cells {
            let line = serde_json::to_string(&cell.line(Waiting::NotRun.name()));
            let _ = writeln!(lines, "{}", line.unwrap_or_default());
        }
        let table = table::markdown(cells, Waiting::NotRun);
        for (file, text) in [(&self.table, table), (&self.cells, lines)] {
            if let Err(error) = fs::write(file, text) {
                output::note(&format!("warning: {}: {error}\n", file.display()));
            }
        }
        emit::keep(&mut self.document(cells), &self.folder);
    }
}
