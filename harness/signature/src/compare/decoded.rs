//! Whether the candidate's bytes are what the golden's are: the same kind, another, or not proven.
//!
//! Not proven is not proven otherwise: contents that could be the golden's and lack a proof leave
//! the question open. Parts of one kind (text, length) are compared in `walk`.

use crate::model::{Confidence, Decoded, DescriptorType, Fact, Signature, Site};

/// What the candidate's decoding is to the golden's.
pub(crate) enum Relation {
    /// The same kind.
    Same,
    /// Another kind, and why that is sure.
    Other(String),
    /// The candidate's could be the golden's; what is missing.
    Unproven(String),
    /// The golden's could be the candidate's; what is missing.
    GoldenUnproven(String),
}

/// Compares the kinds of `a`, the golden's decoding, and `b`, the candidate's.
pub(crate) fn relation(
    golden: &Signature,
    found: &Signature,
    a: &Decoded,
    b: &Decoded,
) -> Relation {
    match (a, b) {
        (Decoded::UsbDescriptor { descriptor, .. }, _) => {
            to_descriptor(*descriptor, golden, found, b)
        }
        (Decoded::Text { .. }, Decoded::UsbDescriptor { descriptor, .. }) => {
            match to_descriptor(*descriptor, found, golden, a) {
                Relation::Unproven(reason) => Relation::GoldenUnproven(reason),
                other => other,
            }
        }
        // What nobody could decode is the same only if the bytes are.
        (Decoded::Unknown {}, Decoded::Unknown {}) | (Decoded::Number {}, Decoded::Number {}) => {
            let missing = || "undecoded bytes, and not known which".to_owned();
            let (a, b) = (&golden.corruption.observed, &found.corruption.observed);
            match (a.value(), b.value()) {
                (None, _) => Relation::GoldenUnproven(missing()),
                (_, None) => Relation::Unproven(missing()),
                (Some(a), Some(b)) if a == b => Relation::Same,
                _ => Relation::Other("unknown bytes that differ".into()),
            }
        }
        (Decoded::BitFlip { .. }, Decoded::BitFlip { .. }) => Relation::Same,
        _ if a == b => Relation::Same,
        _ => Relation::Other("other contents".into()),
    }
}

/// What `decoded`, in `other`, is to a descriptor of type `kind`, in `holder`.
fn to_descriptor(
    kind: DescriptorType,
    holder: &Signature,
    other: &Signature,
    decoded: &Decoded,
) -> Relation {
    let confidence = &other.corruption.confidence;
    let at_least = |sure| confidence.value().is_some_and(|c| *c >= sure);
    match decoded {
        Decoded::UsbDescriptor {
            descriptor, offset, ..
        } if *descriptor == kind => {
            return match not_established(*offset, confidence) {
                Some(reason) => Relation::Unproven(reason.into()),
                None => Relation::Same,
            };
        }
        Decoded::UsbDescriptor { .. } if at_least(Confidence::Structural) => {
            return Relation::Other("another type of USB descriptor".into());
        }
        _ => {}
    }
    // Whatever they were taken for, the bytes themselves may rule the type out.
    if let Some(why) = type_byte_refutes(kind, holder, other) {
        return Relation::Other(why);
    }
    match decoded {
        Decoded::Text { .. } if kind != DescriptorType::STRING => {
            Relation::Other(format!("a {kind} descriptor carries no text"))
        }
        Decoded::Text { .. } if at_least(Confidence::Proven) => {
            Relation::Other(format!("{decoded} is proven to be something else"))
        }
        // ASCII too: two of its bytes make one Chinese character in UTF-16.
        Decoded::Text { .. } => Relation::Unproven(format!(
            "{decoded} alone does not prove a {kind} descriptor; a device, or another copy, that has it whole is missing"
        )),
        Decoded::UsbDescriptor { .. }
        | Decoded::Poison { .. }
        | Decoded::BitFlip { .. }
        | Decoded::SetupPacket { .. }
        | Decoded::ErrorPointer { .. }
        | Decoded::Number {} => {
            if at_least(Confidence::Structural) {
                return Relation::Other("other contents".into());
            }
            Relation::Unproven(format!(
                "{decoded} is only plausible, so a {kind} descriptor is not ruled out"
            ))
        }
        // Who could not look says absent, not unknown.
        Decoded::Unknown {} => Relation::Other(format!(
            "every reading of the bytes was tried, and none is part of a {kind} descriptor"
        )),
    }
}

/// Why bytes that decode to a descriptor do not establish that it is one. Its head carries length
/// and type, which agree with the text; the middle is text and needs a copy elsewhere as proof.
fn not_established(offset: u16, confidence: &Fact<Confidence>) -> Option<&'static str> {
    match (offset, confidence.value()) {
        (0, Some(Confidence::Structural | Confidence::Proven)) => None,
        (_, Some(Confidence::Proven)) => None,
        (0, _) => Some("the descriptor's head is only plausible"),
        _ => Some("the middle of a descriptor is text, and nothing proves where it came from"),
    }
}

/// How the bytes of `other` rule out a descriptor of type `kind` where the one of `holder` lies.
///
/// A buffer begins where its object does. So where the next-free pointer lies at the object's
/// start, the second of its bytes is `bDescriptorType` (USB 2.0, section 9.6).
fn type_byte_refutes(
    kind: DescriptorType,
    holder: &Signature,
    other: &Signature,
) -> Option<String> {
    let Some(Decoded::UsbDescriptor { offset, .. }) = holder.corruption.decoded.value() else {
        return None;
    };
    if pointer_at(holder) != Some(u32::from(*offset)) || pointer_at(other) != Some(0) {
        return None;
    }
    let byte = *other.corruption.observed.value()?.0.get(1)?;
    (byte != kind.0).then(|| {
        let found = DescriptorType(byte);
        format!("bDescriptorType would be {byte:#04x} ({found}), not {kind}")
    })
}

/// Where in the object the observed bytes lie, of a freelist pointer.
fn pointer_at(signature: &Signature) -> Option<u32> {
    let Site::FreelistPointer { .. } = signature.corruption.site.value()? else {
        return None;
    };
    let start = signature.corruption.bytes.value()?.start;
    let offset = signature.slab.freelist_offset.value()?;
    offset.checked_add(u32::from(start))
}
