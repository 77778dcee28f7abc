//! The table of one image (vmlinux or a module): addresses and entries, searched by address.

use super::layout::ENTRY;
use super::{OrcError, OrcKind, OrcLayout, OrcRule};

/// `.orc_unwind_ip` and `.orc_unwind` of one image.
#[derive(Clone, Debug)]
pub struct OrcTable {
    layout: OrcLayout,
    /// Runtime address of `.orc_unwind_ip`; each number in it counts from its own place.
    ip_addr: u64,
    ip: Vec<u8>,
    entries: Vec<u8>,
    /// Row numbers by address, if the rows are not sorted.
    order: Option<Vec<u32>>,
}

impl OrcTable {
    /// A table whose layout is decided by its own entries: for vmlinux.
    ///
    /// `ip_addr` is the address of the `.orc_unwind_ip` bytes at run time.
    ///
    /// # Errors
    /// Sections that do not belong together, or entries of no known layout.
    pub fn new(
        ip: impl Into<Vec<u8>>,
        entries: impl Into<Vec<u8>>,
        ip_addr: u64,
    ) -> Result<Self, OrcError> {
        let entries = entries.into();
        let layout = OrcLayout::probe(&[&entries])?;
        Self::with_layout(ip, entries, ip_addr, layout)
    }

    /// A table of a known layout: for modules, with vmlinux's.
    ///
    /// # Errors
    /// Sections that do not belong together.
    pub fn with_layout(
        ip: impl Into<Vec<u8>>,
        entries: impl Into<Vec<u8>>,
        ip_addr: u64,
        layout: OrcLayout,
    ) -> Result<Self, OrcError> {
        let (ip, entries) = (ip.into(), entries.into());
        let (ips, ip_rest) = ip.as_chunks::<4>();
        let (rows, rest) = entries.as_chunks::<ENTRY>();
        if !ip_rest.is_empty() || !rest.is_empty() || ips.len() != rows.len() {
            return Err(OrcError::Lengths {
                ip: ip.len(),
                entries: entries.len(),
            });
        }
        if u32::try_from(ips.len()).is_err() {
            return Err(OrcError::TooLarge { rows: ips.len() });
        }
        let mut table = Self {
            layout,
            ip_addr,
            ip,
            entries,
            order: None,
        };
        table.sort();
        Ok(table)
    }

    /// vmlinux's table is sorted at build time since v5.6 and at boot before, a module's when it is
    /// loaded: only tables from files need an index.
    fn sort(&mut self) {
        let addrs = || {
            (0u64..)
                .zip(self.ip.as_chunks::<4>().0)
                .map(|(n, ip)| addr(self.ip_addr, n, *ip))
        };
        if addrs().is_sorted() {
            return;
        }
        let mut keys: Vec<(u64, bool, u32)> = Vec::with_capacity(self.len());
        for ((n, at), entry) in (0u32..)
            .zip(addrs())
            .zip(self.entries.as_chunks::<ENTRY>().0)
        {
            // A section's terminator may have the address of the next section's first row, which
            // is to win: `orc_sort_cmp()`.
            let undefined = self.layout.rule(*entry).kind == OrcKind::Undefined;
            keys.push((at, !undefined, n));
        }
        keys.sort_unstable();
        self.order = Some(keys.into_iter().map(|(_, _, n)| n).collect());
    }

    /// How the entries are laid out.
    #[must_use]
    pub fn layout(&self) -> OrcLayout {
        self.layout
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ip.len() / 4
    }

    /// No rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ip.is_empty()
    }

    /// Address and rule of the row at place `n` by address.
    #[must_use]
    pub fn row(&self, n: usize) -> Option<(u64, OrcRule)> {
        let n = match &self.order {
            Some(order) => usize::try_from(*order.get(n)?).ok()?,
            None => n,
        };
        let at = addr(
            self.ip_addr,
            u64::try_from(n).ok()?,
            *self.ip.as_chunks::<4>().0.get(n)?,
        );
        Some((
            at,
            self.layout
                .rule(*self.entries.as_chunks::<ENTRY>().0.get(n)?),
        ))
    }

    /// The rule in force at `pc`: that of the last row at or before it. `None` before the first
    /// row. A table does not say where its image ends; past it comes the terminator's undefined.
    ///
    /// Look up a return address one byte before itself: after a call that does not return it lies
    /// in the next function.
    #[must_use]
    pub fn lookup(&self, pc: u64) -> Option<OrcRule> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.0 <= pc {
                low = middle + 1
            } else {
                high = middle
            }
        }
        self.row(low.checked_sub(1)?).map(|(_, rule)| rule)
    }
}

/// What the number at place `n` of the section means.
fn addr(section: u64, n: u64, ip: [u8; 4]) -> u64 {
    let relative = i64::from(i32::from_le_bytes(ip));
    section
        .wrapping_add(n.wrapping_mul(4))
        .wrapping_add_signed(relative)
}
