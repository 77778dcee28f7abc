//! What may be at hand besides the dump. Bytes and text only: whoever opens a kernel has read the files.

use crate::source_lines::DebugInfo;

/// Files that help with what a dump lacks. All are optional; the dump alone comes first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'d> {
    /// Text of the kernel's `System.map`, as linked (without KASLR).
    pub system_map: Option<&'d str>,
    /// The kernel's image: vmlinux, with or without debug information, or the bzImage (vmlinuz) around it.
    pub image: Option<&'d [u8]>,
    /// The kernel's modules, `.ko` files uncompressed, in any order.
    pub modules: &'d [ModuleFile<'d>],
    /// DWARF of the kernel and its modules: for source lines, and for types where the dump has no BTF.
    pub debug: Option<&'d dyn DebugInfo>,
}

/// A module's file.
#[derive(Debug, Clone, Copy)]
pub struct ModuleFile<'d> {
    /// Name as in `lsmod`: with underscores, without `.ko`.
    pub name: &'d str,
    /// The ELF file, uncompressed.
    pub bytes: &'d [u8],
}
