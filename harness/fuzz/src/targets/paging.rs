//! Page tables: the first byte says how many levels, the next eight an address; the rest is
//! memory.

use std::ops::Range;

use recrash_synth::paging::Machine;
use recrash_vmcore::{AddressSpace, PagingLevels, PhysAddr, PhysMem, ReadError, VirtAddr, VirtMem};

struct Memory<'a>(&'a [u8]);

impl PhysMem for Memory<'_> {
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let from = usize::try_from(at.0).unwrap_or(usize::MAX);
        let bytes = from
            .checked_add(buf.len())
            .and_then(|end| self.0.get(from..end))
            .ok_or(ReadError::NotInDump(at))?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>> {
        let end = self.0.len() as u64;
        (at.0 < end).then_some(at.0..end)
    }
}

pub fn run(bytes: &[u8]) {
    let Some((head, memory)) = bytes.split_first_chunk::<9>() else {
        return;
    };
    let levels = if head[0] & 1 == 0 {
        PagingLevels::Four
    } else {
        PagingLevels::Five
    };
    let mask = u64::from(head[0] >> 1) << 47;
    let at = VirtAddr(u64::from_le_bytes([
        head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8],
    ]));
    let memory = Memory(memory);
    let space = AddressSpace::new(&memory, PhysAddr(0), levels, mask);
    let _ = space.translate(at);
    let _ = space.translate(at);
    let _ = space.bytes(at, 5000);
    let _ = space.cstr(at, 5000);
}

pub fn seeds() -> Vec<Vec<u8>> {
    [false, true]
        .map(|five| {
            let at = 0xffff_ffff_8100_0ffc_u64;
            let mut machine = Machine::new(0, five);
            machine.write(at, b"across a page");
            let mut bytes = vec![u8::from(five)];
            bytes.extend(at.to_le_bytes());
            bytes.extend(machine.pages().values().flatten());
            bytes
        })
        .to_vec()
}
