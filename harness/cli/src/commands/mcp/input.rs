//! What a client may ask: the arguments of each tool, and the JSON Schemas that describe them. Checks types and words;
//! whether a path may be read is `folders`' to say.
use clap::ValueEnum;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bounded;
use crate::commands::explain::{Format, Lang};
use crate::commands::inspect;
use crate::expect::Expect;

/// Longest list of paths or words: more than any command line has.
pub(super) const MAX_LIST: usize = 4096;

/// Arguments of `analyze`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Analyze {
    /// Path of the vmcore: ELF, or what makedumpfile writes. Below the folders of this server; a relative path begins
    /// there.
    pub(super) vmcore: String,
    /// Paths of the other files of a split dump (makedumpfile --split).
    #[serde(default)]
    pub(super) split: Vec<String>,
    /// Path of the kernel's vmlinux with DWARF, for source lines and inlined functions. Not needed otherwise.
    #[serde(default)]
    pub(super) vmlinux: Option<String>,
    /// Bytes of text, and as many of JSON, that the answer may have.
    #[serde(default = "usual")]
    #[schemars(schema_with = "max_bytes")]
    pub(super) max_bytes: Option<u64>,
}

/// Arguments of `inspect`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Inspect {
    /// Path of the vmcore. Below the folders of this server; a relative path begins there.
    pub(super) vmcore: String,
    /// What to ask, in the words of crash(8). sys: the machine and how it died. log: the kernel's messages. bt: stacks.
    /// ps: tasks. mod: modules. slab: caches, or the object that an address lies in. struct: a type's layout, or the
    /// values at an address. sym: symbols. rd: memory. dis: code. usb: devices, URBs. vtop: page tables. search: where
    /// a value lies.
    #[schemars(schema_with = "commands")]
    pub(super) command: String,
    /// The command's options and operands, one string each, as on the command line: ["-a"], or ["task_struct.comm",
    /// "ffff888000200000"]. ["--help"] tells them. Addresses are hexadecimal, a symbol, or a symbol with an offset.
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    /// Paths of the other files of a split dump.
    #[serde(default)]
    pub(super) split: Vec<String>,
    /// Path of the kernel's vmlinux with DWARF, for source lines, and for types where the dump has none.
    #[serde(default)]
    pub(super) vmlinux: Option<String>,
    /// Bytes of text, and as many of JSON, that the answer may have.
    #[serde(default = "usual")]
    #[schemars(schema_with = "max_bytes")]
    pub(super) max_bytes: Option<u64>,
}

/// Arguments of `explain`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    /// Path of a vmcore, of a run's folder, or of a text: a crash session or a kernel log. Below the folders of this
    /// server; a relative path begins there.
    pub(super) path: String,
    /// Paths of the other files of a split dump.
    #[serde(default)]
    pub(super) split: Vec<String>,
    /// Of a text: paths of texts of other crashes of the same kernel build, which lend symbols and instructions.
    #[serde(default)]
    pub(super) like: Vec<String>,
    /// Paths of other crashes to compare with, besides the goldens: vmcores, runs, signatures, texts.
    #[serde(default)]
    pub(super) with: Vec<String>,
    /// Language of the text.
    #[serde(default)]
    #[schemars(schema_with = "one_of::<Lang>")]
    pub(super) lang: Option<String>,
    /// Form of the text; markdown is for an issue or a wiki.
    #[serde(default)]
    #[schemars(schema_with = "one_of::<Format>")]
    pub(super) format: Option<String>,
    /// Path of the kernel's vmlinux with DWARF.
    #[serde(default)]
    pub(super) vmlinux: Option<String>,
    /// Bytes of text, and as many of JSON, that the answer may have.
    #[serde(default = "usual")]
    #[schemars(schema_with = "max_bytes")]
    pub(super) max_bytes: Option<u64>,
}

/// Arguments of `compare`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Compare {
    /// What to compare: path of a vmcore, a run's folder, a signature, or a text (crash session, kernel log); or the name
    /// of a golden. Paths lie below the folders of this server; a relative one begins there.
    pub(super) subject: String,
    /// What to compare it with: the name of a golden (case, name, or case/name; a name may be cut off at a dash), or a
    /// path as for subject. Left out: the golden of the default target.
    #[serde(default)]
    pub(super) golden: Option<String>,
    /// Paths of the other files of a split vmcore.
    #[serde(default)]
    pub(super) split: Vec<String>,
    /// What is expected; the answer says whether it was met. Left out: same-crash.
    #[serde(default)]
    #[schemars(schema_with = "one_of::<Expect>")]
    pub(super) expect: Option<String>,
    /// Show every fact side by side in the text, not only those that differ.
    #[serde(default)]
    pub(super) full: bool,
    /// Path of the kernel's vmlinux with DWARF.
    #[serde(default)]
    pub(super) vmlinux: Option<String>,
    /// Bytes of text, and as many of JSON, that the answer may have.
    #[serde(default = "usual")]
    #[schemars(schema_with = "max_bytes")]
    pub(super) max_bytes: Option<u64>,
}

