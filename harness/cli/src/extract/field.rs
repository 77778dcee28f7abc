//! A field that a device's bytes were written over: its group of the signature, without addresses, and its part of the
//! account, with them. The counterpart of `corruption`, which tells of freelists.
use recrash_kernel::corruption::CorruptField;
use recrash_signature::model::{Bytes, Corruption, Fact as Known, Site, Source, Span};
use recrash_signature::normalise;

use super::corruption::{confidence, decoded, same_bytes, sender, sure, what};
use crate::output;
use crate::report::Fact;

/// The signature's group; `types` is where facts come from that took types to read.
pub(super) fn signature(hit: &CorruptField, types: Source) -> Corruption {
    let span = Span {
        start: hit.span.start,
        end: hit.span.end,
    };
    Corruption {
        site: Known::known(site(hit), types),
        bytes: Known::known(span, types),
        observed: Known::known(Bytes(observed(hit)), types),
        decoded: Known::known(decoded(Some(&hit.reading)), types),
        confidence: Known::known(confidence(&hit.reading), Source::Derived),
        proof: Known::known(proof(hit), types),
    }
}

/// Without a type it is known only as the contents of a register.
fn site(hit: &CorruptField) -> Site {
    let names = hit.field.as_deref().and_then(|path| path.split_once('.'));
    match names {
        Some((structure, field)) => Site::Field {
            structure: structure.to_owned(),
            field: field.to_owned(),
        },
        None => Site::Register {
            name: hit.register.to_owned(),
        },
    }
}

fn observed(hit: &CorruptField) -> Vec<u8> {
    let bytes = hit.pointer.to_le_bytes();
    let part = bytes.get(hit.span.start.into()..hit.span.end.into());
    part.unwrap_or_default().to_vec()
}

/// What proves it. No addresses: they differ from run to run.
fn proof(hit: &CorruptField) -> Vec<String> {
    let mut lines = vec![
        format!(
            "the faulting address was formed with a pointer read from {}, which still holds it",
            hit.name()
        ),
        format!(
            "that lies at offset {} of an object of {}",
            hit.object.offset,
            normalise::cache(&hit.object.cache.name)
        ),
    ];
    if hit.span.end < 8 {
        lines.push(format!(
            "bytes {} to 8 of the pointer are those of a kernel address, and what was written ends before them",
            hit.span.end
        ));
    }
    lines.extend(same_bytes(&hit.reading));
    lines
}

/// The account's facts: of the corruption, and of the cache.
pub(super) fn account(hit: &CorruptField) -> (Vec<Fact>, Vec<Fact>) {
    let object = &hit.object;
    let place = format!(
        "{} at {} is {:#018x} == {}",
        hit.name(),
        hit.at,
        hit.pointer,
        hit.register
    );
    let mut facts = vec![Fact::new("where", hit.name()).proven_by(place)];
    if hit.field.is_none() {
        let why = "the debug information has no type for the register that pointed at it";
        facts.push(Fact::new("structure", "not known").proven_by(why));
    }
    facts.push(Fact::new("bytes", output::bytes(&observed(hit))));
    if hit.span.end < 8 {
        let extent = format!(
            "only bytes {} to {} overwritten, the others are those of a kernel address",
            hit.span.start, hit.span.end
        );
        facts.push(Fact::new("extent", extent));
    }
    let value = format!("{} ({})", what(&hit.reading), sure(&hit.reading));
    facts.push(Fact::new("what", value).proven_by(hit.tried.join("\n")));
    facts.extend(sender(&hit.reading));
    let value = format!(
        "number {} of {} in its slab, {}",
        object.index, object.slab.objects, object.state
    );
    let place = format!("at {}, the field at offset {}", object.at, object.offset);
    facts.push(Fact::new("object", value).proven_by(place));
    let cache = &object.cache;
    let value = format!(
        "{} (object size {}, size {})",
        cache.name, cache.object_size, cache.size
    );
    let cache = Fact::new("cache", value).proven_by(format!("struct kmem_cache at {}", cache.at));
    (facts, vec![cache])
}
