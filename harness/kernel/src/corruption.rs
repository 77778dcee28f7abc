//! From the wild pointer in a register to what overwrote it: which freelist holds it, what lay in memory, and
//! which live device's descriptor those bytes are. Every step keeps its evidence and what it tried.
use crate::descriptor;
use crate::instruction::MemoryOperand;
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::regs::PtRegs;
use crate::slub::{self, Cache, CpuSlab, PointerCoding};
use crate::usb::{StringKind, UsbDevice};
use recrash_vmcore::{VirtAddr, VirtMem};
use std::collections::HashMap;

/// A CPU's freelist whose first entry is the wild pointer that the faulting instruction followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptFreelist {
    /// The cache.
    pub cache: Cache,
    /// Its state on the CPU that died.
    pub cpu_slab: CpuSlab,
    /// How the faulting operand came to the address.
    pub operand: OperandParts,
    /// Names of the registers that held the list's first entry.
    pub registers: Vec<&'static str>,
}

/// How an operand adds up to the address of the next-free pointer: first entry of the list + `kmem_cache.offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandParts {
    /// One register holds the entry, the rest is the offset: a second register, or a displacement.
    EntryPlusOffset {
        /// Whether the entry is in the base register; in the index register otherwise.
        entry_in_base: bool,
    },
    /// The sum is in one register.
    Sum,
}

/// What lay in memory where the freelist pointer was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwrite {
    /// The eight bytes, in memory order; `None` where the coding can't be undone, since a hardened pointer's
    /// needs the address of the object that carried it.
    pub bytes: Option<[u8; 8]>,
    /// How the kernel had coded the pointer.
    pub coding: PointerCoding,
    /// The object that carried them, where known.
    pub object: Option<VirtAddr>,
    /// Whether they still lie there.
    pub still_there: Option<bool>,
    /// What they are.
    pub meaning: Meaning,
}

/// What eight bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A part of a descriptor that a device in the dump has.
    DeviceDescriptor {
        /// Device name, for example `1-1`.
        device: String,
        /// idVendor and idProduct.
        id: (u16, u16),
        /// Which of its strings; `None` for the device descriptor.
        string: Option<StringKind>,
        /// The descriptor's type.
        kind: u8,
        /// The descriptor's length in bytes.
        length: u8,
        /// Text of a string descriptor, whole.
        text: Option<String>,
        /// The characters that the eight bytes carry, of a string descriptor.
        visible: Option<String>,
        /// Where in the descriptor the eight bytes lie: the pointer's offset in the object.
        at: u64,
    },
    /// The head of a descriptor by its own form; no device in the dump has it.
    DescriptorHead(descriptor::Head),
    /// UTF-16 text; nothing says of what.
    Utf16(String),
    /// ASCII text; nothing says of what.
    Ascii(String),
    /// None of these.
    Unknown,
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

/// The per-CPU freelist on `cpu` whose first entry the faulting instruction followed: the address it used is the
/// entry plus the cache's freelist offset, as `get_freepointer()` computes it.
///
/// # Errors
/// [`Missing`] when the caches can't be listed, or none has such a freelist.
pub fn freelist_of(
    kernel: &Kernel<'_>,
    operand: &MemoryOperand,
    regs: &PtRegs,
    cpu: u32,
) -> Result<CorruptFreelist, Missing> {
    let (caches, cut) = slub::caches(kernel)?;
    for cache in caches {
        let Ok(cpu_slab) = cache.cpu_slab(kernel, cpu) else {
            continue;
        };
        let entry = cpu_slab.freelist;
        if entry.0 == 0 || entry.wrapping_add(cache.offset) != operand.effective {
            continue;
        }
        let registers = regs
            .iter()
            .filter(|(_, value)| *value == entry.0)
            .map(|(name, _)| name)
            .collect();
        return Ok(CorruptFreelist {
            operand: parts(operand, entry),
            registers,
            cache,
            cpu_slab,
        });
    }
    let searched = cut.map_or_else(String::new, |cut| {
        format!(" (list of caches cut short: {cut})")
    });
    Err(Missing::Implausible(format!(
        "no cache's freelist on CPU {cpu} leads to the address that the faulting instruction used{searched}"
    )))
}

fn parts(operand: &MemoryOperand, entry: VirtAddr) -> OperandParts {
    if operand.base_value == Some(entry.0) {
        OperandParts::EntryPlusOffset {
            entry_in_base: true,
        }
    } else if operand.index_value == Some(entry.0) && operand.scale == 1 {
        OperandParts::EntryPlusOffset {
            entry_in_base: false,
        }
    } else {
        OperandParts::Sum
    }
}

