//! ORC tables: the first two bytes say how long the table of addresses is.

use recrash_debuginfo::orc::{OrcLayout, OrcTable};
use recrash_synth::orc::{OrcFormat, OrcRow, RowKind, sections};

const START: u64 = 0xffff_ffff_8100_0000;

pub fn run(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let (ip, entries) = rest.split_at(usize::from(u16::from_le_bytes(*head)).min(rest.len()));
    let mut tables = vec![OrcTable::new(ip, entries, START + 0x10_0000)];
    for layout in OrcLayout::ALL {
        tables.push(OrcTable::with_layout(
            ip,
            entries,
            START + 0x10_0000,
            layout,
        ));
    }
    for table in tables.into_iter().flatten() {
        for pc in [0, START, START + 0x11, u64::MAX] {
            let _ = table.lookup(pc);
        }
        for row in 0..table.len().min(100) {
            let _ = table.row(row);
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let rows = [
        OrcRow::call(START, 8),
        OrcRow::call(START + 0x10, 16),
        OrcRow::call(START + 0x20, 0).of_kind(RowKind::Regs),
        OrcRow::call(START + 0x30, 0).of_kind(RowKind::Partial),
        OrcRow::call(START + 0x40, 0).of_kind(RowKind::End),
    ];
    [
        OrcFormat::Linux4_18,
        OrcFormat::Linux6_3,
        OrcFormat::Linux6_4,
    ]
    .map(|format| {
        let (ip, entries) = sections(format, START + 0x10_0000, &rows);
        let mut bytes = (ip.len() as u16).to_le_bytes().to_vec();
        bytes.extend(ip);
        bytes.extend(entries);
        bytes
    })
    .to_vec()
}
