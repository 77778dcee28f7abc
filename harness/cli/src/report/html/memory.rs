//! Memory on the page: the overwritten object byte by byte, with the fields of what was written by name, and the objects
//! of its slab. Colours only repeat what letters and words say.
use maud::{Markup, html};
use std::fmt::Write;

use super::parts::{fold, more, paragraph, scroll};
use crate::report::memory::{
    Bytes, Field, Memory, ObjectBytes, ObjectState, SlabObject, SlabObjects,
};

/// Bytes in a row of the map.
const ROW: usize = 16;
/// Colours of fields.
const COLOURS: usize = 6;
/// Most fields that are listed.
const MAX_FIELDS: usize = 400;

/// The object, the slab, and what is not there.
pub(super) fn memory(memory: &Memory) -> Markup {
    html! {
        @if let Some(object) = &memory.object { (object_of(object)) }
        @if let Some(slab) = &memory.slab { (slab_of(slab)) }
        @if !memory.missing.is_empty() {
            p { "Not shown:" }
            ul { @for why in &memory.missing { li { (paragraph(why)) } } }
        }
    }
}

fn object_of(object: &ObjectBytes) -> Markup {
    let written = object
        .written
        .as_ref()
        .map(|bytes| (bytes.from, decode(bytes)));
    let dump = object
        .in_dump
        .as_ref()
        .map(|bytes| (bytes.from, decode(bytes)));
    let still_there = match (&written, &dump) {
        (Some((from, written)), Some((0, dump))) => {
            let from = usize::try_from(*from).unwrap_or(usize::MAX);
            dump.get(from..from.saturating_add(written.len())) == Some(written)
        }
        _ => false,
    };
    html! {
        h3 { "The overwritten object" }
        p {
            "Object of " (object.size) " bytes of " code { (paragraph(&object.cache)) }
            " at " code { (paragraph(&object.address)) } ": " (paragraph(&object.known_by)) "."
            @if let Some(pointer) = &object.pointer {
                " Bytes " (pointer.from) " to " (pointer.to) ", underlined in a heavy frame, were read as "
                (paragraph(&pointer.what)) "."
            }
        }
        @if let (Some(bytes), Some((from, values))) = (&object.written, &written) {
            @let caption = format!("What was written: {}", bytes.what);
            @match (&dump, still_there) {
                (Some((_, all)), true) => {
                    (map(object, &format!("{caption}; the dump still has it"), 0, all))
                },
                _ => { (map(object, &caption, *from, values)) },
            }
            (legend(&object.fields))
        }
        @if let (false, Some(bytes), Some((from, values))) = (still_there, &object.in_dump, &dump) {
            @let unnamed = ObjectBytes { fields: Vec::new(), ..object.clone() };
            (map(&unnamed, &format!("What lies there: {}", bytes.what), *from, values))
        }
    }
}

fn decode(bytes: &Bytes) -> Vec<u8> {
    let digits: Vec<u8> = bytes
        .hex
        .chars()
        .filter_map(|c| c.to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => high << 4 | low,
            _ => 0,
        })
        .collect()
}

/// The letter of a field: a to z, then aa and so on.
fn letter(mut number: usize) -> String {
    let mut out = Vec::new();
    loop {
        out.push(b'a' + u8::try_from(number % 26).unwrap_or(0));
        number /= 26;
        if number == 0 {
            break;
        }
        number -= 1;
    }
    out.reverse();
    String::from_utf8(out).unwrap_or_default()
}