/// Undoes the pointer's coding and says what the bytes are.
///
/// The object that carried the pointer is not recorded anywhere: it was taken off the list. It lies in the CPU's
/// active slab, so each of that slab's objects is tried, and the descriptors of the devices present decide. With
/// a hardened list each object gives other bytes; only the right one gives a part of a real descriptor, at the
/// offset at which the pointer lies.
#[must_use]
pub fn decode(kernel: &Kernel<'_>, hit: &CorruptFreelist, devices: &[UsbDevice]) -> Decoding {
    let slab = slub::PageMap::read(kernel)
        .and_then(|map| slub::Slab::read(kernel, &map, hit.cpu_slab.slab));
    let (objects, gap) = match slab {
        Ok(slab) => (slab.all_objects(&hit.cache).collect(), None),
        // A plain pointer is read without its object.
        Err(missing) => (Vec::new(), hit.cache.random.map(|_| missing)),
    };
    let known: Vec<_> = devices.iter().flat_map(known_descriptors).collect();
    let candidates = candidates(hit, &objects);
    let tried = vec![format!(
        "{} readings of the pointer ({} objects of the slab) compared with {} descriptors of the devices present, \
         at offset {}",
        candidates.len(),
        objects.len(),
        known.len(),
        hit.cache.offset
    )];
    // By their bytes at the pointer's offset: a hostile dump can hold many objects and many devices.
    let at = usize::try_from(hit.cache.offset).unwrap_or(usize::MAX);
    let parts: HashMap<[u8; 8], &KnownDescriptor<'_>> = known
        .iter()
        .rev()
        .filter_map(|known| Some((known.part(at)?, known)))
        .collect();
    for candidate in &candidates {
        let meaning = parts
            .get(&candidate.bytes)
            .and_then(|known| known.meaning(candidate.bytes, at));
        if let Some(meaning) = meaning {
            return Decoding {
                overwrite: candidate.with(kernel, hit, meaning),
                tried,
                gap,
            };
        }
    }
    let overwrite = by_form(kernel, hit, &candidates);
    Decoding {
        overwrite,
        tried,
        gap,
    }
}

/// One way to read the pointer.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bytes: [u8; 8],
    coding: PointerCoding,
    object: Option<VirtAddr>,
}

impl Candidate {
    fn with(&self, kernel: &Kernel<'_>, hit: &CorruptFreelist, meaning: Meaning) -> Overwrite {
        let still_there = self.object.and_then(|object| {
            let now = kernel
                .memory()
                .u64_at(object.wrapping_add(hit.cache.offset))
                .ok()?;
            Some(now.to_le_bytes() == self.bytes)
        });
        Overwrite {
            bytes: Some(self.bytes),
            coding: self.coding,
            object: self.object,
            still_there,
            meaning,
        }
    }
}

fn candidates(hit: &CorruptFreelist, objects: &[VirtAddr]) -> Vec<Candidate> {
    let pointer = hit.cpu_slab.freelist.0;
    let Some(random) = hit.cache.random else {
        return vec![Candidate {
            bytes: pointer.to_le_bytes(),
            coding: PointerCoding::Plain,
            object: None,
        }];
    };
    let mut all = Vec::new();
    for &coding in hit.cache.codings() {
        for &object in objects {
            let stored = coding.apply(pointer, random, object.wrapping_add(hit.cache.offset));
            all.push(Candidate {
                bytes: stored.to_le_bytes(),
                coding,
                object: Some(object),
            });
        }
    }
    all
}

/// Without a device to compare with, only a reading that stands alone counts: of a hardened list's many readings
/// some would look like text by chance.
fn by_form(kernel: &Kernel<'_>, hit: &CorruptFreelist, candidates: &[Candidate]) -> Overwrite {
    if let [only] = candidates {
        return only.with(kernel, hit, meaning_by_form(only.bytes, hit.cache.offset));
    }
    Overwrite {
        bytes: None,
        coding: hit
            .cache
            .codings()
            .first()
            .copied()
            .unwrap_or(PointerCoding::Plain),
        object: None,
        still_there: None,
        meaning: Meaning::Unknown,
    }
}

