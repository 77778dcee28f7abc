//! Writes `.orc_unwind_ip` and `.orc_unwind` in each of their layouts.

/// The layouts by the first kernel that had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrcFormat {
    /// Two bits of type, a bit for the end.
    Linux4_18,
    /// A signal bit between the two.
    Linux6_3,
    /// Three bits of type, a signal bit.
    Linux6_4,
}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// After a call.
    Call,
    /// Interrupted, all registers saved.
    Regs,
    /// Interrupted, five registers saved.
    Partial,
    /// Outermost.
    End,
    /// Nothing known.
    Undefined,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct OrcRow {
    /// From this address on.
    pub addr: u64,
    /// Kind.
    pub kind: RowKind,
    /// Number of the base register (5 is rsp, 4 rbp); ignored for end and undefined rows.
    pub sp_reg: u8,
    /// Added to it.
    pub sp_offset: i16,
    /// Number of rbp's base (0 unchanged, 1 the previous rsp, 4 rbp).
    pub bp_reg: u8,
    /// Added to it.
    pub bp_offset: i16,
}

impl OrcRow {
    /// A call whose frame is found by rsp.
    #[must_use]
    pub fn call(addr: u64, sp_offset: i16) -> Self {
        Self {
            addr,
            kind: RowKind::Call,
            sp_reg: 5,
            sp_offset,
            bp_reg: 0,
            bp_offset: 0,
        }
    }

    /// The same row of another kind.
    #[must_use]
    pub fn of_kind(self, kind: RowKind) -> Self {
        Self { kind, ..self }
    }
}

/// The two sections, `.orc_unwind_ip` first, which lies at `ip_addr`. Rows stay in their order.
/// A row farther than 2 GiB away comes out wrong.
#[must_use]
pub fn sections(format: OrcFormat, ip_addr: u64, rows: &[OrcRow]) -> (Vec<u8>, Vec<u8>) {
    let (mut ip, mut entries) = (Vec::new(), Vec::new());
    for (row, place) in rows.iter().zip((ip_addr..).step_by(4)) {
        ip.extend_from_slice(&(row.addr.wrapping_sub(place) as i32).to_le_bytes());
        let bare = matches!(row.kind, RowKind::End | RowKind::Undefined);
        let (sp_reg, bp_reg) = if bare {
            (0, 0)
        } else {
            (row.sp_reg, row.bp_reg)
        };
        entries.extend_from_slice(&row.sp_offset.to_le_bytes());
        entries.extend_from_slice(&row.bp_offset.to_le_bytes());
        entries.push(bp_reg * 16 + sp_reg);
        entries.push(last_byte(format, row.kind));
    }
    (ip, entries)
}

/// Written out as a table, on purpose without the bit arithmetic of a reader.
fn last_byte(format: OrcFormat, kind: RowKind) -> u8 {
    match (format, kind) {
        (OrcFormat::Linux4_18, RowKind::Call) => 0b000,
        (OrcFormat::Linux4_18, RowKind::Regs) => 0b001,
        (OrcFormat::Linux4_18, RowKind::Partial) => 0b010,
        (OrcFormat::Linux4_18, RowKind::End) => 0b100,
        (OrcFormat::Linux6_3, RowKind::Call) => 0b0000,
        (OrcFormat::Linux6_3, RowKind::Regs) => 0b0101,
        (OrcFormat::Linux6_3, RowKind::Partial) => 0b0110,
        (OrcFormat::Linux6_3, RowKind::End) => 0b1000,
        (OrcFormat::Linux6_4, RowKind::Call) => 0b0010,
        (OrcFormat::Linux6_4, RowKind::Regs) => 0b1011,
        (OrcFormat::Linux6_4, RowKind::Partial) => 0b1100,
        (OrcFormat::Linux6_4, RowKind::End) => 0b0001,
        (_, RowKind::Undefined) => 0,
    }
}
