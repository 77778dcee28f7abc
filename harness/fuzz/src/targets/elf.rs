//! ELF cores.

use recrash_synth::elf_core::{ElfCore, Segment, note, prstatus};
use recrash_synth::paging::Machine;

use super::dumps::open_and_read;

/// Behind the file's ELF magic, so that no run is spent on finding that.
pub fn run(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let magic = b"\x7fELF\x02\x01";
    if let Some(start) = file.get_mut(..magic.len()) {
        start.copy_from_slice(magic);
    }
    open_and_read(&file);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut machine = Machine::new(0x2000, false);
    machine.write(0xffff_ffff_8100_0ffc, b"across a page");
    let mut core = ElfCore {
        segments: machine.segments(),
        notes: [
            note("CORE", 1, &prstatus(1, &[2; 27])),
            note("QEMU", 0, &[1; 440]),
            note("VMCOREINFO", 0, b"OSRELEASE=6.1\nNUMBER(phys_base)=0\n"),
        ]
        .concat(),
        count_in_section: false,
    };
    let plain = core.build();
    core.segments.push(Segment {
        paddr: 0x90_0000,
        data: vec![1; 64],
        left_out: 4096,
        ..Segment::default()
    });
    core.count_in_section = true;
    // Without VMCOREINFO, so that it is looked for in memory.
    core.notes.clear();
    vec![plain, core.build()]
}