/// Bytes in rows of sixteen. A field's letter stands at its first byte, and again at the first one of each row.
fn map(object: &ObjectBytes, caption: &str, from: u64, values: &[u8]) -> Markup {
    let from = usize::try_from(from)
        .unwrap_or(0)
        .min(values.len() + ROW * 64);
    let end = from + values.len();
    let rows = end.div_ceil(ROW);
    let first = from / ROW;
    let cell = |at: usize| {
        let value = at.checked_sub(from).and_then(|index| values.get(index));
        let field = (0..)
            .zip(&object.fields)
            .find(|(_, field)| field.from <= at as u64 && (at as u64) < field.to);
        let pointer = object.pointer.as_ref();
        let pointer = pointer.is_some_and(|span| span.from <= at as u64 && (at as u64) < span.to);
        let mut class = String::new();
        if let Some((number, _)) = field {
            let _ = write!(class, "f{}", number % COLOURS);
        }
        if pointer {
            class.push_str(" pointer");
        }
        let named = field.filter(|(_, field)| field.from == at as u64 || at.is_multiple_of(ROW));
        html! {
            td class=(class.trim()) {
                @if let Some((number, _)) = named { sup { (letter(number)) } }
                @match value {
                    Some(value) => { (format!("{value:02x}")) },
                    None => { "··" },
                }
            }
        }
    };
    let text = |row: usize| {
        let bytes = (row * ROW..(row + 1) * ROW).filter_map(|at| values.get(at.checked_sub(from)?));
        let text: String = bytes
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        text
    };
    let table = html! {
        table class="hex" {
            caption { (paragraph(caption)) }
            thead {
                tr {
                    th scope="col" { "offset" }
                    @for column in 0..ROW { th scope="col" { (format!("{column:x}")) } }
                    th scope="col" { "text" }
                }
            }
            tbody {
                @for row in first..rows {
                    tr {
                        th scope="row" { (format!("{:03x}", row * ROW)) }
                        @for at in row * ROW..(row + 1) * ROW { (cell(at)) }
                        td class="text" { (text(row)) }
                    }
                }
            }
        }
    };
    let label = "bytes of the object";
    fold(label, rows - first.min(rows), &scroll(label, &table))
}

/// What each letter stands for.
fn legend(fields: &[Field]) -> Markup {
    let table = html! {
        table {
            caption { "Its fields" }
            thead {
                tr { @for heading in ["letter", "bytes", "field", "value", "of"] { th scope="col" { (heading) } } }
            }
            tbody {
                @for (number, field) in fields.iter().enumerate().take(MAX_FIELDS) {
                    tr {
                        td { span class={ "key f" (number % COLOURS) } { (letter(number)) } }
                        td class="value" { (field.from) " to " (field.to) }
                        th scope="row" class="mono" { (paragraph(&field.name)) }
                        td class="value" { (paragraph(&field.value)) }
                        td { (paragraph(&field.of)) }
                    }
                }
            }
        }
        (more(fields.len(), MAX_FIELDS))
    };
    html! { @if !fields.is_empty() { (fold("Its fields", fields.len(), &scroll("fields", &table))) } }
}

/// The objects of the slab as a grid.
fn slab_of(slab: &SlabObjects) -> Markup {
    let count = |state: ObjectState| slab.list.iter().filter(|one| one.state == state).count();
    let states = [
        ObjectState::Allocated,
        ObjectState::FreeOnCpu,
        ObjectState::FreeOnSlab,
        ObjectState::Unknown,
    ];
    let grid = html! {
        ol class="slab" {
            @for (number, object) in slab.list.iter().enumerate() { (object_cell(number, object)) }
        }
    };
    html! {
        h3 { "Its slab" }
        p {
            (slab.objects) " objects of " code { (paragraph(&slab.cache)) } ", every " (slab.distance)
            " bytes, from " code { (paragraph(&slab.address)) } " on: "
            @for (at, state) in states.into_iter().filter(|state| count(*state) > 0).enumerate() {
                @if at > 0 { "; " }
                (count(state)) " " (state.words())
            }
            "."
        }
        (fold("Objects of the slab", slab.list.len() / 4, &grid))
        (more(usize::try_from(slab.objects).unwrap_or(0), slab.list.len()))
        @if !slab.freelists.is_empty() {
            ul { @for list in &slab.freelists { li { (paragraph(list)) } } }
        }
    }
}

fn object_cell(number: usize, object: &SlabObject) -> Markup {
    let (class, words) = match object.state {
        ObjectState::Allocated => ("allocated", "allocated".to_owned()),
        ObjectState::FreeOnCpu => ("free", "free, CPU's list".into()),
        ObjectState::FreeOnSlab => ("free", "free, slab's list".into()),
        ObjectState::Unknown => ("unknown", "not known".into()),
    };
    let corrupted = if object.corrupted { " corrupted" } else { "" };
    html! {
        li class={ (class) (corrupted) } {
            b { "#" (number) } " "
            @if object.corrupted { "✗ overwritten; " }
            (words)
            @if let Some(place) = object.place { " (" (place) ".)" }
            @if !object.note.is_empty() { "; " (paragraph(&object.note)) }
        }
    }
}
