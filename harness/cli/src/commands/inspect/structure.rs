//! `struct`: a type's layout, or the values of one in memory.
use anyhow::anyhow;
use recrash_debuginfo::types::{Form, MemberRef, TypeRef};
use recrash_kernel::Kernel;
use recrash_kernel::value::{self, Value};
use recrash_vmcore::{VirtAddr, VirtMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::address;
use super::form::{self, ELEMENTS, Offsets, Radix, Values};
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use crate::failure::Failure;

/// Structs of one call.
const MAX_COUNT: u64 = 4096;
const PAGE: u64 = 4096;
/// More pages than any struct has.
const PAGES_MAX: u32 = 256;
/// Elements of an array in JSON.
const JSON_ELEMENTS: u64 = 16_384;
/// Members within members.
const DEPTH_MAX: u32 = 24;

/// Shows a struct, union, enum or typedef; with an address, the values there.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Offsets of the members; with an address, their addresses
    #[arg(short)]
    offsets: bool,
    /// Numbers in hexadecimal
    #[arg(short = 'x')]
    hexadecimal: bool,
    /// How many structs that lie one behind the other
    #[arg(short, value_name = "COUNT", value_parser = address::count)]
    count: Option<u64>,
    /// The address is that of a member: its offset in bytes, or TYPE.member
    #[arg(short = 'l', value_name = "OFFSET")]
    list: Option<String>,
    /// The type, or members of it: TYPE.member or TYPE.member,member
    #[arg(value_name = "TYPE[.MEMBER,...]")]
    name: String,
    /// Where one lies
    address: Option<String>,
    /// How many, as with -c
    #[arg(value_parser = address::count, conflicts_with = "count", value_name = "COUNT")]
    how_many: Option<u64>,
}

/// A member, and how it was asked for.
struct Wanted<'k> {
    path: String,
    member: MemberRef<'k>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let (name, paths) = split(&self.name);
        let of = kernel
            .types()
            .find(name)
            .ok_or_else(|| unknown(kernel, name))?;
        let mut wanted = Vec::new();
        for path in paths {
            let member = member(of, path)
                .ok_or_else(|| Failure::usage(anyhow!("{} has no member {path}", of.spelled())))?;
            wanted.push(Wanted {
                path: path.to_owned(),
                member,
            });
        }
        match &self.address {
            Some(at) => {
                let at = address::address(session, at)?;
                let at = at.wrapping_sub(self.back(kernel)?);
                if self.offsets {
                    self.layout(session, of, &wanted, at)
                } else {
                    self.values(session, of, &wanted, at)
                }
            }
            None => self.layout(session, of, &wanted, 0),
        }
    }

    fn radix(&self) -> Radix {
        match self.hexadecimal {
            true => Radix::Hexadecimal,
            false => Radix::Decimal,
        }
    }

    /// What `-l` takes off the address.
    fn back(&self, kernel: &Kernel<'_>) -> Result<u64, Failure> {
        let Some(text) = &self.list else { return Ok(0) };
        if let Ok(bytes) = address::count(text) {
            return Ok(bytes);
        }
        let (of, path) = text.split_once('.').unwrap_or((text, ""));
        kernel.types().offset_of(of, path).ok_or_else(|| {
            Failure::usage(anyhow!("{text:?} is no offset")).hint("expected bytes, or TYPE.member")
        })
    }

    fn layout(
        &self,
        session: &Session<'_>,
        of: TypeRef<'_>,
        wanted: &[Wanted<'_>],
        base: u64,
    ) -> Outcome {
        let offsets = Offsets {
            base,
            radix: self.radix(),
        };
        let text = if wanted.is_empty() {
            form::definition(of, self.offsets.then_some(offsets))
        } else {
            members_text(of, wanted, &offsets)
        };
        let found = Layout {
            name: of.spelled(),
            kind: kind(of),
            size: of.size(),
            members: if wanted.is_empty() {
                members_of(of)
            } else {
                wanted
                    .iter()
                    .map(|w| member_json(&w.path, &w.member, 0))
                    .collect()
            },
            values: enumerators(of),
            text,
        };
        session.show(&found, &[])
    }

    fn values(
        &self,
        session: &Session<'_>,
        of: TypeRef<'_>,
        wanted: &[Wanted<'_>],
        at: u64,
    ) -> Outcome {
        let kernel = session.kernel()?;
        let count = self.count.or(self.how_many).unwrap_or(1);
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(Failure::usage(anyhow!(
                "{count} structs asked for, expected 1 to {MAX_COUNT}"
            )));
        }
        let step = of
            .size()
            .ok_or_else(|| Failure::usage(anyhow!("{} has no size", of.spelled())))?;
        let elements = if session.json() {
            JSON_ELEMENTS
        } else {
            ELEMENTS
        };
        let mut missing = Vec::new();
        let mut objects = Vec::new();
        for index in 0..count {
            let at = VirtAddr(at.wrapping_add(index.wrapping_mul(step)));
            let value = if wanted.is_empty() {
                unreadable(kernel, at, step)
                    .unwrap_or_else(|| value::read(kernel, of, at, elements))
            } else {
                let read = |wanted: &Wanted<'_>| {
                    let place = at.wrapping_add(u64::from(wanted.member.bit_offset / 8));
                    let size = wanted.member.of.size().unwrap_or(1);
                    let value = unreadable(kernel, place, size).unwrap_or_else(|| {
                        value::read_member(kernel, &wanted.member, at, elements)
                    });
                    (wanted.path.clone(), value)
                };
                Value::Struct(wanted.iter().map(read).collect())
            };
            gaps(&value, &of.spelled(), at, &mut missing);
            objects.push(Instance {
                address: at.into(),
                value: Json(value),
            });
        }
        let all_missing = objects.iter().all(|object| !anything(&object.value.0));
        if all_missing {
            let more = match missing.len() {
                0 | 1 => String::new(),
                lines => format!(" (and {} more)", lines - 1),
            };
            let first = missing
                .first()
                .map_or("nothing of it is known", |line| line);
            return Err(session.nothing(format!("{first}{more}")));
        }
        let found = Objects {
            name: of.spelled(),
            objects,
            radix: self.radix(),
            by_member: !wanted.is_empty(),
        };
        session.show(&found, &missing)
    }
}