/// Arguments of `triage`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Triage {
    /// Paths of vmcores, texts, signatures, run folders, or folders of them, which are walked. Below the folders of this
    /// server; a relative path begins there. Left out: all of the folders.
    #[serde(default)]
    pub(super) paths: Vec<String>,
    /// Bytes of text, and as many of JSON, that the answer may have.
    #[serde(default = "usual")]
    #[schemars(schema_with = "max_bytes")]
    pub(super) max_bytes: Option<u64>,
}

/// The schema of a tool's arguments: one object, nothing outside of it.
pub(super) fn schema<T: JsonSchema>() -> Map<String, Value> {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = schema.as_object().cloned().unwrap_or_default();
    // The tool says what it does.
    object.remove("title");
    object.remove("description");
    let properties = object.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|all| all.values_mut()) {
        let Some(property) = property.as_object_mut() else {
            continue;
        };
        // An option that is left out has no value; null is none of its words.
        if property.get("default") == Some(&Value::Null) {
            property.remove("default");
        }
        if let Some(Value::String(text)) = property.get_mut("description") {
            *text = text.replace('\n', " ");
        }
    }
    object
}

/// The arguments of a call.
///
/// # Errors
/// What is wrong with them, and what there is.
pub(super) fn parse<T: DeserializeOwned + JsonSchema>(
    arguments: Map<String, Value>,
) -> Result<T, (String, String)> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        let expected = fields(&schema::<T>()).join(", ");
        (
            format!("the arguments do not fit: {error}"),
            format!("expected {expected}"),
        )
    })
}

/// `vmcore (string, required)` of each property.
fn fields(schema: &Map<String, Value>) -> Vec<String> {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| {
        let mut names = required.into_iter().flatten();
        names.any(|required| required == name)
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let one = |(name, property): (&String, &Value)| {
        let kind = match property.get("type") {
            Some(Value::Array(kinds)) => kinds.first().cloned(),
            kind => kind.cloned(),
        };
        let kind = match kind.as_ref().and_then(Value::as_str).unwrap_or("string") {
            "array" => "list of strings",
            kind => kind,
        };
        let required = if is_required(name) { ", required" } else { "" };
        format!("{name} ({kind}{required})")
    };
    properties.into_iter().flatten().map(one).collect()
}

/// A word of the command line.
///
/// # Errors
/// There is no such word; which there are.
pub(super) fn word<T: ValueEnum>(
    field: &str,
    text: Option<&str>,
    default: T,
) -> Result<T, (String, String)> {
    let Some(text) = text else {
        return Ok(default);
    };
    let wrong = |_| {
        let text: String = text.chars().take(64).collect();
        (
            format!("{field}: there is no {text:?}"),
            format!("one of: {}", words::<T>().join(", ")),
        )
    };
    T::from_str(text, false).map_err(wrong)
}

fn words<T: ValueEnum>() -> Vec<String> {
    let all = T::value_variants().iter();
    all.filter_map(|value| Some(value.to_possible_value()?.get_name().to_owned()))
        .collect()
}

fn one_of<T: ValueEnum>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": words::<T>() })
}

fn commands(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": inspect::names() })
}

fn usual() -> Option<u64> {
    u64::try_from(bounded::USUAL).ok()
}

fn max_bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "minimum": bounded::LEAST,
        "maximum": bounded::MOST,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(arguments: &Value, wrong: &str, next: &str) {
        let arguments = arguments.as_object().cloned().unwrap();
        let (why, hint) = parse::<Inspect>(arguments).unwrap_err();
        assert!(why.contains(wrong), "{why}");
        assert!(hint.contains(next), "{hint}");
    }

    #[test]
    fn wrong_arguments_are_told_with_those_there_are() {
        check(
            &json!({}),
            "missing field `vmcore`",
            "vmcore (string, required)",
        );
        check(
            &json!({ "vmcore": 5 }),
            "invalid type: integer `5`",
            "vmcore",
        );
        check(
            &json!({ "vmcore": "a", "command": "bt", "arguments": "-a" }),
            "expected a sequence",
            "arguments (list of strings)",
        );
        check(
            &json!({ "vmcore": "a", "command": "bt", "output": "/tmp/x" }),
            "unknown field `output`",
            "max_bytes (integer)",
        );
    }

    #[test]
    fn an_unknown_word_is_told_with_those_there_are() {
        let (why, hint) = word("expect", Some("same"), Expect::SameCrash).unwrap_err();
        assert_eq!(why, "expect: there is no \"same\"");
        assert!(hint.contains("same-crash, same-bug"), "{hint}");
        let known = word("expect", Some("same-bug"), Expect::SameCrash);
        assert_eq!(known, Ok(Expect::SameBug));
    }
}
