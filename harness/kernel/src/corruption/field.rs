//! From a wild pointer that no freelist held to the field that it was read from, and to what was written over that
//! field. Says only what the bytes themselves show: a pointer that nothing explains stays unexplained.
use crate::decode::{self, Confidence, Kind, Known, Question, Reading};
use crate::instruction::Faulting;
use crate::kernel::Kernel;
use crate::object::Missing;
use crate::slice::{End, Origin, Role, Slice};
use crate::slub::{self, SlabObject};
use crate::usb::UsbDevice;
use recrash_vmcore::{PagingLevels, ReadError, VirtAddr, VirtMem};
use std::ops::Range;

/// Bytes of a pointer.
const POINTER: usize = 8;
/// The first page, where NULL and a field's offset lie.
const NULL_PAGE: u64 = 4096;
/// Fewest bytes of a pointer that are told apart from the rest of it: `decode` needs as many.
const SHORTEST: usize = 4;

/// A field that holds a wild pointer, which the faulting instruction followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptField {
    /// `struct.field` with embedded structures in between, `fwnode_handle.secondary`; `None` where no type says.
    pub field: Option<String>,
    /// Where it lies.
    pub at: VirtAddr,
    /// What it holds.
    pub pointer: u64,
    /// The address register of the faulting instruction that held it.
    pub register: &'static str,
    /// The slab object that it lies in.
    pub object: SlabObject,
    /// Which of its bytes were overwritten.
    pub span: Range<u8>,
    /// What they are.
    pub reading: Reading,
    /// What was compared with what, one line each.
    pub tried: Vec<String>,
}

impl CorruptField {
    /// The field's name, or that it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.field.as_deref().unwrap_or("a field of no known type")
    }
}

/// The field from which the faulting instruction's pointer was read, if something that a device sends lies in it.
///
/// The pointer must lead nowhere, must have been read from an object of a slab by the function that died, and must
/// still lie there.
///
/// # Errors
/// [`Missing`], with what is not so: among it that the bytes are nothing that a device sends. Nothing else is claimed of
/// a wild pointer in a field, since fields hold wild values for many reasons.
pub fn field_of(
    kernel: &Kernel<'_>,
    faulting: &Faulting,
    slice: &Slice,
    devices: &[UsbDevice],
) -> Result<CorruptField, Missing> {
    let operand = (faulting.operand.as_ref())
        .ok_or_else(|| no(format!("`{}` uses no memory operand", faulting.text)))?;
    if operand.canonical && !leads_nowhere(kernel, operand.address()) {
        return Err(no(format!(
            "{} is mapped, or nearly NULL: no wild pointer",
            operand.address()
        )));
    }
    let values = [
        (Role::Base, operand.base_value),
        (Role::Index, operand.index_value),
    ];
    let mut why = no("no address register was read from memory whose address is known".into());
    for origin in &slice.origins {
        let role = values.iter().find(|(role, _)| *role == origin.role);
        let Some((Some(pointer), at, field)) =
            role.and_then(|(_, value)| loaded(origin).map(|(at, field)| (*value, at, field)))
        else {
            continue;
        };
        match look(kernel, at, pointer, devices) {
            Ok((object, (span, reading), tried)) => {
                return Ok(CorruptField {
                    field: field.map(str::to_owned),
                    at,
                    pointer,
                    register: origin.register,
                    object,
                    span,
                    reading,
                    tried,
                });
            }
            Err(missing) => {
                let field = field.unwrap_or("a field of no known type");
                why = no(format!(
                    "{} was read from {field}: {missing}",
                    origin.register
                ));
            }
        }
    }
    Err(why)
}

fn no(why: String) -> Missing {
    Missing::Implausible(why)
}

/// Not mapped, by the page tables.
fn leads_nowhere(kernel: &Kernel<'_>, at: VirtAddr) -> bool {
    let absent = matches!(
        kernel.memory().translate(at),
        Err(ReadError::NotPresent { .. })
    );
    at.0 >= NULL_PAGE && absent
}

