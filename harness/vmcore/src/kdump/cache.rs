//! Pages that were decompressed lately.

use std::sync::{Mutex, PoisonError};

use super::page::PAGE;

const SHARDS: u64 = 16;
const SETS: u64 = 64;
const WAYS: usize = 4;

/// At most 4096 pages (16 MiB), each in one of four places; threads wait for each other only
/// within a sixteenth of them.
#[derive(Debug)]
pub(crate) struct PageCache {
    shards: Vec<Mutex<Vec<Set>>>,
}

#[derive(Debug, Default)]
struct Set {
    pages: [Option<(u64, Box<[u8; PAGE]>)>; WAYS],
    /// The place to be reused next.
    next: usize,
}

impl PageCache {
    pub(crate) fn new() -> Self {
        let shard = || Mutex::new((0..SETS).map(|_| Set::default()).collect());
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// Copies from the page, which `load` fills if it is not here.
    ///
    /// `copy` gets the page; a failed `load` is not remembered.
    pub(crate) fn with_page<E>(
        &self,
        pfn: u64,
        load: impl FnOnce(&mut [u8; PAGE]) -> Result<(), E>,
        copy: impl FnOnce(&[u8; PAGE]),
    ) -> Result<(), E> {
        let shard = self.shards.get((pfn % SHARDS) as usize);
        let mut sets = shard.map(|s| s.lock().unwrap_or_else(PoisonError::into_inner));
        let set = sets
            .as_mut()
            .and_then(|s| s.get_mut((pfn / SHARDS % SETS) as usize));
        let Some(set) = set else {
            let mut page = [0; PAGE];
            load(&mut page)?;
            copy(&page);
            return Ok(());
        };
        if let Some((_, page)) = set.pages.iter().flatten().find(|(held, _)| *held == pfn) {
            copy(page);
            return Ok(());
        }
        let place = set.next % WAYS;
        let Some(slot) = set.pages.get_mut(place) else {
            return Ok(());
        };
        let mut page = slot
            .take()
            .map_or_else(|| Box::new([0; PAGE]), |(_, page)| page);
        load(&mut page)?;
        copy(&page);
        *slot = Some((pfn, page));
        set.next = place + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_loaded_once_and_errors_are_not_kept() {
        let cache = PageCache::new();
        assert_eq!(
            cache.with_page(5, |_| Err("no"), |_| unreachable!()),
            Err("no")
        );
        let mut seen = 0;
        let load = |page: &mut [u8; PAGE]| -> Result<(), ()> {
            page.fill(9);
            Ok(())
        };
        cache.with_page(5, load, |page| seen = page[0]).unwrap();
        assert_eq!(seen, 9);
        cache
            .with_page(5, |_| Err("loaded again"), |page| seen = page[1])
            .unwrap();
    }

    #[test]
    fn pages_of_one_set_do_not_mix_when_they_displace_each_other() {
        let cache = PageCache::new();
        for round in 0..3 {
            for n in 0..9_u64 {
                let pfn = 3 + n * SHARDS * SETS;
                let load = |page: &mut [u8; PAGE]| -> Result<(), ()> {
                    page.fill(n as u8);
                    Ok(())
                };
                let check = |page: &[u8; PAGE]| assert!(page.iter().all(|&b| b == n as u8));
                cache.with_page(pfn, load, check).unwrap();
                let _ = round;
            }
        }
    }
}