fn meaning_by_form(bytes: [u8; 8], offset: u64) -> Meaning {
    let head = (offset == 0).then(|| descriptor::head(&bytes)).flatten();
    head.map(Meaning::DescriptorHead)
        .or_else(|| descriptor::utf16_text(&bytes).map(Meaning::Utf16))
        .or_else(|| descriptor::ascii_text(&bytes).map(Meaning::Ascii))
        .unwrap_or(Meaning::Unknown)
}

/// A descriptor that a device in the dump has.
struct KnownDescriptor<'d> {
    device: &'d UsbDevice,
    string: Option<(StringKind, &'d str)>,
    bytes: Vec<u8>,
}

impl KnownDescriptor<'_> {
    /// Its eight bytes from `at` on, if it reaches so far.
    fn part(&self, at: usize) -> Option<[u8; 8]> {
        self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()
    }

    /// What `bytes` are if they lie at `at` in this descriptor.
    fn meaning(&self, bytes: [u8; 8], at: usize) -> Option<Meaning> {
        if self.part(at)? != bytes {
            return None;
        }
        let (&length, rest) = self.bytes.split_first()?;
        Some(Meaning::DeviceDescriptor {
            device: self.device.name.clone(),
            id: (self.device.vendor, self.device.product_id),
            string: self.string.map(|(kind, _)| kind),
            kind: *rest.first()?,
            length,
            text: self.string.map(|(_, text)| text.to_string()),
            visible: self.string.and_then(|_| characters(bytes, at)),
            at: at as u64,
        })
    }
}

/// The characters in eight bytes at `at` of a string descriptor, whose first two are no text.
fn characters(bytes: [u8; 8], at: usize) -> Option<String> {
    let text = bytes.get(2usize.saturating_sub(at)..)?;
    let units = text
        .chunks_exact(2)
        .filter_map(|unit| Some(u16::from_le_bytes(unit.try_into().ok()?)));
    Some(
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

/// The string descriptors of a device as it must have sent them, and its device descriptor.
fn known_descriptors(device: &UsbDevice) -> Vec<KnownDescriptor<'_>> {
    let mut known: Vec<_> = device
        .strings
        .iter()
        .filter_map(|(kind, text)| {
            let bytes = descriptor::string_descriptor(text)?;
            Some(KnownDescriptor {
                device,
                string: Some((*kind, text.as_str())),
                bytes,
            })
        })
        .collect();
    known.push(KnownDescriptor {
        device,
        string: None,
        bytes: device.device_descriptor.clone(),
    });
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(product: &str) -> UsbDevice {
        UsbDevice {
            at: VirtAddr(0xffff_8880_0000_1000),
            name: "1-1".into(),
            vendor: 0x46f4,
            product_id: 1,
            strings: vec![(StringKind::Product, product.into())],
            device_descriptor: vec![18, 1, 0, 2, 0, 0, 0, 64, 0xf4, 0x46, 1, 0, 0, 0, 1, 2, 3, 1],
        }
    }

    fn check(product: &str, bytes: u64, at: usize) -> Option<Meaning> {
        let device = device(product);
        known_descriptors(&device)
            .iter()
            .find_map(|known| known.meaning(bytes.to_le_bytes(), at))
    }

    #[test]
    fn the_head_of_a_devices_string_is_found_at_offset_0_only() {
        let (text, bytes) = ("Virtual Mass Storage Device", 0x0072_0069_0056_0338);
        assert!(matches!(
            check(text, bytes, 0),
            Some(Meaning::DeviceDescriptor {
                length: 56,
                kind: 3,
                ..
            })
        ));
        assert_eq!(check(text, bytes, 8), None);
        assert_eq!(check("Another Mass Storage Device", bytes, 0), None);
    }

    #[test]
    fn a_string_too_short_to_reach_the_pointer_is_never_the_answer() {
        assert_eq!(check("short", 0, 128), None);
    }

    #[test]
    fn a_device_descriptor_is_known_too() {
        assert!(matches!(
            check("x", 0x4000_0000_0200_0112, 0),
            Some(Meaning::DeviceDescriptor {
                string: None,
                kind: 1,
                ..
            })
        ));
    }

    #[test]
    fn text_in_the_middle_of_an_object_stays_text() {
        assert_eq!(
            meaning_by_form(0x0072_0069_0056_0038u64.to_le_bytes(), 128),
            Meaning::Utf16("8Vir".into())
        );
        assert_eq!(
            meaning_by_form(0xffff_8880_0123_4080u64.to_le_bytes(), 0),
            Meaning::Unknown
        );
    }
}
