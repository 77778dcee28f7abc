//! Compares an object member by member: what drgn read, and what `recrash inspect struct --json` printed.
use serde_json::Value;

/// How many differences are named.
const NAMED: usize = 8;

/// What came out for one object.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Scalars that are equal.
    pub(crate) equal: usize,
    /// `member: theirs, ours`.
    pub(crate) differ: Vec<String>,
}

impl Compared {
    fn differs(&mut self, path: &str, theirs: &Value, ours: &Value) {
        if self.differ.len() < NAMED {
            let text = format!("{path}: {theirs} there, {ours} here");
            self.differ.push(text.chars().take(200).collect());
        }
    }
}

/// Walks both along drgn's members.
pub(crate) fn compare(path: &str, theirs: &Value, ours: &Value, out: &mut Compared) {
    match theirs {
        Value::Object(members) if is_enumerator(members) => {
            let by_name = ours.as_str().is_some_and(|name| is_named(members, name));
            match by_name {
                true => out.equal += 1,
                false => compare(path, &members["value"], ours, out),
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let at = format!("{path}.{name}");
                match member_of(ours, name) {
                    Some(own) => compare(&at, member, own, out),
                    None if is_empty(member) => {}
                    None => out.differs(&at, member, &Value::Null),
                }
            }
        }
        Value::Array(elements) => match ours {
            Value::Array(own) if own.len() == elements.len() => {
                for (index, (element, own)) in elements.iter().zip(own).enumerate() {
                    compare(&format!("{path}[{index}]"), element, own, out);
                }
            }
            Value::String(text) if same_text(elements, text) => out.equal += 1,
            // A flexible array has no size; crash, and so recrash, shows where it begins.
            _ if elements.is_empty() => {}
            _ => out.differs(path, theirs, ours),
        },
        scalar => match (number(scalar), number(ours)) {
            (Some(a), Some(b)) if same_number(a, b) => out.equal += 1,
            _ => out.differs(path, theirs, ours),
        },
    }
}

/// `{"value": 1, "names": ["TT_NATIVE"]}`, as the script writes an enum.
fn is_enumerator(members: &serde_json::Map<String, Value>) -> bool {
    members.len() == 2 && members.contains_key("value") && members.contains_key("names")
}

fn is_named(members: &serde_json::Map<String, Value>, name: &str) -> bool {
    let names = members["names"].as_array();
    names.is_some_and(|names| names.iter().any(|known| known == name))
}

/// A member by its name, also inside members that have none.
fn member_of<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let members = object.as_object()?;
    if let Some(found) = members.get(name) {
        return Some(found);
    }
    let anonymous = members
        .iter()
        .filter(|(name, _)| name.is_empty() || name.starts_with('<') || name.starts_with("anon"));
    for (_, value) in anonymous {
        let within: Vec<&Value> = match value {
            Value::Array(all) => all.iter().collect(),
            one => vec![one],
        };
        if let Some(found) = within.into_iter().find_map(|value| member_of(value, name)) {
            return Some(found);
        }
    }
    None
}

/// Members of no size: empty structs and flexible arrays.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

/// A char array is a string up to its NUL.
fn same_text(chars: &[Value], text: &str) -> bool {
    let bytes: Option<Vec<u8>> = chars
        .iter()
        .map(|char| char.as_i64().map(|byte| (byte & 0xff) as u8))
        .take_while(|byte| *byte != Some(0))
        .collect();
    bytes.is_some_and(|bytes| String::from_utf8_lossy(&bytes) == text)
}

/// Integers, booleans, hexadecimal strings, and objects that hold such with something beside it: a pointer with its
/// symbol, an enumerator with its name.
fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => {
            let signed = number.as_i64().map(i128::from);
            signed.or_else(|| number.as_u64().map(i128::from))
        }
        Value::Bool(set) => Some(i128::from(*set)),
        Value::String(text) => {
            let digits = text.strip_prefix("0x")?;
            i128::from_str_radix(digits, 16).ok()
        }
        Value::Object(members) => ["pointer", "value", "number"]
            .iter()
            .find_map(|key| members.get(*key).and_then(number)),
        _ => None,
    }
}

/// Equal, or the same 64 bits (of numbers that have no more) read with and without a sign.
fn same_number(a: i128, b: i128) -> bool {
    let fits = |number: i128| i64::try_from(number).is_ok() || u64::try_from(number).is_ok();
    a == b || (fits(a) && fits(b) && a as u64 == b as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(theirs: Value, ours: Value, equal: usize, differ: usize) {
        let mut out = Compared::default();
        compare("o", &theirs, &ours, &mut out);
        assert_eq!((out.equal, out.differ.len()), (equal, differ), "{out:?}");
    }

    #[test]
    fn numbers_pointers_and_texts_are_equal_however_they_are_spelled() {
        check(
            json!({"a": 16, "p": u64::MAX}),
            json!({"a": 16, "p": "0xffffffffffffffff"}),
            2,
            0,
        );
        check(
            json!({"p": 255}),
            json!({"p": {"pointer": "0xff", "symbol": "s", "offset": 0}}),
            1,
            0,
        );
        check(
            json!({"comm": [105, 110, 105, 116, 0, 7]}),
            json!({"comm": "init"}),
            1,
            0,
        );
        check(json!([true, -1]), json!([1, -1]), 2, 0);
        let wide = json!("0x46a000ffff891c5ee81d00");
        check(wide.clone(), wide, 1, 0);
    }

    #[test]
    fn a_missing_member_and_another_value_are_differences() {
        check(json!({"a": 1, "b": 2}), json!({"a": 1}), 1, 1);
        check(json!({"a": 1}), json!({"a": 2}), 0, 1);
        check(json!([1, 2]), json!([1]), 0, 1);
        check(json!({"comm": [105, 0]}), json!({"comm": "j"}), 0, 1);
    }

    #[test]
    fn an_enumerator_may_be_named_or_numbered() {
        let theirs = json!({"state": {"value": 1, "names": ["COMING"]}});
        check(theirs.clone(), json!({"state": "COMING"}), 1, 0);
        check(theirs.clone(), json!({"state": 1}), 1, 0);
        check(theirs.clone(), json!({"state": "LIVE"}), 0, 1);
        check(theirs, json!({"state": 0}), 0, 1);
    }

    #[test]
    fn a_member_of_no_size_may_be_left_out() {
        check(json!({"key": {}, "flex": []}), json!({}), 0, 0);
    }
}
