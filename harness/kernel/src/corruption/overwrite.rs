//! Undoes the coding of a wild freelist pointer and says what the bytes are, and which of them were overwritten.
use super::site::{CorruptFreelist, ListSite};
use crate::decode::{self, Confidence, Known, Question, Reading};
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::slub::{self, Cache, Extent, Link, PointerCoding, Slab, Slub};
use crate::usb::UsbDevice;
use recrash_vmcore::{VirtAddr, VirtMem};
use std::ops::Range;

/// Readings of one pointer that are asked about in full; a slab of the smallest objects has 512, and there are two
/// codings. Of more, only those that a device has are found.
const MAX_CANDIDATES: usize = 4096;

/// What lay in memory where the freelist pointer was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwrite {
    /// The eight bytes, in memory order; `None` where the coding can't be undone, since a hardened pointer's
    /// needs the address of the object that carried it.
    pub bytes: Option<[u8; 8]>,
    /// Which of them were overwritten, as far as the others are those of a pointer into the slab.
    pub span: Range<u8>,
    /// How near the pointer is to one that belongs there.
    pub extent: Option<Extent>,
    /// How the kernel had coded the pointer.
    pub coding: PointerCoding,
    /// The object that carried them, where known.
    pub object: Option<VirtAddr>,
    /// How that is known.
    pub object_by: Option<CarrierBy>,
    /// Whether they still lie there.
    pub still_there: Option<bool>,
    /// What they are.
    pub reading: Option<Reading>,
    /// What else they could be, less likely.
    pub others: Vec<Reading>,
}

/// How the object that carried a pointer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierBy {
    /// It is on the list.
    List,
    /// The very bytes that it must have carried still lie in it, and in no other.
    Memory,
    /// Only with it do the bytes have a meaning.
    Meaning,
}

/// The result of looking at the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoding {
    /// What was found.
    pub overwrite: Overwrite,
    /// What was compared with what, one line each.
    pub tried: Vec<String>,
    /// Why not every reading of the pointer could be tried.
    pub gap: Option<Missing>,
}

/// One way to read the pointer.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bytes: [u8; 8],
    coding: PointerCoding,
    object: Option<VirtAddr>,
    by: Option<CarrierBy>,
}

/// Undoes the pointer's coding and says what the bytes are.
///
/// The object that carried the head of a list is not recorded anywhere: it was taken off. It lies in the slab, so each
/// of the slab's objects is tried. One may still have the bytes; else what the bytes mean decides: with a hardened
/// list each object gives other bytes, and only the right one gives a part of a real descriptor.
#[must_use]
pub fn decode(kernel: &Kernel<'_>, hit: &CorruptFreelist, devices: &[UsbDevice]) -> Decoding {
    let slub = Slub::new(kernel);
    let slab = (slub.as_ref().map_err(Clone::clone)).and_then(|slub| slub.slab(slab_of(hit)));
    // Where no link tells which of the hardened codings it is, both are tried.
    let codings = match slub.as_ref().map(|slub| slub.coding(&hit.cache)) {
        Ok(Ok(coding)) => vec![coding],
        _ => hit.cache.codings().to_vec(),
    };
    let candidates = candidates(kernel, hit, slab.as_ref().ok(), &codings);
    let extent = slab.as_ref().ok().and_then(|slab| extent(hit, slab));
    let known = Known::of(devices);
    let look = Look {
        known: &known,
        cache: &hit.cache,
        extent,
        alternatives: candidates.len(),
    };
    let tried = vec![
        format!(
            "{} readings of the pointer compared with {}, at offset {} and anywhere",
            candidates.len(),
            known.describe(),
            hit.cache.offset
        ),
        "the forms of USB descriptors and SETUP packets, text, fill patterns, error pointers, flipped bits".into(),
    ];
    Decoding {
        overwrite: look.best(kernel, &candidates, &codings),
        tried,
        // A plain pointer is read without its object.
        gap: slab.err().filter(|_| hit.cache.random.is_some()),
    }
}

fn slab_of(hit: &CorruptFreelist) -> VirtAddr {
    match &hit.site {
        ListSite::CpuHead { .. } => hit.cpu_slab.slab,
        ListSite::SlabHead { slab, .. } | ListSite::Link { slab, .. } => *slab,
    }
}

/// The difference between two coded pointers is that between the pointers, so no carrier is needed.
fn extent(hit: &CorruptFreelist, slab: &Slab) -> Option<Extent> {
    let pointer = hit.site.pointer();
    let link = Link {
        carrier: None,
        stored: pointer.0,
        pointer,
    };
    slub::extent(&hit.cache, slab, &link, PointerCoding::Plain)
}

