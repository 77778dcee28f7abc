//! Values by their types: what lies at an address, down to the last member. Reads memory, says where a pointer
//! points; how it is shown is the caller's business.
//!
//! A type may be hostile, so depth, number of values and bytes are bounded; what is beyond is a value that says so.
use crate::kernel::{Kernel, Place};
use recrash_debuginfo::types::{Form, MemberRef, TypeRef};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Structs and arrays within each other; the kernel's deepest have about ten.
const DEPTH_MAX: u32 = 32;
/// Values of one reading.
const VALUES_MAX: usize = 1 << 16;
/// Bytes of one reading; the largest structs have some hundred KiB.
const BYTES_MAX: u64 = 4 << 20;
/// Bytes of a string that a `char *` points at, as gdb shows them.
const STRING_MAX: usize = 200;
/// Bytes behind a data symbol that are taken for part of it.
const NEAR: u64 = 16 << 10;
const PAGE: u64 = 4096;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An unsigned integer of up to 8 bytes, and how many bytes.
    Unsigned(u64, u32),
    /// A signed integer of up to 8 bytes, and how many bytes.
    Signed(i64, u32),
    /// A single character.
    Char(u8, bool),
    /// A truth value; any other number than 0 or 1 is an [`Value::Unsigned`].
    Bool(bool),
    /// An integer of more than 8 bytes or a floating-point number, as it lies in memory.
    Bytes(Vec<u8>),
    /// An address.
    Pointer(Pointer),
    /// An enumerator's name, `(A | B)` for several flags in one; `None` if the enum has none for it.
    Enum(Option<String>, i64),
    /// Characters of an array.
    Text(Vec<u8>),
    /// Members with their names; anonymous ones have an empty name.
    Struct(Vec<(String, Value)>),
    /// Elements, and how many more there are that were not read.
    Array(Vec<Value>, u64),
    /// It could not be read, or its type is not known, and why.
    Unknown(String),
}

/// An address, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The address.
    pub to: u64,
    /// The symbol that it lies in.
    pub place: Option<Place>,
    /// For a `char *` that is not null: the text, as far as it could be read, or why not.
    pub text: Option<Result<Vec<u8>, String>>,
    /// Whether it is the address of code.
    pub code: bool,
}

/// Bytes of an object, from `at` on; pages that could not be read are holes.
struct Image {
    at: VirtAddr,
    bytes: Vec<u8>,
    /// From, up to, why.
    holes: Vec<(usize, usize, String)>,
}

impl Image {
    fn read(kernel: &Kernel<'_>, at: VirtAddr, size: u64) -> Self {
        let size = usize::try_from(size.min(BYTES_MAX)).unwrap_or(0);
        let mut image = Self {
            at,
            bytes: vec![0; size],
            holes: Vec::new(),
        };
        let mut done = 0;
        while done < size {
            let from = at.wrapping_add(done as u64);
            let room = usize::try_from(PAGE - from.0 % PAGE).unwrap_or(size);
            let end = done.saturating_add(room).min(size);
            if let Some(part) = image.bytes.get_mut(done..end)
                && let Err(error) = kernel.memory().read(from, part)
            {
                image.holes.push((done, end, error.to_string()));
            }
            done = end;
        }
        image
    }

    fn get(&self, offset: u64, size: u64) -> Result<&[u8], String> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let to = usize::try_from(offset.saturating_add(size)).unwrap_or(usize::MAX);
        if let Some((_, _, why)) = self.holes.iter().find(|(a, b, _)| from < *b && to > *a) {
            return Err(why.clone());
        }
        self.bytes
            .get(from..to)
            .ok_or_else(|| format!("beyond the first {BYTES_MAX} bytes"))
    }
}

/// Reads a value of type `of` at `at`. Of each array at most `max_elements` elements are read (characters of a
/// text are not counted). Never fails: what cannot be read is [`Value::Unknown`] in its place.
#[must_use]
pub fn read(kernel: &Kernel<'_>, of: TypeRef<'_>, at: VirtAddr, max_elements: u64) -> Value {
    let Some(size) = of.size() else {
        return Value::Unknown(format!("the size of {} is not known", of.spelled()));
    };
    let image = Image::read(kernel, at, size);
    let mut reading = Reading {
        kernel,
        image: &image,
        max_elements,
        left: VALUES_MAX,
    };
    reading.value(of, 0, DEPTH_MAX)
}

/// Reads one member of a struct at `at`; as [`read`], and for bit fields too.
#[must_use]
pub fn read_member(
    kernel: &Kernel<'_>,
    member: &MemberRef<'_>,
    at: VirtAddr,
    max_elements: u64,
) -> Value {
    let start = at.wrapping_add(u64::from(member.bit_offset / 8));
    if member.bits.is_none() {
        return read(kernel, member.of, start, max_elements);
    }
    let image = Image::read(kernel, start, 9);
    let mut reading = Reading {
        kernel,
        image: &image,
        max_elements,
        left: VALUES_MAX,
    };
    let within = MemberRef {
        bit_offset: member.bit_offset % 8,
        ..*member
    };
    reading.member(&within, 0, DEPTH_MAX)
}

