//! The JSON Schema (draft 2020-12) of a signature, generated from the types. The derives make most of it; what is
//! written by hand in the model, a fact's two forms and the types that are written as text, is described here.

use crate::Signature;
use crate::model::{Bytes, DescriptorType, Fact, Frame, Source, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The schema as text, ending in a newline.
///
/// # Errors
/// Never in practice: the schema is made of strings and small numbers.
pub fn text() -> Result<String, serde_json::Error> {
    let schema = schemars::schema_for!(Signature);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

impl<T: JsonSchema> JsonSchema for Fact<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Fact_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        let source = generator.subschema_for::<Source>();
        json_schema!({
            "oneOf": [
                {
                    "description": "a known fact, and where it was read",
                    "type": "object",
                    "properties": { "value": value, "source": source },
                    "required": ["value", "source"],
                    "additionalProperties": false,
                },
                {
                    "description": "an absent fact, and why it is absent",
                    "type": "object",
                    "properties": { "absent": { "type": "string" } },
                    "required": ["absent"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// A type that is written as text of a form of its own.
macro_rules! written_as_text {
    ($type:ty, $name:literal, $pattern:literal, $description:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

written_as_text!(
    Frame,
    "Frame",
    r"^[^ \[\]\n]+( \[[^ \[\]\n]+\])?( \(inlined\))?$",
    "a function, its module in brackets, and whether it was inlined: `usb_hcd_submit_urb [usbcore]`"
);
written_as_text!(
    Span,
    "Span",
    r"^[0-9]{1,3}\.\.[0-9]{1,3}$",
    "bytes from the first up to, without, the last: `0..8`"
);
written_as_text!(
    Bytes,
    "Bytes",
    r"^([0-9a-fA-F]{2}( [0-9a-fA-F]{2})*)?$",
    "bytes in memory order: `38 03 56 00`"
);
written_as_text!(
    DescriptorType,
    "DescriptorType",
    r"^[a-z0-9-]+$",
    "bDescriptorType by name, or `type-0x2b`"
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    /// The keywords that the generated schema uses; another one fails the test instead of being passed over.
    fn fits(schema: &Value, root: &Value, value: &Value) -> Result<(), String> {
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        for (keyword, rule) in schema {
            keyword_fits(keyword, rule, schema, root, value)?;
        }
        Ok(())
    }

    fn keyword_fits(
        keyword: &str,
        rule: &Value,
        schema: &Map<String, Value>,
        root: &Value,
        value: &Value,
    ) -> Result<(), String> {
        let no = || Err(format!("{value} against {keyword} {rule}"));
        let fine = match keyword {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            "$ref" => {
                let at = rule.as_str().unwrap().trim_start_matches('#');
                return fits(root.pointer(at).unwrap(), root, value);
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                rule.as_array()
                    .map_or_else(|| is(rule), |all| all.iter().any(is))
            }
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "oneOf" | "anyOf" => {
                let options = rule.as_array().unwrap();
                let fitting = options
                    .iter()
                    .filter(|o| fits(o, root, value).is_ok())
                    .count();
                fitting == 1 || (keyword == "anyOf" && fitting > 1)
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    fits(rule, root, item)?;
                }
                true
            }
            "required" => {
                let keys = rule.as_array().unwrap().iter();
                let mut keys = keys.map(|key| key.as_str().unwrap());
                value
                    .as_object()
                    .is_none_or(|o| keys.all(|key| o.contains_key(key)))
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        fits(rule, root, value)?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, &json!(false));
                let known = schema.get("properties").and_then(Value::as_object);
                let mut keys = value.as_object().into_iter().flat_map(|o| o.keys());
                keys.all(|key| known.is_some_and(|known| known.contains_key(key)))
            }
            other => panic!("keyword {other} is not checked"),
        };
        if fine { Ok(()) } else { no() }
    }

    fn schema() -> Value {
        serde_json::from_str(&text().unwrap()).unwrap()
    }

    fn goldens() -> Vec<Value> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden");
        let files = crate::store::list(std::path::Path::new(root)).unwrap();
        let read = |file: &std::path::PathBuf| {
            let text = crate::store::read_snapshot(file).unwrap().body;
            let table: toml::Table = toml::from_str(&text).unwrap();
            serde_json::to_value(table).unwrap()
        };
        files.iter().map(read).collect()
    }

    #[test]
    fn the_committed_schema_is_the_one_that_the_types_give() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../golden/signature.schema.json"
        );
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == text().unwrap(),
            "write it anew: recrash golden schema > golden/signature.schema.json"
        );
    }

    #[test]
    fn every_golden_fits_the_schema() {
        let schema = schema();
        let goldens = goldens();
        assert!(!goldens.is_empty());
        for golden in goldens {
            fits(&schema, &schema, &golden).unwrap();
        }
    }

    #[test]
    fn what_the_model_refuses_does_not_fit_the_schema_either() {
        let schema = schema();
        let golden = goldens().remove(0);
        for (pointer, wrong) in [
            ("/schema", json!(1)),
            ("/fault/vector", json!({ "value": 300, "source": "vmcore" })),
            ("/fault/vector", json!({ "value": 3 })),
            (
                "/fault/class",
                json!({ "value": "odd", "source": "vmcore" }),
            ),
            (
                "/fault/class",
                json!({ "absent": "x", "value": "bug", "source": "vmcore" }),
            ),
            (
                "/corruption/bytes",
                json!({ "value": "0-8", "source": "vmcore" }),
            ),
            (
                "/corruption/observed",
                json!({ "value": "3803", "source": "vmcore" }),
            ),
            (
                "/frames/chain",
                json!({ "value": ["a b"], "source": "vmcore" }),
            ),
            (
                "/corruption/site",
                json!({ "value": { "kind": "hearsay" }, "source": "vmcore" }),
            ),
            ("/fault", json!({})),
        ] {
            let mut changed = golden.clone();
            *changed.pointer_mut(pointer).unwrap() = wrong.clone();
            assert!(
                fits(&schema, &schema, &changed).is_err(),
                "{pointer} {wrong}"
            );
            let text = toml::to_string(&toml::Table::try_from(&changed).unwrap()).unwrap();
            assert!(Signature::from_toml(&text).is_err(), "{pointer} {wrong}");
        }
    }
}
