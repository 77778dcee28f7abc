//! `recrash target show`: what a target is, and what of it does not work. Changes nothing.
use recrash_machine::setup::added::{Added, Limit, Origin, Store};
use recrash_machine::setup::{self, LockedPackage};
use recrash_machine::target::{KernelSource, Target};
use serde::Serialize;
use std::fmt::Write;

use super::{failure, shown};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, WARN};

/// Shows what a target is: where its kernel comes from, what it is built with, what does not work with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Hash all files of an added kernel, even those that look untouched
    #[arg(long)]
    verify: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "target", rename_all = "kebab-case")]
pub(super) struct Shown {
    name: String,
    summary: String,
    file: String,
    /// `uname -r`; absent before set-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_release: Option<String>,
    /// Whether a run can start; `missing` says what is missing if not.
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    /// The built module, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    module_ko: Option<String>,
    /// Where vmlinux and modules with DWARF lie, if the target brings them: for `--debug-dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    debug_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Own>,
}

/// Of a kernel that was added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Own {
    origin: Origin,
    #[serde(skip)]
    origin_text: String,
    time: String,
    folder: String,
    image: String,
    modules: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vmlinux: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<String>,
    /// What repro-module is built with; absent if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    compiler: Option<String>,
    packages: Vec<LockedPackage>,
    files: usize,
    bytes: u64,
    limits: Vec<Limit>,
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let target = super::load(&self.name)?;
        let shown = if target.kernel == KernelSource::Added {
            let added = Store::find()
                .and_then(|store| store.open(&self.name))
                .map_err(failure)?;
            if self.verify {
                added.verify(true).map_err(failure)?;
            }
            Shown::of_added(&added, &target)
        } else {
            Shown::of(&target, super::file(&self.name).map(|file| shown(&file))?)
        };
        if self.json {
            output::print_json(&shown)?;
        } else {
            output::print(&shown.text())?;
        }
        Ok::<Exit, Failure>(Exit::Met)
    }
}

impl Shown {
    fn of(target: &Target, file: String) -> Self {
        let loaded = setup::load(target);
        Self {
            name: target.name.clone(),
            summary: target.summary.clone(),
            file,
            ready: loaded.is_ok(),
            missing: loaded.as_ref().err().map(ToString::to_string),
            debug_dir: loaded
                .as_ref()
                .ok()
                .and_then(|found| found.debug_dir.as_deref())
                .map(shown),
            module_ko: loaded.as_ref().ok().map(|found| shown(&found.module_ko)),
            kernel_release: loaded.ok().map(|found| found.kernel_release),
            added: None,
        }
    }

    /// Of an added kernel.
    pub(super) fn of_added(added: &Added, target: &Target) -> Self {
        let record = &added.record;
        let path = |path: &std::path::PathBuf| shown(&added.path(path));
        let own = Own {
            origin: record.origin.clone(),
            origin_text: record.origin.to_string(),
            time: record.added.clone(),
            folder: shown(&added.folder),
            image: path(&record.image),
            modules: path(&record.modules),
            vmlinux: record.vmlinux.as_ref().map(path),
            headers: record.headers.as_ref().map(|headers| path(&headers.path)),
            compiler: record
                .compiler
                .as_ref()
                .map(|compiler| compiler.program.clone()),
            packages: record.packages.clone(),
            files: record.files.len(),
            bytes: record.files.iter().map(|file| file.size).sum(),
            limits: record.limits.clone(),
        };
        let file = shown(&added.folder.join("target.toml"));
        Self {
            kernel_release: Some(record.release.clone()),
            added: Some(own),
            ..Self::of(target, file)
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!(
            "target {}: {}\n",
            self.name,
            output::printable(&self.summary)
        );
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(out, "  {name:<8}  {}", output::printable(value));
        };
        if let Some(own) = &self.added {
            row("from", &own.origin_text);
            for package in &own.packages {
                row("", &format!("{} {}", package.name, package.version));
            }
            row("added", &own.time);
            row("image", &own.image);
            row("modules", &own.modules);
            let kept = format!("{} files, {}", own.files, output::size(own.bytes));
            row("", &kept);
            let symbols = own
                .vmlinux
                .as_deref()
                .unwrap_or("none; the dump's own facts do");
            row("symbols", symbols);
            let module = match (&own.compiler, &own.headers) {
                (Some(compiler), Some(headers)) => {
                    format!("built with {compiler} against {headers}")
                }
                _ => "the repro.ko that was given".to_owned(),
            };
            row("module", &module);
        } else if let Some(release) = &self.kernel_release {
            row("kernel", &format!("Linux {release}"));
        }
        if let Some(module) = &self.module_ko {
            row("", module);
        }
        row("settings", &self.file);
        let missing = self.missing.as_deref();
        row("ready", missing.map_or("yes", |missing| missing));
        for limit in self.added.iter().flat_map(|own| &own.limits) {
            let _ = writeln!(
                out,
                "{WARN}does not work{WARN:#}: {}\n  because   {}\n  instead   {}",
                output::printable(&limit.what),
                output::printable(&limit.because),
                output::printable(&limit.hint)
            );
        }
        out
    }
}
