//! Types and values as gdb, and hence crash, prints them. Reads nothing.
use recrash_debuginfo::types::{Form, MemberRef, TypeRef};
use recrash_kernel::value::{Pointer, Value};

use super::reply::clean;

/// Structs within each other.
const DEPTH_MAX: usize = 24;
/// Characters and elements that gdb shows of a string or an array.
pub(super) const ELEMENTS: u64 = 200;
/// Lines of one type.
const LINES_MAX: usize = 65_536;

/// How numbers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Radix {
    Decimal,
    Hexadecimal,
}

/// A type's definition, as `struct TYPE` shows it; with offsets, as `struct -o TYPE`. `base` is added to each offset
/// and shown instead of it: the addresses of the members.
pub(super) fn definition(of: TypeRef<'_>, offsets: Option<Offsets>) -> String {
    match of.form() {
        Form::Aggregate {
            is_union,
            size,
            members,
        } => {
            let word = keyword(is_union);
            let tag = or_none(of.tag());
            let mut lines = Lines {
                text: format!("{word}{tag} {{\n"),
                offsets,
                width: width(offsets, u64::from(size)),
                left: LINES_MAX,
                only: None,
            };
            lines.members(&members, 0, 1);
            lines.text + &format!("}}\nSIZE: {size}\n")
        }
        Form::Enum { values, .. } => {
            let mut text = format!("enum{} {{\n", or_none(of.tag()));
            for (name, value) in values {
                text.push_str(&format!("  {} = {value}\n", clean(name)));
            }
            text + "};\n"
        }
        _ => match of.typedef() {
            Some(target) => {
                let declared = c_names(&clean(&target.declare(of.name())));
                format!("typedef {declared};\n{}", size_line(of))
            }
            None => format!("{}\n{}", c_names(&clean(&of.spelled())), size_line(of)),
        },
    }
}

fn size_line(of: TypeRef<'_>) -> String {
    of.size()
        .map_or_else(String::new, |size| format!("SIZE: {size}\n"))
}

/// The lines of a definition that hold these members, which are the struct's own or those of anonymous members.
pub(super) fn members(of: TypeRef<'_>, names: &[&str], offsets: Offsets) -> String {
    let Form::Aggregate {
        is_union,
        size,
        members,
    } = of.form()
    else {
        return String::new();
    };
    let mut lines = Lines {
        text: format!("{}{} {{\n", keyword(is_union), or_none(of.tag())),
        offsets: Some(offsets),
        width: width(Some(offsets), u64::from(size)),
        left: LINES_MAX,
        only: Some(names.iter().map(|name| (*name).to_owned()).collect()),
    };
    lines.members(&members, 0, 1);
    lines.text + "}\n"
}

/// How offsets are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    /// Where the struct lies; 0 for offsets.
    pub(super) base: u64,
    pub(super) radix: Radix,
}

fn width(offsets: Option<Offsets>, size: u64) -> usize {
    let Some(offsets) = offsets else { return 0 };
    let last = offsets.base.saturating_add(size.saturating_sub(1));
    // Brackets, and two blanks before them.
    shown(&offsets, last).len() + 4
}

fn shown(offsets: &Offsets, value: u64) -> String {
    match (offsets.base, offsets.radix) {
        (0, Radix::Decimal) => value.to_string(),
        (0, Radix::Hexadecimal) => format!("{value:#x}"),
        _ => format!("{value:x}"),
    }
}

/// gcc's names of base types in the spelling that people and gdb use.
pub(super) fn c_names(declared: &str) -> String {
    const SHORT: [(&str, &str); 7] = [
        ("long long unsigned int", "unsigned long long"),
        ("long long int", "long long"),
        ("long unsigned int", "unsigned long"),
        ("long int", "long"),
        ("short unsigned int", "unsigned short"),
        ("short int", "short"),
        ("__int128 unsigned", "unsigned __int128"),
    ];
    SHORT
        .iter()
        .fold(declared.to_owned(), |text, (long, short)| {
            text.replace(long, short)
        })
}

fn keyword(is_union: bool) -> &'static str {
    if is_union { "union" } else { "struct" }
}

fn or_none(tag: &str) -> String {
    match tag {
        "" => " {...}".into(),
        tag => format!(" {}", clean(tag)),
    }
}

struct Lines {
    text: String,
    offsets: Option<Offsets>,
    width: usize,
    left: usize,
    /// Only members of these names, without the lines around them.
    only: Option<Vec<String>>,
}