struct Reading<'r> {
    kernel: &'r Kernel<'r>,
    image: &'r Image,
    max_elements: u64,
    left: usize,
}

impl Reading<'_> {
    fn value(&mut self, of: TypeRef<'_>, offset: u64, depth: u32) -> Value {
        let (Some(deeper), Some(left)) = (depth.checked_sub(1), self.left.checked_sub(1)) else {
            return Value::Unknown("more values than are read at a time".into());
        };
        self.left = left;
        match of.form() {
            Form::Int { size, signed, char } if char && size == 1 => {
                self.with(offset, 1, |bytes| {
                    Value::Char(bytes.first().copied().unwrap_or(0), signed)
                })
            }
            Form::Int { size, signed, .. } => self.with(offset, size, |b| integer(b, signed)),
            Form::Bool { size } => self.with(offset, size, |bytes| match word(bytes) {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => Value::Unsigned(other, size),
            }),
            Form::Float { size } => self.with(offset, size, |bytes| Value::Bytes(bytes.to_vec())),
            Form::Pointer(target) => match self.image.get(offset, 8) {
                Ok(bytes) => Value::Pointer(pointer(self.kernel, target, word(bytes))),
                Err(why) => Value::Unknown(why),
            },
            Form::Enum { size, values } => {
                self.with(offset, size, |bytes| enumerator(&values, bytes))
            }
            Form::Aggregate { members, .. } => Value::Struct(
                members
                    .iter()
                    .map(|member| (member.name.to_owned(), self.member(member, offset, deeper)))
                    .collect(),
            ),
            Form::Array { element, count } => self.array(element, count, offset, deeper),
            Form::Void | Form::Function | Form::Unknown => {
                Value::Unknown(format!("{} has no value", of.spelled()))
            }
        }
    }

    fn with(&self, offset: u64, size: u32, make: impl FnOnce(&[u8]) -> Value) -> Value {
        self.image
            .get(offset, size.into())
            .map_or_else(Value::Unknown, make)
    }

    fn member(&mut self, member: &MemberRef<'_>, base: u64, depth: u32) -> Value {
        let Some(bits) = member.bits else {
            let at = base.saturating_add(u64::from(member.bit_offset / 8));
            return self.value(member.of, at, depth);
        };
        let first = base.saturating_add(u64::from(member.bit_offset / 8));
        let shift = member.bit_offset % 8;
        let bytes = u64::from((shift + u32::from(bits)).div_ceil(8));
        match self.image.get(first, bytes) {
            Ok(found) => bit_field(member.of, found, shift, bits),
            Err(why) => Value::Unknown(why),
        }
    }

    fn array(&mut self, element: TypeRef<'_>, count: u32, offset: u64, depth: u32) -> Value {
        let count = u64::from(count);
        // Of a flexible array only the place is known.
        if count == 0 {
            let at = self.image.at.wrapping_add(offset);
            let mut found = pointer(self.kernel, element, at.0);
            found.place = self.kernel.place(at).filter(|place| place.offset < NEAR);
            return Value::Pointer(found);
        }
        if matches!(
            element.form(),
            Form::Int {
                size: 1,
                char: true,
                ..
            }
        ) {
            let known = self.image.get(offset, count);
            return known.map_or_else(Value::Unknown, |bytes| Value::Text(bytes.to_vec()));
        }
        let Some(step) = element.size() else {
            return Value::Unknown(format!("the size of {} is not known", element.spelled()));
        };
        let shown = count.min(self.max_elements);
        let mut found = Vec::new();
        for index in 0..shown {
            if self.left == 0 {
                break;
            }
            let at = offset.saturating_add(index.saturating_mul(step));
            found.push(self.value(element, at, depth));
        }
        let left = count.saturating_sub(found.len() as u64);
        Value::Array(found, left)
    }
}

/// Up to 8 bytes, little endian.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn integer(bytes: &[u8], signed: bool) -> Value {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    match size {
        1..=8 if signed => Value::Signed(sign_extend(word(bytes), size * 8), size),
        1..=8 => Value::Unsigned(word(bytes), size),
        _ => Value::Bytes(bytes.to_vec()),
    }
}

fn sign_extend(value: u64, bits: u32) -> i64 {
    let unused = 64_u32.saturating_sub(bits).min(63);
    (value << unused).cast_signed() >> unused
}

