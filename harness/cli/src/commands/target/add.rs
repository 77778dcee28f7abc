//! `recrash target add`: takes in a kernel of the user's own. The work is `machine`'s.
use recrash_machine::setup::SetupOptions;
use recrash_machine::setup::added::{self, AddRequest, Source};
use std::path::PathBuf;

use super::{failure, show};
use crate::commands::Outcome;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;

/// Adds a kernel of your own: from packages, a built tree, or an installed system.
///
/// Its files are copied and checked, repro-module is built against its headers with its compiler, and what will not
/// work is told before anything boots. From then on it is a target like the others: recrash run --target NAME.
/// Nothing of a package is run but the build tools of its headers.
///
/// It is kept in $XDG_DATA_HOME/recrash/targets/NAME (RECRASH_DATA names another folder); its target.toml may be
/// edited. Nothing is kept if something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The new target's name: lower-case letters, digits, dots and dashes
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    from: From,
    /// Where /boot and /lib/modules lie, for --host: a mounted disk of another machine
    #[arg(long, value_name = "DIR", default_value = "/", requires = "host")]
    root: PathBuf,
    /// A repro.ko that was built elsewhere for this kernel; needs no headers and no compiler
    #[arg(long, value_name = "FILE", conflicts_with = "cc")]
    module: Option<PathBuf>,
    /// The compiler for repro-module [default: the one that the kernel was built with]
    #[arg(long, value_name = "COMPILER")]
    cc: Option<String>,
    /// The target whose machine, command lines, modules and deadlines are taken over
    #[arg(long = "from", value_name = "TARGET", default_value = "debian")]
    template: String,
    /// The kernel's vmlinux with debug symbols, if no package brings it
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// Replace a kernel that was added under this name
    #[arg(long)]
    force: bool,
    /// Print one JSON object a line on stdout; the last one is what target show prints
    #[arg(long)]
    json: bool,
    /// Show what apt-get and make print
    #[arg(short, long)]
    verbose: bool,
}

/// Where it comes from: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct From {
    /// Debian packages: image (and modules), headers with -common and kbuild; -dbg if there is one
    #[arg(long, value_name = "FILE", num_args = 1..)]
    deb: Vec<PathBuf>,
    /// RPM packages: kernel-core and kernel-modules, or kernel; kernel-devel; kernel-debuginfo if there is one
    #[arg(long, value_name = "FILE", num_args = 1..)]
    rpm: Vec<PathBuf>,
    /// The folder in which make has built a kernel (or O= of it)
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// The kernel installed on this host [default: the one that runs]
    #[arg(long, value_name = "RELEASE", num_args = 0..=1, default_missing_value = "")]
    host: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  recrash target add mine --tree ~/src/linux
  recrash target add el8 --rpm kernel-core-*.rpm kernel-modules-*.rpm kernel-devel-*.rpm kernel-debuginfo-*.rpm
  recrash target add ubuntu --deb linux-image-*.deb linux-modules-*.deb linux-headers-*.deb
  recrash target add here --host
  recrash target add crashed --host 4.18.0-147.el8.x86_64 --root /mnt --module repro.ko

Exit codes:
  0  added
  2  the kernel cannot be used as it is, or something is missing; the message says what to do
  4  set-up failed: apt, disk, or a build";

impl From {
    fn source(&self, root: &std::path::Path) -> Source {
        if let Some(tree) = &self.tree {
            Source::Tree(tree.clone())
        } else if let Some(release) = &self.host {
            let release = match release.as_str() {
                "" => running_release(),
                named => named.to_owned(),
            };
            Source::Host {
                root: root.to_owned(),
                release,
            }
        } else if self.rpm.is_empty() {
            Source::Deb(self.deb.clone())
        } else {
            Source::Rpm(self.rpm.clone())
        }
    }
}

fn running_release() -> String {
    let file = "/proc/sys/kernel/osrelease";
    std::fs::read_to_string(file)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

impl Args {
    /// Runs the command.
    pub(crate) fn run(self) -> Outcome {
        let template_file = super::file(&self.template)
            .map_err(|error| error.hint(format!("--from {}: no such target", self.template)))?;
        let template = super::load(&self.template)?;
        let progress = Progress::new(self.json, self.verbose);
        let request = AddRequest {
            name: &self.name,
            source: &self.from.source(&self.root),
            module: self.module.as_deref(),
            cc: self.cc.as_deref(),
            vmlinux: self.vmlinux.as_deref(),
            template: &template,
            template_file: &template_file,
            taken: &super::of_checkout()?,
            replace: self.force,
        };
        let options = SetupOptions {
            install_host_packages: true,
            ..SetupOptions::default()
        };
        let result = added::add(&request, &options, &mut |event| {
            super::super::setup::show(&progress, event);
        });
        let added = result.map_err(|error| {
            progress.fail();
            failure(error)
        })?;
        progress.end();
        let shown = show::Shown::of_added(&added, &super::load(&self.name)?);
        if self.json {
            output::print_json(&shown)?;
        } else {
            output::print(&format!(
                "{}\nnext: recrash run --target {}\n",
                shown.text(),
                self.name
            ))?;
        }
        Ok::<Exit, Failure>(Exit::Met)
    }
}
