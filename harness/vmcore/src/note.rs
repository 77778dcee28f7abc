//! ELF notes of a dump, and the registers that `NT_PRSTATUS` notes hold.
//!
//! Layouts: ELF gABI, "Note Section"; `struct elf_prstatus` and `struct user_regs_struct` in
//! include/linux/elfcore.h and arch/x86/include/asm/user_64.h.

use crate::bytes::{array, u32_le};

/// `n_type` of a note named CORE that holds a CPU's registers.
const NT_PRSTATUS: u32 = 1;
/// Where `pr_reg` begins in `struct elf_prstatus`, in bytes.
const PR_REG: usize = 112;

/// One ELF note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Owner, such as CORE, VMCOREINFO or QEMU.
    pub name: String,
    /// `n_type`; its meaning is the owner's.
    pub kind: u32,
    /// The payload.
    pub desc: Vec<u8>,
}

/// What a CPU was doing, as its `NT_PRSTATUS` note says.
///
/// The kernel writes one for each CPU that answered the shutdown interrupt, in CPU order, so with
/// a missing CPU the later ones move up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prstatus {
    /// Process that was running, 0 for the idle task. QEMU puts the CPU's number plus one here.
    pub pid: u32,
    /// `pr_cursig`, 0 in kernel dumps.
    pub signal: u16,
    /// General registers.
    pub regs: Gregs,
}

macro_rules! gregs {
    ($($name:ident),+) => {
        /// General registers in the order of `struct user_regs_struct`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[expect(missing_docs, reason = "the fields are the registers of those names")]
        pub struct Gregs { $(pub $name: u64),+ }

        impl Gregs {
            /// Every register with its name, in the note's order.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            /// The register of this name, in lower case.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)+
                    _ => None,
                }
            }

            fn parse(bytes: &[u8]) -> Option<Self> {
                let mut values = bytes.chunks_exact(8).filter_map(|b| array(b, 0));
                Some(Self { $($name: u64::from_le_bytes(values.next()?)),+ })
            }
        }
    };
}
gregs!(
    r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs,
    eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs
);

/// Splits a note segment; `Err` holds the offset in `bytes` at which a note does not fit.
///
/// Notes are padded to 4 bytes. An empty header is skipped: the kernel leaves room for CPUs that
/// have no note (`final_note()` in kernel/crash_core.c).
pub(crate) fn parse(bytes: &[u8]) -> (Vec<Note>, Option<usize>) {
    let mut notes = Vec::new();
    let mut at = 0;
    while bytes.len().saturating_sub(at) >= 12 {
        match parse_one(bytes, at) {
            Some((Some(note), next)) => {
                notes.push(note);
                at = next;
            }
            Some((None, next)) => at = next,
            None => return (notes, Some(at)),
        }
    }
    (notes, None)
}

fn parse_one(bytes: &[u8], at: usize) -> Option<(Option<Note>, usize)> {
    let name_len = u32_le(bytes, at)? as usize;
    let desc_len = u32_le(bytes, at.checked_add(4)?)? as usize;
    let kind = u32_le(bytes, at.checked_add(8)?)?;
    let name_at = at.checked_add(12)?;
    if name_len == 0 && desc_len == 0 {
        return Some((None, name_at));
    }
    let name = bytes.get(name_at..name_at.checked_add(name_len)?)?;
    let desc_at = name_at.checked_add(name_len.checked_next_multiple_of(4)?)?;
    let desc = bytes.get(desc_at..desc_at.checked_add(desc_len)?)?;
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    let note = Note {
        name: String::from_utf8_lossy(name).into_owned(),
        kind,
        desc: desc.to_vec(),
    };
    Some((
        Some(note),
        desc_at.checked_add(desc_len.checked_next_multiple_of(4)?)?,
    ))
}

/// The registers of every CPU among these notes.
pub(crate) fn prstatus(notes: &[Note]) -> Vec<Prstatus> {
    (notes.iter())
        .filter(|note| note.name == "CORE" && note.kind == NT_PRSTATUS)
        .filter_map(|note| {
            Some(Prstatus {
                pid: u32_le(&note.desc, 32)?,
                signal: array(&note.desc, 12).map(u16::from_le_bytes)?,
                regs: Gregs::parse(note.desc.get(PR_REG..)?)?,
            })
        })
        .collect()
}
