//! A kernel image as a file: vmlinux (ELF), or the bzImage that has it inside.
//!
//! Cuts sections and reads the symbol table and the build id. Reads no file itself, and does not
//! look for the nameless kallsyms tables of a stripped vmlinux.

mod blocks;
mod bzimage;

pub use bzimage::extract;

use goblin::elf::{Elf, sym};

use crate::bytes::{cut, u32_at};
use crate::symbols::{Symbol, SymbolTable, SymbolTableBuilder};

/// A vmlinux of 6.1 with debug information takes 630 MB; images beyond this are refused.
pub const IMAGE_MAX: u64 = 1 << 30;
/// `NT_GNU_BUILD_ID`.
const BUILD_ID: u32 = 3;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither ELF nor bzImage.
    #[error("neither an ELF file nor a bzImage (no `HdrS` at offset 0x202)")]
    NotKernel,
    /// The bzImage's header points outside the file, or is of a protocol before 2.08 (2.6.26).
    #[error("bzImage: {what} at offset {offset:#x}")]
    Header {
        /// What was expected.
        what: &'static str,
        /// Where, from the start of the file.
        offset: usize,
    },
    /// No compression that the kernel's build knows.
    #[error("bzImage: the payload at offset {offset:#x} is of no known compression")]
    Compression {
        /// Where, from the start of the file.
        offset: usize,
    },
    /// The payload does not decompress.
    #[error("bzImage: the {format} payload at offset {offset:#x} does not decompress: {why}")]
    Decompress {
        /// Name of the format.
        format: &'static str,
        /// Where, from the start of the file.
        offset: usize,
        /// The decompressor's words.
        why: String,
    },
    /// Too large to be a kernel.
    #[error("the image would take {size} bytes, more than {IMAGE_MAX}")]
    TooLarge {
        /// Bytes.
        size: u64,
    },
    /// The ELF headers do not fit the file.
    #[error("vmlinux: {0}")]
    Elf(String),
}

/// A vmlinux.
#[derive(Debug)]
pub struct Vmlinux<'a> {
    bytes: &'a [u8],
    elf: Elf<'a>,
}

impl<'a> Vmlinux<'a> {
    /// Reads the headers of an uncompressed vmlinux; see [`extract`] for others.
    ///
    /// # Errors
    /// [`ImageError::Elf`] where they do not fit the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let elf = Elf::parse(bytes).map_err(|e| ImageError::Elf(e.to_string()))?;
        Ok(Self { bytes, elf })
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Link address and contents of a section. `None` also where the file holds no bytes for it.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<(u64, &'a [u8])> {
        let named =
            |s: &&goblin::elf::SectionHeader| self.elf.shdr_strtab.get_at(s.sh_name) == Some(name);
        let header = self.elf.section_headers.iter().find(named)?;
        let range = header.file_range()?;
        Some((header.sh_addr, self.bytes.get(range)?))
    }

    /// The symbol table, as linked; empty in the stripped image inside a bzImage.
    #[must_use]
    pub fn symbols(&self) -> SymbolTable {
        let mut symbols = SymbolTableBuilder::default();
        for s in &self.elf.syms {
            let skip = s.st_shndx == 0 || matches!(s.st_type(), sym::STT_FILE | sym::STT_SECTION);
            let Some(name) = self
                .elf
                .strtab
                .get_at(s.st_name)
                .filter(|n| !n.is_empty() && !skip)
            else {
                continue;
            };
            let size = (s.st_size != 0).then_some(s.st_size);
            symbols.push(Symbol {
                name,
                addr: s.st_value,
                kind: self.kind(&s),
                size,
            });
        }
        symbols.finish()
    }

    /// The letter `nm` would print.
    fn kind(&self, s: &goblin::elf::Sym) -> u8 {
        const ABSOLUTE: usize = 0xfff1;
        let header = self.elf.section_headers.get(s.st_shndx);
        let flag = |bit: u32| header.is_some_and(|h| h.sh_flags & u64::from(bit) != 0);
        let letter = match s.st_bind() {
            sym::STB_WEAK => return b'W',
            _ if s.st_shndx == ABSOLUTE => b'a',
            _ if flag(goblin::elf::section_header::SHF_EXECINSTR) => b't',
            _ if header.is_some_and(|h| h.sh_type == goblin::elf::section_header::SHT_NOBITS) => {
                b'b'
            }
            _ if flag(goblin::elf::section_header::SHF_WRITE) => b'd',
            _ => b'r',
        };
        if s.st_bind() == sym::STB_LOCAL {
            letter
        } else {
            letter.to_ascii_uppercase()
        }
    }

    /// The build id in `.notes` (vmlinux) or `.note.gnu.build-id` (modules).
    #[must_use]
    pub fn build_id(&self) -> Option<&'a [u8]> {
        let sections = [".notes", ".note.gnu.build-id"];
        sections
            .iter()
            .find_map(|name| gnu_build_id(self.section(name)?.1))
    }
}

/// The GNU build id among the ELF notes in `notes`.
#[must_use]
pub fn gnu_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let word = |at| usize::try_from(u32_at(notes, at)?).ok();
        let (name_len, len) = (word(0)?, word(4)?);
        let kind = u32_at(notes, 8)?;
        let start = name_len.checked_next_multiple_of(4)?.checked_add(12)?;
        let contents = cut(notes, start, len)?;
        if kind == BUILD_ID && cut(notes, 12, name_len)? == b"GNU\0" {
            return Some(contents);
        }
        notes = notes.get(start.checked_add(len.checked_next_multiple_of(4)?)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(name: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [name.len() as u32, contents.len() as u32, kind] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for part in [name, contents] {
            out.extend_from_slice(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let mut notes = note(b"Linux\0", 0x100, b"x");
        notes.extend(note(b"GNU\0", 3, &[7; 20]));
        assert_eq!(gnu_build_id(&notes), Some(&[7; 20][..]));
        assert_eq!(gnu_build_id(&notes[..notes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_notes_and_elf_files_never_panic(bytes: Vec<u8>) {
            let _ = gnu_build_id(&bytes);
            let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
            elf.extend_from_slice(&bytes);
            if let Ok(vmlinux) = Vmlinux::parse(&elf) {
                let _ = (vmlinux.symbols(), vmlinux.build_id());
            }
        }
    }
}
