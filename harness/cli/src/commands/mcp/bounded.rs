//! Makes an answer fit: text is cut at a line, JSON stays JSON with shorter lists and strings, and both say what is left
//! out. Knows nothing of what they tell.
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Bytes of text, and as many of JSON, unless the client asks for another bound.
pub(super) const USUAL: usize = 48 << 10;
/// The least that can be asked for.
pub(super) const LEAST: usize = 1 << 10;
/// The most that can be asked for.
pub(super) const MOST: usize = 4 << 20;
/// Places that are named where lists or strings were cut; more are counted.
const NAMED: usize = 20;

/// The bound for an answer where a client asks for one, or does not.
pub(super) fn limit(asked: Option<u64>) -> usize {
    asked.map_or(USUAL, |bytes| {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        bytes.clamp(LEAST, MOST)
    })
}

/// Text of at most `limit` bytes, and whether something was left out.
pub(super) fn text(mut text: String, limit: usize) -> (String, bool) {
    if text.len() <= limit {
        return (text, false);
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = text.get(..end).unwrap_or_default();
    let line = head.rfind('\n').map_or(end, |at| at + 1);
    // One enormous line is cut within.
    let end = if line * 2 < end { end } else { line };
    let left = text.len() - end;
    text.truncate(end);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("… {left} more bytes left out\n"));
    (text, true)
}

/// JSON of at most `limit` bytes, and whether something was left out. An object gets `shortened` then: where, and how
/// much of it is there.
pub(super) fn json(mut value: Value, limit: usize) -> (Value, bool) {
    if size(&value) <= limit {
        return (value, false);
    }
    let mut cuts = BTreeMap::new();
    let mut most = 1024;
    // Room for the list of cuts.
    let room = limit - limit / 4;
    while size(&value) > room && most > 0 {
        let mut at = String::new();
        cut(&mut value, most, &mut at, &mut cuts);
        most /= 2;
    }
    if size(&value) > room {
        return (json!({ "shortened": "nothing of it fits" }), true);
    }
    let named: Vec<Value> = cuts
        .iter()
        .take(NAMED)
        .map(|(at, cut)| json!({ "at": at, "kept": cut.kept, "of": cut.of }))
        .collect();
    let more = cuts.len().saturating_sub(NAMED);
    if let Value::Object(object) = &mut value {
        object.insert("shortened".into(), named.into());
        if more > 0 {
            object.insert("shortened_elsewhere".into(), more.into());
        }
    }
    if size(&value) > limit {
        return (json!({ "shortened": "nothing of it fits" }), true);
    }
    (value, true)
}

/// How much of a list (elements) or string (bytes) is there.
struct Cut {
    kept: usize,
    of: usize,
}

/// Leaves `most` elements of each list and 64 times as many bytes of each string. `at` is a JSON pointer.
fn cut(value: &mut Value, most: usize, at: &mut String, cuts: &mut BTreeMap<String, Cut>) {
    let length = at.len();
    let mut note = |at: &str, kept: usize, of: usize| {
        let cut = cuts.entry(at.to_owned()).or_insert(Cut { kept, of });
        cut.kept = kept;
    };
    match value {
        Value::String(text) => {
            let mut end = most.saturating_mul(64);
            if text.len() > end {
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                note(at, end, text.len());
                text.truncate(end);
            }
        }
        Value::Array(list) => {
            if list.len() > most {
                note(at, most, list.len());
                list.truncate(most);
            }
            for (index, element) in list.iter_mut().enumerate() {
                at.push_str(&format!("/{index}"));
                cut(element, most, at, cuts);
                at.truncate(length);
            }
        }
        Value::Object(object) => {
            for (key, element) in object.iter_mut() {
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                cut(element, most, at, cuts);
                at.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn size(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_cut_at_a_line_and_says_how_much_is_left_out() {
        let check = |whole: &str, limit: usize, expected: &str| {
            assert_eq!(text(whole.into(), limit).0, expected);
        };
        check("one\ntwo\n", 8, "one\ntwo\n");
        check(
            "one\ntwo\nthree\n",
            9,
            "one\ntwo\n… 6 more bytes left out\n",
        );
        check("ααααα", 5, "αα\n… 6 more bytes left out\n");
    }

    #[test]
    fn the_longest_lists_are_cut_and_named() {
        let long: Vec<u32> = (0..5000).collect();
        let (short, cut) = json(
            json!({ "type": "ps", "tasks": long, "few": [1, 2, 3] }),
            2048,
        );
        assert!(cut);
        assert_eq!(short["few"], json!([1, 2, 3]));
        let kept = short["tasks"].as_array().unwrap().len();
        assert!(kept >= 128, "{kept}");
        assert_eq!(
            short["shortened"],
            json!([{ "at": "/tasks", "kept": kept, "of": 5000 }])
        );
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let whole = json!({ "a": ["b"] });
        assert_eq!(json(whole.clone(), 1024), (whole, false));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Value::from),
            ".{0,400}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 200, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::btree_map(".{0,40}", inner, 0..8)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn an_answer_never_exceeds_its_bound(value in any_json(), words in ".{0,4000}", limit in LEAST..8192usize) {
            prop_assert!(size(&json(value, limit).0) <= limit);
            prop_assert!(text(words, limit).0.len() <= limit + 64);
        }
    }
}