/// `TYPE.a,b.c`: the type, and the members' paths.
fn split(text: &str) -> (&str, Vec<&str>) {
    match text.split_once('.') {
        Some((name, members)) => (name.trim(), members.split(',').collect()),
        None => (text.trim(), Vec::new()),
    }
}

fn unknown(kernel: &Kernel<'_>, name: &str) -> Failure {
    if kernel.types().vmlinux().is_none() {
        let why = kernel.notes().join("; ");
        return Failure::inconclusive(anyhow!("the kernel's types are not known: {why}"));
    }
    Failure::usage(anyhow!("the kernel has no type {name:?}"))
        .hint("expected a struct, union, enum or typedef, as C names it")
}

/// A member by path, its offset counted from the outermost struct.
fn member<'a>(of: TypeRef<'a>, path: &str) -> Option<MemberRef<'a>> {
    let mut at = MemberRef {
        name: "",
        of,
        bit_offset: 0,
        bits: None,
    };
    for step in path.split('.') {
        let (name, indexes) = step.split_at(step.find('[').unwrap_or(step.len()));
        let found = named(at.of, name, DEPTH_MAX)?;
        at = MemberRef {
            bit_offset: at.bit_offset.checked_add(found.bit_offset)?,
            ..found
        };
        for index in indexes.split_terminator(']') {
            let index: u32 = index.strip_prefix('[')?.parse().ok()?;
            let Form::Array { element, .. } = at.of.form() else {
                return None;
            };
            let bits = u32::try_from(element.size()?).ok()?.checked_mul(8)?;
            at = MemberRef {
                of: element,
                bit_offset: at.bit_offset.checked_add(bits.checked_mul(index)?)?,
                ..at
            };
        }
    }
    Some(at)
}

fn named<'a>(of: TypeRef<'a>, name: &str, depth: u32) -> Option<MemberRef<'a>> {
    let Form::Aggregate { members, .. } = of.form() else {
        return None;
    };
    let deeper = depth.checked_sub(1)?;
    for member in members {
        if member.name == name && !name.is_empty() {
            return Some(member);
        }
        if member.name.is_empty()
            && let Some(found) = named(member.of, name, deeper)
        {
            let bit_offset = member.bit_offset.checked_add(found.bit_offset)?;
            return Some(MemberRef {
                bit_offset,
                ..found
            });
        }
    }
    None
}