fn candidates(
    kernel: &Kernel<'_>,
    hit: &CorruptFreelist,
    slab: Option<&Slab>,
    codings: &[PointerCoding],
) -> Vec<Candidate> {
    if let ListSite::Link { link, coding, .. } = &hit.site {
        return vec![Candidate {
            bytes: link.stored.to_le_bytes(),
            coding: *coding,
            object: link.carrier,
            by: Some(CarrierBy::List),
        }];
    }
    let pointer = hit.site.pointer().0;
    let mut all = Vec::new();
    for &coding in codings {
        for object in slab.iter().flat_map(|slab| slab.all_objects(&hit.cache)) {
            all.push(Candidate {
                bytes: hit.cache.code(coding, pointer, object).to_le_bytes(),
                coding,
                object: Some(object),
                by: None,
            });
        }
    }
    let there: Vec<Candidate> = all
        .iter()
        .filter(|candidate| still_there(kernel, &hit.cache, candidate) == Some(true))
        .map(|candidate| Candidate {
            by: Some(CarrierBy::Memory),
            ..*candidate
        })
        .collect();
    if let [only] = there.as_slice() {
        return vec![*only];
    }
    if hit.cache.random.is_none() {
        // The same bytes in whichever object.
        return vec![Candidate {
            bytes: pointer.to_le_bytes(),
            coding: PointerCoding::Plain,
            object: None,
            by: None,
        }];
    }
    all
}

fn still_there(kernel: &Kernel<'_>, cache: &Cache, candidate: &Candidate) -> Option<bool> {
    let at = candidate.object?.wrapping_add(cache.offset);
    let now = kernel.memory().u64_at(at).ok()?;
    Some(now.to_le_bytes() == candidate.bytes)
}

/// What every candidate is asked.
struct Look<'l> {
    known: &'l Known,
    cache: &'l Cache,
    extent: Option<Extent>,
    alternatives: usize,
}

impl Look<'_> {
    /// Only a reading that stands alone counts: of a hardened list's many readings some would look like text by chance.
    fn best(
        &self,
        kernel: &Kernel<'_>,
        candidates: &[Candidate],
        codings: &[PointerCoding],
    ) -> Overwrite {
        let alone = candidates.len() == 1;
        let enough = |reading: &Reading| alone || reading.confidence >= Confidence::Structural;
        let best = candidates
            .iter()
            .take(MAX_CANDIDATES)
            .map(|candidate| (candidate, self.readings(candidate)))
            .max_by_key(|(_, readings)| {
                let best = readings.first();
                best.map(|best| (best.confidence, best.bits))
            });
        match best {
            Some((candidate, readings)) if alone || readings.first().is_some_and(enough) => {
                self.overwrite(kernel, candidate, readings)
            }
            _ => self.unread(codings),
        }
    }

    fn readings(&self, candidate: &Candidate) -> Vec<Reading> {
        let span = self.span();
        let offset = self.cache.offset.wrapping_add(span.start.into());
        let bytes = candidate
            .bytes
            .get(usize::from(span.start)..usize::from(span.end))
            .unwrap_or_default();
        let question = Question {
            bytes,
            offset: Some(offset),
            alternatives: self.alternatives,
            extent: self.extent.as_ref(),
        };
        decode::decode(&question, self.known).readings
    }

    fn span(&self) -> Range<u8> {
        // A flipped bit is told of the whole pointer.
        let part = self.extent.filter(|extent| extent.bit.is_none());
        part.map_or(0..8, |extent| extent.start..extent.end)
    }

    fn overwrite(
        &self,
        kernel: &Kernel<'_>,
        candidate: &Candidate,
        readings: Vec<Reading>,
    ) -> Overwrite {
        let mut readings = readings.into_iter();
        let by_meaning = candidate.object.map(|_| CarrierBy::Meaning);
        Overwrite {
            bytes: Some(candidate.bytes),
            span: self.span(),
            extent: self.extent,
            coding: candidate.coding,
            object: candidate.object,
            object_by: candidate.by.or(by_meaning),
            still_there: still_there(kernel, self.cache, candidate),
            reading: readings.next(),
            others: readings.collect(),
        }
    }

    fn unread(&self, codings: &[PointerCoding]) -> Overwrite {
        Overwrite {
            bytes: None,
            span: self.span(),
            extent: self.extent,
            coding: codings.first().copied().unwrap_or(PointerCoding::Plain),
            object: None,
            object_by: None,
            still_there: None,
            reading: None,
            others: Vec::new(),
        }
    }
}
