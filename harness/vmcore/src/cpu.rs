//! State of a virtual CPU as QEMU's `dump-guest-memory` writes it: one note named QEMU a CPU, with
//! the control registers and descriptor tables that `NT_PRSTATUS` lacks.
//!
//! Layout: `struct QEMUCPUState`, version 1, in QEMU's target/i386/arch_dump.c. Later fields are
//! added at the end; `size` tells which are there.

use crate::bytes::{u32_le, u64_le};
use crate::note::Note;
use crate::{PagingLevels, PhysAddr};

const VERSION: u32 = 1;
/// Where the general registers, the segments, CR0 and the GS base of the other side begin.
const REGS: usize = 8;
const SEGMENTS: usize = 152;
const SEGMENT_LEN: usize = 24;
const CONTROL: usize = 392;
const KERNEL_GS_BASE: usize = 432;
/// CR4.LA57: five levels of page tables (Intel SDM volume 3, 2.5).
const CR4_LA57: u64 = 1 << 12;
/// Bits of CR3 that hold the top table's address (52 bits of it, page aligned).
const CR3_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A segment register with its hidden part, or a descriptor table register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuSegment {
    /// Selector; 0 for GDT and IDT.
    pub selector: u32,
    /// Limit in bytes.
    pub limit: u32,
    /// Attributes, as QEMU keeps them: bits 8 to 23 of the descriptor's upper half.
    pub flags: u32,
    /// Linear address.
    pub base: u64,
}

/// What one virtual CPU held when the dump was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the registers of those names")]
pub struct CpuState {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    /// r8 to r15.
    pub r8_to_r15: [u64; 8],
    pub rip: u64,
    pub rflags: u64,
    pub cs: CpuSegment,
    pub ds: CpuSegment,
    pub es: CpuSegment,
    pub fs: CpuSegment,
    pub gs: CpuSegment,
    pub ss: CpuSegment,
    pub ldt: CpuSegment,
    pub tr: CpuSegment,
    pub gdt: CpuSegment,
    pub idt: CpuSegment,
    /// CR0 to CR4; QEMU has no CR1.
    pub cr: [u64; 5],
    /// `MSR_KERNEL_GS_BASE`: what `swapgs` exchanges with the GS base. QEMU 4.0 and later.
    pub kernel_gs_base: Option<u64>,
}

impl CpuState {
    /// The state in a QEMU note's payload, or `None` if it is of another version or cut off.
    pub(crate) fn parse(desc: &[u8]) -> Option<Self> {
        if u32_le(desc, 0)? != VERSION {
            return None;
        }
        let size = (u32_le(desc, 4)? as usize).min(desc.len());
        let desc = desc.get(..size)?;
        let reg = |index: usize| u64_le(desc, REGS + index * 8);
        let segment = |index: usize| {
            let at = SEGMENTS + index * SEGMENT_LEN;
            Some(CpuSegment {
                selector: u32_le(desc, at)?,
                limit: u32_le(desc, at + 4)?,
                flags: u32_le(desc, at + 8)?,
                base: u64_le(desc, at + 16)?,
            })
        };
        let mut r8_to_r15 = [0; 8];
        for (index, value) in r8_to_r15.iter_mut().enumerate() {
            *value = reg(8 + index)?;
        }
        let mut cr = [0; 5];
        for (index, value) in cr.iter_mut().enumerate() {
            *value = u64_le(desc, CONTROL + index * 8)?;
        }
        Some(Self {
            rax: reg(0)?,
            rbx: reg(1)?,
            rcx: reg(2)?,
            rdx: reg(3)?,
            rsi: reg(4)?,
            rdi: reg(5)?,
            rsp: reg(6)?,
            rbp: reg(7)?,
            r8_to_r15,
            rip: reg(16)?,
            rflags: reg(17)?,
            cs: segment(0)?,
            ds: segment(1)?,
            es: segment(2)?,
            fs: segment(3)?,
            gs: segment(4)?,
            ss: segment(5)?,
            ldt: segment(6)?,
            tr: segment(7)?,
            gdt: segment(8)?,
            idt: segment(9)?,
            cr,
            kernel_gs_base: u64_le(desc, KERNEL_GS_BASE),
        })
    }

    /// Physical address of the top page table in use (CR3, without its flags and PCID). With page
    /// table isolation it may be a process's user table, which maps next to nothing of the kernel.
    #[must_use]
    pub fn page_table(&self) -> PhysAddr {
        let [_, _, _, cr3, _] = self.cr;
        PhysAddr(cr3 & CR3_ADDRESS)
    }

    /// Depth of the page tables in use (CR4.LA57).
    #[must_use]
    pub fn paging_levels(&self) -> PagingLevels {
        let [.., cr4] = self.cr;
        if cr4 & CR4_LA57 == 0 {
            PagingLevels::Four
        } else {
            PagingLevels::Five
        }
    }

    /// Whether the CPU was in the kernel: privilege level 0.
    #[must_use]
    pub fn in_kernel(&self) -> bool {
        self.cs.selector & 3 == 0
    }
}

/// The states of all CPUs among these notes, in CPU order.
pub(crate) fn states(notes: &[Note]) -> Vec<CpuState> {
    (notes.iter())
        .filter(|note| note.name == "QEMU" && note.kind == 0)
        .filter_map(|note| CpuState::parse(&note.desc))
        .collect()
}
