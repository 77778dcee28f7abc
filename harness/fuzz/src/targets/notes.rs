//! Note segments: registers of the CPUs, QEMU's own, VMCOREINFO.

use recrash_synth::elf_core::{ElfCore, Segment, note, prstatus};

use super::dumps::open_and_read;

pub fn run(bytes: &[u8]) {
    let core = ElfCore {
        segments: vec![Segment {
            data: vec![0; 16],
            ..Segment::default()
        }],
        notes: bytes.to_vec(),
        count_in_section: false,
    };
    open_and_read(&core.build());
    let _ = recrash_vmcore::Vmcoreinfo::parse(bytes);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let info = b"OSRELEASE=6.1\nSYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=0x10\n\
        SIZE(page)=64\nOFFSET(page.flags)=0\nLENGTH(mem_section)=2048\nKERNELOFFSET=0\n";
    vec![
        note("CORE", 1, &prstatus(1, &[2; 27])),
        note("QEMU", 0, &[1; 440]),
        note("VMCOREINFO", 0, info),
        [vec![0; 24], note("CORE", 1, &prstatus(3, &[1; 27]))].concat(),
    ]
}