fn bit_field(of: TypeRef<'_>, bytes: &[u8], shift: u32, bits: u8) -> Value {
    let wide = bytes
        .iter()
        .take(16)
        .rev()
        .fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    let mask = 1_u128
        .checked_shl(bits.into())
        .map_or(u128::MAX, |one| one - 1);
    let value = u64::try_from((wide >> shift) & mask).unwrap_or(u64::MAX);
    match of.form() {
        Form::Bool { .. } if value <= 1 => Value::Bool(value == 1),
        Form::Enum { values, .. } => enumerator(&values, &value.to_le_bytes()),
        Form::Int {
            signed: true, size, ..
        } => Value::Signed(sign_extend(value, bits.into()), size),
        other => {
            let size = match other {
                Form::Int { size, .. } | Form::Bool { size } => size,
                _ => 8,
            };
            Value::Unsigned(value, size)
        }
    }
}

/// Enumerators of 4 bytes are kept sign-extended; so is the value where the enum has a negative one.
fn enumerator(values: &[(&str, i64)], bytes: &[u8]) -> Value {
    let bits = u32::try_from(bytes.len().saturating_mul(8)).unwrap_or(64);
    let (plain, extended) = (word(bytes).cast_signed(), sign_extend(word(bytes), bits));
    let name = values
        .iter()
        .find(|(_, value)| *value == extended || *value == plain)
        .map(|(name, _)| (*name).to_owned())
        .or_else(|| flags(values, plain));
    let signed = values.iter().any(|(_, value)| *value < 0);
    Value::Enum(name, if signed { extended } else { plain })
}

/// The names of all bits, where no two enumerators share one and every bit has a name.
fn flags(values: &[(&str, i64)], value: i64) -> Option<String> {
    let mut taken = 0;
    let mut names: Vec<&str> = Vec::new();
    for (name, flag) in values {
        if *flag < 0 || taken & flag != 0 {
            return None;
        }
        taken |= flag;
        if *flag != 0 && value & flag == *flag {
            names.push(name);
        }
    }
    let all = value != 0 && value & !taken == 0 && names.len() > 1;
    all.then(|| format!("({})", names.join(" | ")))
}

fn pointer(kernel: &Kernel<'_>, target: TypeRef<'_>, to: u64) -> Pointer {
    let form = target.form();
    let is_text = matches!(
        form,
        Form::Int {
            size: 1,
            char: true,
            ..
        }
    );
    let code = matches!(form, Form::Function);
    let text = (is_text && to != 0).then(|| text(kernel, VirtAddr(to)));
    let place = kernel.place(VirtAddr(to)).filter(|place| {
        let near = match &text {
            Some(Ok(_)) => place.offset == 0,
            // Symbols have no size; far behind one lies something else.
            _ => code || place.offset < NEAR,
        };
        to >> 63 == 1 && near
    });
    Pointer {
        to,
        place,
        text,
        code,
    }
}

/// The bytes up to a NUL, at most [`STRING_MAX`].
fn text(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; STRING_MAX];
    let room = usize::try_from(PAGE - at.0 % PAGE).unwrap_or(STRING_MAX);
    if let Err(error) = kernel.memory().read(at, &mut bytes) {
        if room >= STRING_MAX {
            return Err(error.to_string());
        }
        bytes.truncate(room);
        let first = kernel.memory().read(at, &mut bytes);
        first.map_err(|error| error.to_string())?;
    }
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_sign_and_size() {
        assert_eq!(integer(&[0xff, 0xff], true), Value::Signed(-1, 2));
        assert_eq!(integer(&[0xff, 0xff], false), Value::Unsigned(0xffff, 2));
        assert_eq!(integer(&[1; 16], false), Value::Bytes(vec![1; 16]));
    }

    #[test]
    fn an_enumerator_is_found_whether_its_enum_is_signed_or_not() {
        let values = [("MINUS", -1), ("ZERO", 0)];
        let name = |bytes: &[u8]| match enumerator(&values, bytes) {
            Value::Enum(name, _) => name,
            _ => None,
        };
        assert_eq!(name(&[0xff; 4]).as_deref(), Some("MINUS"));
        assert_eq!(name(&[0; 4]).as_deref(), Some("ZERO"));
        assert_eq!(name(&[7, 0, 0, 0]), None);
    }

    #[test]
    fn flags_are_told_apart_where_each_has_a_bit_of_its_own() {
        let bits = [("A", 1), ("B", 2), ("C", 4)];
        assert_eq!(flags(&bits, 5).as_deref(), Some("(A | C)"));
        assert_eq!(flags(&bits, 9), None);
        assert_eq!(flags(&[("A", 1), ("B", 2), ("C", 3)], 7), None);
    }

    #[test]
    fn a_sign_is_extended_from_the_width_of_the_field() {
        assert_eq!(sign_extend(0b111, 3), -1);
        assert_eq!(sign_extend(0b011, 3), 3);
        assert_eq!(sign_extend(u64::MAX, 64), -1);
    }
}