/// crash's `struct TYPE.member`: the members between the struct's first and last line.
fn members_text(of: TypeRef<'_>, wanted: &[Wanted<'_>], offsets: &Offsets) -> String {
    let own: Vec<&str> = wanted.iter().map(|wanted| wanted.path.as_str()).collect();
    if !own.iter().any(|path| path.contains(['.', '['])) {
        return form::members(of, &own, *offsets);
    }
    let mut text = format!("{} {{\n", clean(&of.spelled()));
    for wanted in wanted {
        let at = offsets
            .base
            .wrapping_add(u64::from(wanted.member.bit_offset / 8));
        let at = match (offsets.base, offsets.radix) {
            (0, Radix::Decimal) => at.to_string(),
            (0, Radix::Hexadecimal) => format!("{at:#x}"),
            _ => format!("{at:x}"),
        };
        let bits = wanted
            .member
            .bits
            .map_or_else(String::new, |bits| format!(" : {bits}"));
        let name = wanted.path.rsplit('.').next().unwrap_or_default();
        let name = name.split('[').next().unwrap_or_default();
        let declared = form::c_names(&clean(&wanted.member.of.declare(name)));
        text.push_str(&format!("{:>6} {declared}{bits};\n", format!("[{at}]")));
    }
    text + "}\n"
}

/// Why, where no page of the `size` bytes at `at` can be read: nothing about it is worth more than one line.
fn unreadable(kernel: &Kernel<'_>, at: VirtAddr, size: u64) -> Option<Value> {
    let last = at.0.checked_add(size.max(1) - 1)?;
    let mut why = None;
    let mut place = at.0;
    for _ in 0..=PAGES_MAX {
        match kernel.memory().read(VirtAddr(place), &mut [0]) {
            Ok(()) => return None,
            Err(error) => why = why.or(Some(error)),
        }
        place = (place | (PAGE - 1)).checked_add(1)?;
        if place > last {
            return why.map(|error| Value::Unknown(error.to_string()));
        }
    }
    None
}

/// Whether anything of it could be read.
fn anything(value: &Value) -> bool {
    match value {
        Value::Unknown(_) => false,
        Value::Struct(members) => members.is_empty() || members.iter().any(|(_, v)| anything(v)),
        Value::Array(elements, _) => elements.is_empty() || elements.iter().any(anything),
        _ => true,
    }
}

/// One line for each member that could not be read; neighbours with the same reason share one.
fn gaps(value: &Value, path: &str, at: VirtAddr, missing: &mut Vec<String>) {
    match value {
        Value::Unknown(why) => {
            let line = format!("{path} at {at}: {why}");
            let same = missing
                .last()
                .is_some_and(|last| last.ends_with(why.as_str()));
            if !same {
                missing.push(line);
            }
        }
        Value::Struct(members) => members
            .iter()
            .for_each(|(name, value)| gaps(value, &format!("{path}.{name}"), at, missing)),
        Value::Array(elements, _) => elements
            .iter()
            .for_each(|value| gaps(value, path, at, missing)),
        _ => {}
    }
}

#[derive(Debug, Serialize)]
struct Layout {
    name: String,
    kind: &'static str,
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<Enumerator>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct Member {
    /// Empty for anonymous structs and unions, whose members are listed in `members`.
    name: String,
    #[serde(rename = "type")]
    of: String,
    offset: u64,
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bit_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Enumerator {
    name: String,
    value: i64,
}

fn kind(of: TypeRef<'_>) -> &'static str {
    match of.form() {
        Form::Aggregate { is_union: true, .. } => "union",
        Form::Aggregate { .. } => "struct",
        Form::Enum { .. } => "enum",
        _ => "type",
    }
}

fn enumerators(of: TypeRef<'_>) -> Vec<Enumerator> {
    let Form::Enum { values, .. } = of.form() else {
        return Vec::new();
    };
    let one = |(name, value): &(&str, i64)| Enumerator {
        name: (*name).to_owned(),
        value: *value,
    };
    values.iter().map(one).collect()
}

fn members_of(of: TypeRef<'_>) -> Vec<Member> {
    let Form::Aggregate { members, .. } = of.form() else {
        return Vec::new();
    };
    members
        .iter()
        .map(|member| member_json(member.name, member, DEPTH_MAX))
        .collect()
}

fn member_json(name: &str, member: &MemberRef<'_>, depth: u32) -> Member {
    let inner = match member.of.form() {
        Form::Aggregate { members, .. } if depth > 0 && member.of.is_anonymous() => members,
        _ => Vec::new(),
    };
    let within = |inner: &MemberRef<'_>| {
        let bit_offset = member.bit_offset.saturating_add(inner.bit_offset);
        let absolute = MemberRef {
            bit_offset,
            ..*inner
        };
        member_json(inner.name, &absolute, depth.saturating_sub(1))
    };
    Member {
        name: name.to_owned(),
        of: member.of.spelled(),
        offset: u64::from(member.bit_offset / 8),
        size: member.of.size(),
        bit_offset: member.bits.map(|_| member.bit_offset.into()),
        bits: member.bits,
        members: inner.iter().map(within).collect(),
    }
}

impl Reply for Layout {
    const KIND: &'static str = "struct";

    fn text(&self) -> String {
        self.text.clone()
    }
}

#[derive(Debug, Serialize)]
struct Objects {
    name: String,
    objects: Vec<Instance>,
    #[serde(skip)]
    radix: Radix,
    #[serde(skip)]
    by_member: bool,
}

#[derive(Debug, Serialize)]
struct Instance {
    address: Hex,
    value: Json,
}

impl Reply for Objects {
    const KIND: &'static str = "struct";

    fn text(&self) -> String {
        let values = Values { radix: self.radix };
        let one = |object: &Instance| match &object.value.0 {
            Value::Struct(members) if self.by_member => members
                .iter()
                .map(|(path, value)| {
                    let name = path.rsplit('.').next().unwrap_or(path);
                    format!("  {} = {},\n", clean(name), values.text(value, 2))
                })
                .collect(),
            value @ Value::Struct(_) => {
                format!("{} {}\n", clean(&self.name), values.text(value, 0))
            }
            value => format!("{}\n", values.text(value, 0)),
        };
        let shown: Vec<String> = self.objects.iter().map(one).collect();
        shown.join(if self.by_member { "" } else { "\n" })
    }
}

/// A value in JSON: numbers of up to 53 bits as numbers, pointers and wider ones as hexadecimal strings, structs as
/// objects, what could not be read as `{"unknown": why}`.
#[derive(Debug)]
struct Json(Value);

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json(&self.0).serialize(serializer)
    }
}

