//! ELF64 cores as the kernel and QEMU write them.

/// A core to be written.
#[derive(Debug, Clone, Default)]
pub struct ElfCore {
    /// Memory, in this order in the file.
    pub segments: Vec<Segment>,
    /// The note segment: see [`note`].
    pub notes: Vec<u8>,
    /// Says the number of program headers the way files with 65535 or more do.
    pub count_in_section: bool,
}

/// A run of physical memory.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// Physical address.
    pub paddr: u64,
    /// Virtual address.
    pub vaddr: u64,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Bytes of memory beyond `data` that the file does not hold.
    pub left_out: u64,
}

impl ElfCore {
    /// The file.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let count = self.segments.len() + 1;
        let section_at = 64 + 56 * count;
        let notes_at = section_at + if self.count_in_section { 64 } else { 0 };
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        let half = |out: &mut Vec<u8>, n: u16| out.extend(n.to_le_bytes());
        half(&mut out, 4);
        half(&mut out, 62);
        out.extend(1_u32.to_le_bytes());
        quads(
            &mut out,
            &[
                0,
                64,
                if self.count_in_section {
                    section_at as u64
                } else {
                    0
                },
            ],
        );
        out.extend(0_u32.to_le_bytes());
        half(&mut out, 64);
        half(&mut out, 56);
        half(
            &mut out,
            if self.count_in_section {
                0xffff
            } else {
                count as u16
            },
        );
        half(&mut out, 64);
        half(&mut out, u16::from(self.count_in_section));
        half(&mut out, 0);
        let notes_len = self.notes.len() as u64;
        phdr(&mut out, 4, [notes_at as u64, 0, 0, notes_len, notes_len]);
        let mut at = notes_at as u64 + notes_len;
        for segment in &self.segments {
            let len = segment.data.len() as u64;
            let memsz = len + segment.left_out;
            phdr(&mut out, 1, [at, segment.vaddr, segment.paddr, len, memsz]);
            at += len;
        }
        if self.count_in_section {
            let mut section = [0; 64];
            section[44..48].copy_from_slice(&(count as u32).to_le_bytes());
            out.extend(section);
        }
        out.extend(&self.notes);
        for segment in &self.segments {
            out.extend(&segment.data);
        }
        out
    }

    /// The file as a copy that leaves zeros out writes it: marked, and each segment of memory at
    /// a page of the file.
    #[must_use]
    pub fn build_sparse_copy(&self) -> Vec<u8> {
        let mut core = self.clone();
        // Notes up to the next page, the last one's payload of zeros.
        let end = 64 + 56 * (core.segments.len() + 1) + core.notes.len() + 24;
        core.notes.extend(note(
            "PADDING",
            0,
            &vec![0; end.next_multiple_of(4096) - end],
        ));
        let mut data_at = end.next_multiple_of(4096);
        let offsets: Vec<usize> = (core.segments.iter_mut())
            .map(|segment| {
                let at = data_at;
                data_at += segment.data.len().next_multiple_of(4096);
                at
            })
            .collect();
        let mut out = core.build();
        out.truncate(offsets.first().copied().unwrap_or(out.len()));
        for (number, (segment, &at)) in core.segments.iter().zip(&offsets).enumerate() {
            let header = 64 + 56 * (number + 1);
            out[header + 8..header + 16].copy_from_slice(&(at as u64).to_le_bytes());
            out.extend(&segment.data);
            out.resize(out.len().next_multiple_of(4096), 0);
        }
        out[9..16].copy_from_slice(b"recrash");
        out
    }
}

fn phdr(out: &mut Vec<u8>, kind: u32, fields: [u64; 5]) {
    out.extend(kind.to_le_bytes());
    out.extend(7_u32.to_le_bytes());
    quads(out, &fields);
    quads(out, &[0]);
}

fn quads(out: &mut Vec<u8>, values: &[u64]) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

/// One ELF note.
#[must_use]
pub fn note(name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((name.len() as u32 + 1).to_le_bytes());
    out.extend((desc.len() as u32).to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(desc);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The payload of an `NT_PRSTATUS` note (kind 1 of CORE); `regs` from r15 to gs.
#[must_use]
pub fn prstatus(pid: u32, regs: &[u64; 27]) -> Vec<u8> {
    let mut out = vec![0; 112];
    out[32..36].copy_from_slice(&pid.to_le_bytes());
    quads(&mut out, regs);
    out.resize(336, 0);
    out
}

/// The payload of a QEMU note: the state of one virtual CPU. `regs` from rax to r15, rip and
/// rflags; all segments have this base.
#[must_use]
pub fn qemu_cpu(regs: &[u64; 18], segment_base: u64, cr: [u64; 5], kernel_gs: u64) -> Vec<u8> {
    let mut out = 1_u32.to_le_bytes().to_vec();
    out.extend(440_u32.to_le_bytes());
    quads(&mut out, regs);
    for number in 0..10_u32 {
        for word in [number << 3, 0xfffff, 0xa09300, 0] {
            out.extend(word.to_le_bytes());
        }
        quads(&mut out, &[segment_base]);
    }
    quads(&mut out, &cr);
    quads(&mut out, &[kernel_gs]);
    out
}
