//! Which build of the kernel or of a module this is: the GNU build id that the linker put into its notes.
use std::fmt::Write as _;

use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_debuginfo::vmlinux::gnu_build_id;

/// In lower-case hexadecimal, as VMCOREINFO and `file` show it.
pub(crate) fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// From the notes between `__start_notes` and `__stop_notes`, which stay in memory (include/asm-generic/
/// vmlinux.lds.h, `NOTES`). VMCOREINFO has it since 5.9 (commit 0935288c6e00).
pub(crate) fn in_memory(kernel: &Kernel<'_>) -> Result<String, Missing> {
    let (notes, at) = kernel.section("__start_notes", "__stop_notes")?;
    gnu_build_id(&notes)
        .map(hexadecimal)
        .ok_or_else(|| Missing::Implausible(format!("no build id among the notes at {at}")))
}
