//! The dumps of one death: which there are, and whether two of them have the same signature. They are of the same
//! memory, so a difference is the capture's own, and the run says nothing about the kernel. Analyses no dump.
use recrash_machine::run::{CaptureNote, DumpNote, Writer};
use recrash_signature::Signature;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

use crate::output::{self, BAD, DIM, GOOD};
use crate::report::text;

/// Longest value that the report shows.
const MAX_VALUE: usize = 120;

/// How a run was captured, and what came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Captures {
    /// As in the manifest: mode, forms, dumps, whether the signatures are equal.
    #[serde(flatten)]
    pub(crate) note: CaptureNote,
    /// Where the signature of QEMU's dump is, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qemu_signature: Option<PathBuf>,
    /// Every value in which the two signatures differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<Divergence>,
}

/// A value in which two signatures of one death differ; null where one of them has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Divergence {
    /// For example `slab.cache.value`.
    pub(crate) field: String,
    /// In the capture kernel's vmcore.
    pub(crate) kdump: Value,
    /// In QEMU's dump.
    pub(crate) qemu: Value,
}

impl Captures {
    /// Takes the result of the comparison.
    pub(crate) fn compared(&mut self, differences: Vec<Divergence>) {
        self.note.equal = Some(differences.is_empty());
        self.differences = differences;
    }

    /// Why the run says nothing; `None` where its dumps agree.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let first = self.differences.first()?;
        Some(format!(
            "the two dumps of this death contradict each other in {} ({} in all): by kdump {}, by qemu {}",
            first.field,
            self.differences.len(),
            short(&first.kdump),
            short(&first.qemu)
        ))
    }

    /// The section of the report; empty where there is no dump.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        if self.note.dumps.is_empty() {
            return out;
        }
        text::heading(&mut out, "Capture");
        for dump in &self.note.dumps {
            let _ = writeln!(out, "  {:<14} {}", dump.file, form(dump));
        }
        match self.note.equal {
            Some(true) => {
                let _ = writeln!(out, "  {:<14} {GOOD}the same in both{GOOD:#}", "signature");
            }
            Some(false) => {
                let _ = writeln!(out, "  {:<14} {BAD}not the same{BAD:#}", "signature");
                for difference in &self.differences {
                    let _ = writeln!(out, "    {}", difference.field);
                    let _ = writeln!(out, "      {DIM}kdump{DIM:#}  {}", short(&difference.kdump));
                    let _ = writeln!(out, "      {DIM}qemu{DIM:#}   {}", short(&difference.qemu));
                }
            }
            None => {}
        }
        out
    }
}

/// `22.8 MiB by makedumpfile, lzo, level 31`.
pub(crate) fn form(dump: &DumpNote) -> String {
    let by = match dump.by {
        Writer::Qemu => "QEMU",
        Writer::Makedumpfile => "makedumpfile",
        Writer::ElfCopy => "the capture kernel's init",
    };
    let level = dump.level.map(|level| format!(", level {level}"));
    let level = level.unwrap_or_default();
    let compression = match dump.compression.name() {
        "none" => "not compressed",
        name => name,
    };
    format!("{} by {by}, {compression}{level}", output::size(dump.bytes))
}

/// Every value in which the two differ, by its path.
///
/// # Errors
/// A signature cannot be written as JSON.
pub(crate) fn differences(
    kdump: &Signature,
    qemu: &Signature,
) -> serde_json::Result<Vec<Divergence>> {
    let mut out = Vec::new();
    walk(
        "",
        &serde_json::to_value(kdump)?,
        &serde_json::to_value(qemu)?,
        &mut out,
    );
    Ok(out)
}

fn walk(path: &str, kdump: &Value, qemu: &Value, out: &mut Vec<Divergence>) {
    if kdump == qemu {
        return;
    }
    let (Value::Object(left), Value::Object(right)) = (kdump, qemu) else {
        out.push(Divergence {
            field: path.to_owned(),
            kdump: kdump.clone(),
            qemu: qemu.clone(),
        });
        return;
    };
    let absent = Value::Null;
    let only_right = right.keys().filter(|name| !left.contains_key(*name));
    for name in left.keys().chain(only_right) {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let of = |side: &serde_json::Map<String, Value>| side.get(name).unwrap_or(&absent).clone();
        walk(&path, &of(left), &of(right), out);
    }
}

/// One line of a value.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = output::printable(&text.replace('\n', " "));
    match line.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_machine::capture::CaptureMode;
    use serde_json::json;

    const GOLDEN: &str =
        include_str!("../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap");

    fn signature(change: impl Fn(&str) -> String) -> Signature {
        Signature::from_toml(&change(GOLDEN.split("---\n").nth(2).unwrap())).unwrap()
    }

    fn check(from: &str, to: &str, expected: &[(&str, Value, Value)]) {
        let found = differences(
            &signature(str::to_owned),
            &signature(|text| text.replace(from, to)),
        );
        let expected: Vec<Divergence> = expected
            .iter()
            .map(|(field, kdump, qemu)| Divergence {
                field: (*field).into(),
                kdump: kdump.clone(),
                qemu: qemu.clone(),
            })
            .collect();
        assert_eq!(found.unwrap(), expected, "{from} -> {to}");
    }

    #[test]
    fn a_signature_agrees_with_itself() {
        check("", "", &[]);
    }

    #[test]
    fn a_value_that_differs_is_named_with_both() {
        check(
            "offset = { value = 171,",
            "offset = { value = 172,",
            &[("fault.offset.value", json!(171), json!(172))],
        );
    }

    #[test]
    fn a_fact_that_only_one_dump_gives_is_a_difference() {
        check(
            "syscall = { value = \"ioctl\", source = \"transcript\" }",
            "syscall = { absent = \"the stack is cut\" }",
            &[
                ("frames.syscall.source", json!("transcript"), Value::Null),
                ("frames.syscall.value", json!("ioctl"), Value::Null),
                (
                    "frames.syscall.absent",
                    Value::Null,
                    json!("the stack is cut"),
                ),
            ],
        );
    }

    #[test]
    fn dumps_that_contradict_each_other_are_told_with_what_differs() {
        let mut captures = Captures {
            note: CaptureNote {
                mode: CaptureMode::Both,
                ..CaptureNote::default()
            },
            ..Captures::default()
        };
        captures.compared(Vec::new());
        assert_eq!(captures.contradiction(), None);
        captures.compared(vec![Divergence {
            field: "context.cpu.value".into(),
            kdump: json!(1),
            qemu: json!(0),
        }]);
        assert_eq!(captures.note.equal, Some(false));
        assert_eq!(
            captures.contradiction().unwrap(),
            "the two dumps of this death contradict each other in context.cpu.value (1 in all): by kdump 1, by qemu 0"
        );
    }
}
