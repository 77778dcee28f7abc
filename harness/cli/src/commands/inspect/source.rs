//! File and line of a code address, with the functions inlined there, where debug information was given or found.
use recrash_debuginfo::dwarf::SourceFrame;
use recrash_kernel::Kernel;
use recrash_vmcore::VirtAddr;
use serde::Serialize;

/// A function at an address, and where in its source that is.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct SourceLine {
    pub(super) function: String,
    pub(super) file: String,
    pub(super) line: u32,
}

/// Innermost inlined function first. For a return address ask for one byte before.
///
/// # Errors
/// Why there is none.
pub(super) fn lines(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Vec<SourceLine>, String> {
    let frames = kernel.source_frames(at).map_err(|why| why.to_string())?;
    let line = |frame: SourceFrame| SourceLine {
        function: frame.function,
        file: frame.file,
        line: frame.line,
    };
    Ok(frames.into_iter().map(line).collect())
}