impl Lines {
    /// `base` in bits.
    fn members(&mut self, members: &[MemberRef<'_>], base: u64, depth: usize) {
        for member in members {
            let at = base.saturating_add(member.bit_offset.into());
            self.member(member, at, depth);
        }
    }

    fn member(&mut self, member: &MemberRef<'_>, at: u64, depth: usize) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return;
        }
        let inline = match member.of.form() {
            Form::Aggregate {
                is_union, members, ..
            } if member.of.is_anonymous() => (depth < DEPTH_MAX).then_some((is_union, members)),
            _ => None,
        };
        let hidden = |name: &str| {
            let only = self.only.as_ref();
            only.is_some_and(|only| !only.iter().any(|wanted| wanted == name))
        };
        let hides = hidden(member.name);
        let Some((is_union, members)) = inline else {
            if hides {
                return;
            }
            let bits = member
                .bits
                .map_or_else(String::new, |bits| format!(" : {bits}"));
            let declared = c_names(&clean(&member.of.declare(member.name)));
            return self.line(Some(at / 8), depth, &format!("{declared}{bits};"));
        };
        if hides {
            if member.name.is_empty() {
                self.members(&members, at, depth + 1);
            }
            return;
        }
        self.line(None, depth, &format!("{} {{", keyword(is_union)));
        let only = self.only.take();
        self.members(&members, at, depth + 1);
        self.only = only;
        let named = !member.name.is_empty();
        let end = match named {
            true => format!("}} {};", clean(member.name)),
            false => "};".to_owned(),
        };
        self.line(named.then_some(at / 8), depth, &end);
    }

    fn line(&mut self, at: Option<u64>, depth: usize, what: &str) {
        let offset = match (&self.offsets, at) {
            (Some(offsets), Some(at)) => {
                let value = offsets.base.wrapping_add(at);
                format!(
                    "{:>width$} ",
                    format!("[{}]", shown(offsets, value)),
                    width = self.width
                )
            }
            (Some(_), None) => " ".repeat(self.width + 1),
            (None, _) => "    ".to_owned(),
        };
        let indent = " ".repeat(4 * (depth - 1));
        self.text.push_str(&format!("{offset}{indent}{what}\n"));
    }
}

/// Prints values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    pub(super) radix: Radix,
}

impl Values {
    /// A value as gdb prints it, its later lines indented by `indent`.
    pub(super) fn text(self, value: &Value, indent: usize) -> String {
        match value {
            Value::Unsigned(number, _) => self.unsigned(*number),
            Value::Signed(number, size) => self.signed(*number, *size),
            Value::Char(byte, signed) => self.char(*byte, *signed),
            Value::Bool(truth) => match self.radix {
                Radix::Decimal => truth.to_string(),
                Radix::Hexadecimal => format!("{:#x}", u8::from(*truth)),
            },
            Value::Bytes(bytes) => wide(bytes),
            Value::Pointer(pointer) => self.pointer(pointer),
            Value::Enum(Some(name), _) => clean(name),
            Value::Enum(None, number) => number.to_string(),
            Value::Text(bytes) => string(bytes),
            Value::Struct(members) => self.members(members, indent),
            Value::Array(elements, more) => self.array(elements, *more, indent),
            Value::Unknown(why) => format!("<{}>", clean(why)),
        }
    }

    fn unsigned(self, number: u64) -> String {
        match self.radix {
            Radix::Decimal => number.to_string(),
            Radix::Hexadecimal => format!("{number:#x}"),
        }
    }

    fn signed(self, number: i64, size: u32) -> String {
        match self.radix {
            Radix::Decimal => number.to_string(),
            Radix::Hexadecimal => {
                let unused = 64_u32.saturating_sub(size.saturating_mul(8)).min(63);
                format!("{:#x}", (number.cast_unsigned() << unused) >> unused)
            }
        }
    }

    fn char(self, byte: u8, signed: bool) -> String {
        let number = match self.radix {
            Radix::Decimal if signed => byte.cast_signed().to_string(),
            Radix::Decimal => byte.to_string(),
            Radix::Hexadecimal => return format!("{byte:#x}"),
        };
        format!("{number} '{}'", escaped(byte, '\''))
    }

    fn pointer(self, pointer: &Pointer) -> String {
        let mut text = format!("{:#x}", pointer.to);
        if let Some(place) = &pointer.place {
            let name = clean(&place.symbol);
            text.push_str(&match place.offset {
                0 => format!(" <{name}>"),
                offset => format!(" <{name}+{offset}>"),
            });
        }
        match &pointer.text {
            Some(Ok(bytes)) => {
                let cut = bytes.len() as u64 >= ELEMENTS;
                text.push_str(&format!(" {}", quoted(bytes, cut)));
            }
            Some(Err(_)) => text.push_str(&format!(
                " <error: Cannot access memory at address {:#x}>",
                pointer.to
            )),
            None => {}
        }
        text
    }

