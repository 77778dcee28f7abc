//! A signature as TOML text: sorted keys, one fact a line, so that a diff shows facts.
//!
//! The `toml` crate reads it; writing is ours, because its writer gives every fact a table of its own.

use super::{SCHEMA, Signature};
use std::fmt::Write as _;
use toml::Value;

/// Why a signature could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The text is of another version of the model.
    #[error("schema {found} is not supported: this version of recrash reads schema {SCHEMA}")]
    Schema {
        /// The version found.
        found: i64,
    },
    /// No `schema = N` at the top.
    #[error("no `schema` number at the top: this is not a signature")]
    NoSchema,
    /// Not TOML, or not the model.
    #[error("line {line}: {message}")]
    Invalid {
        /// 1 is the first line of the text.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The signature holds what TOML cannot.
    #[error("cannot be written as TOML: {0}")]
    Write(#[from] toml::ser::Error),
}

impl Signature {
    /// Reads the text that [`Signature::to_toml`] writes.
    ///
    /// # Errors
    /// Another schema version, unknown or missing keys, or text that is not TOML; with the line.
    pub fn from_toml(text: &str) -> Result<Self, TextError> {
        let invalid = |error: toml::de::Error| TextError::Invalid {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            message: error.message().to_owned(),
        };
        // The version first: keys of another version would only give a misleading error.
        let table: toml::Table = toml::from_str(text).map_err(invalid)?;
        match table.get("schema").and_then(Value::as_integer) {
            Some(found) if found == i64::from(SCHEMA) => {}
            Some(found) => return Err(TextError::Schema { found }),
            None => return Err(TextError::NoSchema),
        }
        toml::from_str(text).map_err(invalid)
    }

    /// The signature as TOML, ending in a newline.
    ///
    /// # Errors
    /// Only if a number is out of TOML's range, which the model's types exclude.
    pub fn to_toml(&self) -> Result<String, TextError> {
        let table = toml::Table::try_from(self)?;
        let mut out = String::new();
        for (key, value) in sorted(&table).filter(|(_, value)| !value.is_table()) {
            write_line(&mut out, key, value);
        }
        for (group, facts) in sorted(&table) {
            let Value::Table(facts) = facts else { continue };
            let _ = writeln!(out, "\n[{group}]");
            for (key, value) in sorted(facts) {
                write_line(&mut out, key, value);
            }
        }
        Ok(out)
    }
}

/// By key. The table itself keeps that order only as long as no crate of the build turns on
/// `toml/preserve_order`.
fn sorted(table: &toml::Table) -> impl Iterator<Item = (&String, &Value)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs.into_iter()
}

fn write_line(out: &mut String, key: &str, value: &Value) {
    let _ = write!(out, "{key} = ");
    write_value(out, value);
    out.push('\n');
}

/// Inline, except that the items of a list of strings stand one a line (TOML allows it within an
/// inline table): frames and proofs change one at a time.
fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::Array(items) if items.iter().any(Value::is_str) => {
            out.push_str("[\n");
            for item in items {
                out.push_str("    ");
                write_value(out, item);
                out.push_str(",\n");
            }
            out.push(']');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Table(table) => {
            // What a fact says comes first, where it was read last.
            let mut keys: Vec<_> = sorted(table).collect();
            keys.sort_by_key(|(key, _)| match key.as_str() {
                "kind" | "value" => 0,
                "source" => 2,
                _ => 1,
            });
            out.push_str("{ ");
            for (i, (key, value)) in keys.into_iter().enumerate() {
                let gap = if i == 0 { "" } else { ", " };
                let _ = write!(out, "{gap}{key} = ");
                write_value(out, value);
            }
            out.push_str(" }");
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// A basic string on one line (TOML 1.0, "String").
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}