/// Where a whole pointer was read from, and the field there.
fn loaded(origin: &Origin) -> Option<(VirtAddr, Option<&str>)> {
    match &origin.end {
        End::Load {
            at: Some(at),
            size: 8,
            field,
        } if origin.current => Some((*at, field.as_deref())),
        _ => None,
    }
}

type Look = (SlabObject, (Range<u8>, Reading), Vec<String>);

fn look(
    kernel: &Kernel<'_>,
    at: VirtAddr,
    pointer: u64,
    devices: &[UsbDevice],
) -> Result<Look, Missing> {
    let now = kernel
        .memory()
        .u64_at(at)
        .map_err(|error| Missing::Memory {
            what: format!("the pointer at {at}"),
            error,
        })?;
    if now != pointer {
        return Err(no(format!("{at} holds {now:#x} now, not {pointer:#x}")));
    }
    let object = slub::find_object(kernel, at)?;
    let offset = u64::try_from(object.offset)
        .map_err(|_| no(format!("{at} lies in the red zone of an object")))?;
    let known = Known::of(devices);
    let tried = vec![format!(
        "the whole pointer, and its low bytes where the others are a kernel address's, compared with {}, at offset \
         {offset} and anywhere, and with the forms of USB descriptors and SETUP packets",
        known.describe()
    )];
    let levels = kernel.memory().levels();
    let written = written(pointer, offset, levels, &known).ok_or_else(|| {
        no(format!(
            "{pointer:#x} is nothing that a USB device sends, by {}",
            known.describe()
        ))
    })?;
    Ok((object, written, tried))
}

/// Which bytes of a wild pointer a device sent, and what they are: all of them; or its low ones, if what was sent ends
/// there and the others are those of a kernel address. `offset`: of the pointer in its object.
///
/// A descriptor that ends within the pointer must be seen to end there, by its own length or by the device's copy:
/// else any four bytes that look like the middle of one would do.
#[must_use]
pub fn written(
    pointer: u64,
    offset: u64,
    levels: PagingLevels,
    known: &Known,
) -> Option<(Range<u8>, Reading)> {
    let bytes = pointer.to_le_bytes();
    let ends: Vec<usize> = (SHORTEST..=POINTER)
        .filter(|end| {
            bytes
                .get(*end..)
                .is_some_and(|rest| is_upper_part(rest, levels))
        })
        .collect();
    let readings = ends.iter().filter_map(|&end| {
        let question = Question {
            bytes: bytes.get(..end)?,
            offset: Some(offset),
            alternatives: ends.len(),
            extent: None,
        };
        let decoded = decode::decode(&question, known);
        let sent = (decoded.readings.into_iter()).find(|reading| is_sent(reading, end))?;
        Some((0..u8::try_from(end).ok()?, sent))
    });
    // Of two that are as sure, the longer explains more.
    readings.max_by_key(|(span, reading)| (reading.confidence, span.end))
}

/// What can follow on overwritten bytes in a pointer that was one of the kernel's: the upper half of the address space
/// begins at 0xffff800000000000, with five levels at 0xff00000000000000 (Linux Documentation/arch/x86/x86_64/mm.rst).
fn is_upper_part(rest: &[u8], levels: PagingLevels) -> bool {
    match (rest, levels) {
        ([] | [0xff], _) | (_, PagingLevels::Five) => rest.last().is_none_or(|last| *last == 0xff),
        ([0xff, 0xff], _) => true,
        ([.., high, 0xff, 0xff], _) => *high >= 0x80,
        _ => false,
    }
}