    fn members(self, members: &[(String, Value)], indent: usize) -> String {
        let inner = indent + 2;
        let lines: Vec<String> = members
            .iter()
            .map(|(name, value)| {
                let name = match name.as_str() {
                    "" => String::new(),
                    name => format!("{} = ", clean(name)),
                };
                format!("{}{name}{}", " ".repeat(inner), self.text(value, inner))
            })
            .collect();
        if lines.is_empty() {
            return "{<No data fields>}".into();
        }
        format!("{{\n{}\n{}}}", lines.join(",\n"), " ".repeat(indent))
    }

    fn array(self, elements: &[Value], more: u64, indent: usize) -> String {
        let deep = |value: &Value| matches!(value, Value::Struct(_) | Value::Array(..));
        // gdb puts the structs of an array side by side: `{{` … `}, {`.
        let inner = if elements.iter().any(deep) {
            indent + 4
        } else {
            indent
        };
        let inner_indent = inner.saturating_sub(2);
        let parts: Vec<String> = elements
            .iter()
            .map(|value| self.text(value, inner_indent))
            .collect();
        let cut = if more > 0 { "..." } else { "" };
        format!("{{{}{cut}}}", parts.join(", "))
    }
}

/// Little-endian bytes of a number wider than 64 bits.
pub(super) fn wide(bytes: &[u8]) -> String {
    let digits: String = bytes
        .iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    match digits.trim_start_matches('0') {
        "" => "0x0".to_owned(),
        digits => format!("0x{digits}"),
    }
}

/// A character array: without its last NUL.
fn string(bytes: &[u8]) -> String {
    let limit = usize::try_from(ELEMENTS).unwrap_or(usize::MAX);
    let cut = bytes.len() > limit;
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let shown = match shown.split_last() {
        Some((0, rest)) if !cut => rest,
        _ => shown,
    };
    quoted(shown, cut)
}

fn quoted(bytes: &[u8], cut: bool) -> String {
    let mut text = String::from("\"");
    // A digit behind an octal escape would be taken for part of it.
    let mut after_octal = false;
    for byte in bytes {
        let escape = escaped(*byte, '"');
        if after_octal && byte.is_ascii_digit() {
            text.push_str(&format!("\\{byte:03o}"));
        } else {
            after_octal = escape.len() == 4;
            text.push_str(&escape);
        }
    }
    text + if cut { "\"..." } else { "\"" }
}

/// C's escapes, as gdb writes them: octal where there is no letter.
fn escaped(byte: u8, quote: char) -> String {
    match byte {
        7 => "\\a".into(),
        8 => "\\b".into(),
        9 => "\\t".into(),
        10 => "\\n".into(),
        11 => "\\v".into(),
        12 => "\\f".into(),
        13 => "\\r".into(),
        27 => "\\033".into(),
        b'\\' => "\\\\".into(),
        0x20..=0x7e if char::from(byte) == quote => format!("\\{quote}"),
        0x20..=0x7e => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &Value, expected: &str) {
        let values = Values {
            radix: Radix::Decimal,
        };
        assert_eq!(values.text(value, 0), expected);
    }

    #[test]
    fn character_arrays_are_strings_without_their_last_nul() {
        check(&Value::Text(b"ab\0\0".to_vec()), "\"ab\\000\"");
        check(&Value::Text(vec![0; 4]), "\"\\000\\000\\000\"");
        check(
            &Value::Text(b"a\"\n\x1b\xff\0".to_vec()),
            r#""a\"\n\033\377""#,
        );
    }

    #[test]
    fn an_array_that_goes_on_says_so() {
        let few = Value::Array(vec![Value::Unsigned(0, 8); 3], 5);
        check(&few, "{0, 0, 0...}");
    }

    #[test]
    fn structs_are_indented_by_two() {
        let inner = Value::Struct(vec![("x".into(), Value::Signed(-1, 4))]);
        let outer = Value::Struct(vec![
            ("a".into(), Value::Bool(true)),
            (String::new(), inner.clone()),
            ("list".into(), Value::Array(vec![inner.clone(), inner], 0)),
        ]);
        let expected = "{\n  a = true,\n  {\n    x = -1\n  },\n  list = {{\n      x = -1\n    }, {\n      x = -1\n    }}\n}";
        check(&outer, expected);
    }

    #[test]
    fn negative_numbers_in_hexadecimal_have_the_width_of_their_type() {
        let values = Values {
            radix: Radix::Hexadecimal,
        };
        assert_eq!(values.text(&Value::Signed(-1, 4), 0), "0xffffffff");
        assert_eq!(values.text(&Value::Signed(-1, 8), 0), "0xffffffffffffffff");
    }
}