fn json(value: &Value) -> serde_json::Value {
    use serde_json::{Value as J, json};
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Unsigned(number, _) if *number <= EXACT => json!(number),
        Value::Unsigned(number, _) => json!(Hex(*number)),
        Value::Signed(number, _) if number.unsigned_abs() <= EXACT => json!(number),
        Value::Signed(number, _) => json!(Hex(number.cast_unsigned())),
        Value::Char(byte, true) => json!(byte.cast_signed()),
        Value::Char(byte, false) => json!(byte),
        Value::Bool(truth) => json!(truth),
        Value::Bytes(bytes) => json!(form::wide(bytes)),
        Value::Pointer(pointer) => match &pointer.place {
            Some(place) => {
                json!({"pointer": Hex(pointer.to), "symbol": place.symbol, "offset": place.offset})
            }
            None => json!(Hex(pointer.to)),
        },
        Value::Enum(name, number) => name
            .as_ref()
            .map_or_else(|| json!(number), |name| json!(name)),
        Value::Text(bytes) => text(bytes),
        Value::Struct(members) => J::Object(object(members)),
        Value::Array(elements, _) => J::Array(elements.iter().map(json).collect()),
        Value::Unknown(why) => json!({"unknown": why}),
    }
}

/// Members of anonymous structs are the outer one's own, as C lets one name them.
fn object(members: &[(String, Value)]) -> serde_json::Map<String, serde_json::Value> {
    let mut map = serde_json::Map::new();
    for (name, value) in members {
        match value {
            Value::Struct(inner) if name.is_empty() => map.extend(object(inner)),
            _ => {
                map.insert(name.clone(), json(value));
            }
        }
    }
    map
}

/// Text up to its first NUL where nothing but NULs follows; else the numbers.
fn text(bytes: &[u8]) -> serde_json::Value {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let (head, tail) = bytes.split_at(end);
    match std::str::from_utf8(head) {
        Ok(text) if tail.iter().all(|byte| *byte == 0) => serde_json::json!(text),
        _ => serde_json::json!(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_listed_behind_the_type() {
        assert_eq!(split("page"), ("page", vec![]));
        assert_eq!(
            split("struct page.flags,lru.next"),
            ("struct page", vec!["flags", "lru.next"])
        );
    }

    #[test]
    fn values_in_json_survive_readers_that_keep_53_bits() {
        let check = |value: Value, expected: &str| assert_eq!(json(&value).to_string(), expected);
        check(Value::Unsigned(1 << 53, 8), "9007199254740992");
        check(Value::Unsigned(u64::MAX, 8), "\"0xffffffffffffffff\"");
        check(Value::Signed(-5, 8), "-5");
        check(Value::Text(b"ab\0\0".to_vec()), "\"ab\"");
        check(Value::Text(b"a\0b".to_vec()), "[97,0,98]");
        check(Value::Unknown("why".into()), r#"{"unknown":"why"}"#);
        let inner = Value::Struct(vec![("x".into(), Value::Bool(true))]);
        check(Value::Struct(vec![(String::new(), inner)]), r#"{"x":true}"#);
    }
}
