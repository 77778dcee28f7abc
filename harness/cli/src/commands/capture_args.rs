//! The options of `recrash run` that say how the dying guest's memory is saved, and what they come to for a target.
use recrash_agent::plan::Compression;
use recrash_machine::capture::{Capture, CaptureMode, MAX_LEVEL, StopBy, Wanted};
use recrash_machine::makedumpfile;
use recrash_machine::qemu::formats;
use recrash_machine::setup::Provisioned;
use recrash_machine::target::Target;

use crate::failure::Failure;
use crate::output;

/// How the memory is saved.
#[derive(Debug, clap::Args)]
pub(crate) struct CaptureArgs {
    /// Who writes the vmcore: kdump, a second kernel in the guest; qemu, which stops the guest and needs none; both, whose
    /// signatures must be the same [default: the target's, or kdump]
    #[arg(long, value_name = "HOW")]
    capture: Option<ModeArg>,
    /// By what QEMU learns that the kernel dies: module, repro-module tells it; console, the panic's last line (for
    /// --capture qemu) [default: the target's, or module]
    #[arg(long, value_name = "WHAT")]
    stop_by: Option<StopArg>,
    /// How the vmcore's pages are compressed [default: the target's, or lzo by kdump and zlib by qemu]
    #[arg(long, value_name = "HOW")]
    dump_compression: Option<CompressionArg>,
    /// Which pages makedumpfile leaves out, its -d: 0 none, 31 all that it can [default: the target's, or 31]
    #[arg(long, value_name = "0..31", value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_LEVEL)))]
    dump_level: Option<u8>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ModeArg {
    Kdump,
    Qemu,
    Both,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum StopArg {
    Module,
    Console,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CompressionArg {
    None,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

impl From<CompressionArg> for Compression {
    fn from(arg: CompressionArg) -> Self {
        match arg {
            CompressionArg::None => Self::None,
            CompressionArg::Zlib => Self::Zlib,
            CompressionArg::Lzo => Self::Lzo,
            CompressionArg::Snappy => Self::Snappy,
            CompressionArg::Zstd => Self::Zstd,
        }
    }
}

impl CaptureArgs {
    /// What these options and the target come to.
    ///
    /// # Errors
    /// Usage: options that do not go together.
    pub(crate) fn settle(&self, target: &Target) -> Result<Capture, Failure> {
        let line = Wanted {
            mode: self.capture.map(|mode| match mode {
                ModeArg::Kdump => CaptureMode::Kdump,
                ModeArg::Qemu => CaptureMode::Qemu,
                ModeArg::Both => CaptureMode::Both,
            }),
            stop_by: self.stop_by.map(|stop| match stop {
                StopArg::Module => StopBy::Module,
                StopArg::Console => StopBy::Console,
            }),
            compression: self.dump_compression.map(Into::into),
            level: self.dump_level,
        };
        let brings = target.capture.makedumpfile.is_some();
        Capture::settle(line, target.capture.wanted(), brings)
            .map_err(|why| Failure::usage(anyhow::Error::msg(why)))
    }
}

/// Asks the programs that will write whether they can compress so, before anything boots.
///
/// # Errors
/// Usage, naming what there is. A makedumpfile that cannot be run here is not asked: the guest will tell.
pub(crate) fn check(capture: &Capture, provisioned: &Provisioned) -> Result<(), Failure> {
    if let Some(wanted) = capture.qemu {
        formats::check(&provisioned.qemu.clone().into(), wanted).map_err(|error| match error {
            error @ formats::FormatError::Lacking { .. } => {
                Failure::usage(error).hint("--dump-compression with one of these")
            }
            error => Failure::inconclusive(error),
        })?;
    }
    // By default what makedumpfile cannot do is copied as it is.
    let asked = capture.kdump.filter(|_| capture.strict);
    if let (Some(form), Some(files)) = (asked, &provisioned.makedumpfile) {
        match makedumpfile::check(files, form.compression) {
            Ok(()) => {}
            Err(error @ makedumpfile::CompressionError::Lacking { .. }) => {
                return Err(Failure::usage(error).hint("--dump-compression with one of these"));
            }
            Err(error) => output::note(&format!("warning: {error}; the guest will tell\n")),
        }
    }
    Ok(())
}
