//! What a call comes to for the client: text without styles, and an object, both within bounds; errors with what to do
//! next. Carries out nothing.
use serde_json::{Value, json};

use super::bounded;
use crate::failure::Failure;

/// What a call gives, whole.
#[derive(Debug)]
pub(super) struct Answer {
    /// May have styles.
    pub(super) text: String,
    /// The object that `--json` prints.
    pub(super) value: Value,
    /// What failed beside what is there.
    pub(super) failure: Option<Failure>,
    /// As it was asked for.
    pub(super) max_bytes: Option<u64>,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// Without styles, bounded.
    pub(super) text: String,
    /// The object that `--json` prints, bounded; of an error what is wrong and what to do next.
    pub(super) value: Value,
    /// The call failed.
    pub(super) is_error: bool,
}

impl Reply {
    /// What there is, shortened where it has to be, and what failed besides.
    pub(super) fn of(answer: Answer) -> Self {
        let limit = bounded::limit(answer.max_bytes);
        let text = anstream::adapter::strip_str(&answer.text).to_string();
        let (mut text, text_cut) = bounded::text(text, limit);
        let (mut value, value_cut) = bounded::json(answer.value, limit);
        if text_cut || value_cut {
            text.push_str(&format!(
                "The answer was shortened to max_bytes = {limit}: ask for less, or for up to {}.\n",
                bounded::MOST
            ));
        }
        if let Some(failure) = &answer.failure {
            let why = anstream::adapter::strip_str(&failure.text()).to_string();
            text = format!("{why}\n{text}");
            if let Value::Object(object) = &mut value {
                object.insert("failure".into(), error_value(failure));
            }
        }
        Self {
            text,
            value,
            is_error: answer.failure.is_some(),
        }
    }

    /// An error.
    pub(super) fn error(failure: &Failure) -> Self {
        let text = anstream::adapter::strip_str(&failure.text()).to_string();
        Self {
            text: bounded::text(text, bounded::USUAL).0,
            value: bounded::json(error_value(failure), bounded::USUAL).0,
            is_error: true,
        }
    }
}

fn error_value(failure: &Failure) -> Value {
    json!({
        "type": "error",
        "error": failure.chain(),
        "next": failure.next(),
        "exit": failure.exit() as u8,
    })
}