/// Whether a reading is of something sent over the bus, surely enough, and of all the bytes asked about.
fn is_sent(reading: &Reading, asked: usize) -> bool {
    if reading.confidence < Confidence::Structural || reading.explained != (0..asked) {
        return false;
    }
    let whole = asked == POINTER;
    match &reading.kind {
        Kind::Device(found) => whole || found.at.saturating_add(asked as u64) == found.length,
        Kind::Descriptor(found) => whole || found.begins == 0 && usize::from(found.length) == asked,
        Kind::Setup(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usb::{StringKind, UsbDevice};

    fn device() -> UsbDevice {
        UsbDevice {
            at: VirtAddr(0xffff_8880_0000_1000),
            name: "1-1".into(),
            bus: 1,
            number: Some(2),
            parent: None,
            vendor: 0x1209,
            product_id: 2,
            speed: None,
            state: None,
            strings: vec![(StringKind::Product, "Virtual Mass Storage Device".into())],
            language: Some(0x0409),
            device_descriptor: vec![18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 2, 0, 0, 1, 1, 2, 3, 1],
            configurations: Vec::new(),
            active_configuration: None,
            bos: None,
            missing: Vec::new(),
        }
    }

    /// With the device present, and without any.
    fn check(pointer: u64, offset: u64, with: Option<(u8, &str)>, without: Option<(u8, &str)>) {
        for (known, expected) in [(Known::of(&[device()]), with), (Known::default(), without)] {
            let found =
                written(pointer, offset, PagingLevels::Four, &known).map(|(span, reading)| {
                    assert_eq!(span.start, 0);
                    let what = match reading.kind {
                        Kind::Device(found) => found.part.label(),
                        Kind::Descriptor(found) => found.name.to_owned(),
                        Kind::Setup(_) => "setup".to_owned(),
                        other => format!("{other:?}"),
                    };
                    (span.end, what)
                });
            let expected = expected.map(|(end, what)| (end, what.to_owned()));
            assert_eq!(found, expected, "{pointer:#x} at {offset}");
        }
    }

    #[test]
    fn language_ids_over_the_low_half_of_a_pointer_are_seen_to_end_there() {
        let zero = "string descriptor zero";
        for upper in [0xffff_ffff_u64, 0xffff_8cfc, 0xffff_b5ee] {
            check(
                upper << 32 | 0x0409_0304,
                0,
                Some((4, zero)),
                Some((4, zero)),
            );
        }
    }

    #[test]
    fn a_low_half_under_no_kernel_address_is_nothing() {
        let of_five_levels = 0xff11_0001_0409_0304;
        check(of_five_levels, 0, None, None);
        assert!(written(of_five_levels, 0, PagingLevels::Five, &Known::default()).is_some());
        check(0x0409_0304, 0, None, None);
        check(0x7f11_0409_0304, 0, None, None);
    }

    #[test]
    fn the_same_four_bytes_in_the_middle_of_a_longer_descriptor_are_nothing() {
        // "irtu" of "Virtual": it goes on.
        let middle = u64::from_le_bytes([0x69, 0, 0x72, 0, 0xff, 0xff, 0xff, 0xff]);
        check(middle, 4, None, None);
        // idVendor and idProduct, which are as sure as the device's language ids, and go on.
        check(0xffff_8cfc_0002_1209, 8, None, None);
    }

    #[test]
    fn a_device_descriptor_over_a_whole_pointer_is_told_by_form_or_by_the_device() {
        let form = Some((8, "device descriptor"));
        check(0x4000_0000_0200_0112, 0, form, form);
        // Its second word has ids that only the device's own copy tells.
        check(0x0201_0100_0002_1209, 8, form, None);
    }

    #[test]
    fn a_sound_pointer_and_other_wild_ones_are_nothing() {
        for pointer in [
            0xffff_8880_0400_1200,
            0xffff_ffff_c037_fc16,
            0xdead_0000_0000_0100,
            0x6b6b_6b6b_6b6b_6b6b,
            0xffff_ffff_ffff_fff4,
            0x0000_0000_0000_0040,
            0x0020_0065_0076_0069,
        ] {
            check(pointer, 0, None, None);
        }
    }
}
