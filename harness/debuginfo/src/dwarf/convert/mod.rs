//! DWARF types as BTF, as pahole makes it, for kernels that have none: so that [`crate::types`] answers the same
//! questions of both.
//!
//! Walks all of `.debug_info`, on several threads; takes seconds for a kernel, so the result is worth keeping.
//! Structs, unions, enums, typedefs, and the functions that have code are converted; variables are not, nor are
//! functions of one name with different prototypes.

mod expr;
mod merge;
mod shape;
mod unit;
mod write;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use gimli::{SectionId, UnitHeader};

use super::{Dwarf, DwarfError, Reader};
use merge::Merger;

const WANTED: [SectionId; 6] = [
    SectionId::DebugAbbrev,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];
/// Steps that merging may take for a byte of the unit.
const STEPS_PER_BYTE: u64 = 64;
const THREADS_MAX: usize = 8;

/// Types of a file as BTF.
#[derive(Debug)]
pub struct Conversion {
    /// For [`crate::btf::Btf::parse`], without a base.
    pub btf: Vec<u8>,
    /// Units read.
    pub units: usize,
    /// Units that could not be, and why the first of them could not.
    pub skipped: (usize, Option<DwarfError>),
    /// Members and enumerators that no BTF record can hold.
    pub omitted: u32,
}

impl Dwarf<'_> {
    /// Converts all types. `progress` is told how many units of how many are done, from any thread.
    ///
    /// # Errors
    /// [`DwarfError`] where no unit can be read; single ones that cannot are counted.
    pub fn to_btf(
        &self,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Conversion, DwarfError> {
        let dwarf = self.gimli(&WANTED)?;
        let mut headers = Vec::new();
        let mut iter = dwarf.units();
        while let Some(header) = iter.next()? {
            headers.push(header);
        }
        let work = Work {
            dwarf: &dwarf,
            headers: &headers,
            next: AtomicUsize::new(0),
            failed: Mutex::default(),
            progress,
        };
        let mut merged = work.run();
        let failed = work
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if merged.definitions.is_empty()
            && let Some((_, error)) = failed.first()
        {
            return Err(error.clone());
        }
        merged.drop_ambiguous_functions();
        let mut definitions: Vec<_> = merged.definitions.drain().collect();
        definitions.sort_unstable_by_key(|(key, definition)| (definition.first, *key));
        let written = write::write(&definitions);
        let first = failed.iter().min_by_key(|(unit, _)| *unit);
        Ok(Conversion {
            btf: written.btf,
            units: headers.len(),
            skipped: (failed.len(), first.map(|(_, error)| error.clone())),
            omitted: written.omitted,
        })
    }
}

struct Work<'w, 'r> {
    dwarf: &'w gimli::Dwarf<Reader<'r>>,
    headers: &'w [UnitHeader<Reader<'r>>],
    next: AtomicUsize,
    failed: Mutex<Vec<(usize, DwarfError)>>,
    progress: &'w (dyn Fn(usize, usize) + Sync),
}

impl<'r> Work<'_, 'r> {
    fn run(&self) -> Merger<'r> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(THREADS_MAX).min(self.headers.len());
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.take())).collect();
            let mut merged = self.take();
            for helper in helpers {
                match helper.join() {
                    Ok(found) => merged.absorb(found),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            merged
        })
    }

    /// Units until there are none left.
    fn take(&self) -> Merger<'r> {
        let mut merger = Merger::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(header) = self.headers.get(number) else {
                return merger;
            };
            if let Err(error) = self.unit(number, header, &mut merger) {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((number, error));
            }
            (self.progress)(number + 1, self.headers.len());
        }
    }

    fn unit(
        &self,
        number: usize,
        header: &UnitHeader<Reader<'r>>,
        merger: &mut Merger<'r>,
    ) -> Result<(), DwarfError> {
        let unit = self.dwarf.unit(*header)?;
        let steps = (header.length_including_self() as u64).saturating_mul(STEPS_PER_BYTE);
        match unit::read(self.dwarf, &unit)? {
            Some(types) => merger.add(number as u64, &types, steps),
            None => Ok(()),
        }
    }
}
