//! What drgn and crash said of the crashes that `recrash run` makes, kept as text without addresses, for machines that
//! have no peer. `drgn_expected.py` writes it. Runs nothing itself.
use serde_json::Value;
use std::collections::BTreeMap;

/// By the kernel that crashed.
const TEXTS: [(&str, &str); 2] = [
    ("debian-6.1", include_str!("expected/debian-6.1.txt")),
    ("el8-layout", include_str!("expected/el8-layout.txt")),
];

/// The stored text, by kind of line.
pub(crate) struct Expected {
    /// The kernel it was said of.
    release: &'static str,
    /// Frames: function and offset.
    frames: Vec<(&'static str, u64)>,
    /// Registers that are the same in every boot.
    registers: Vec<(&'static str, u64)>,
    /// Sizes of types and offsets of members, `type` or `type.member`.
    layouts: Vec<(&'static str, u64)>,
    /// Values of members, `type.member`.
    values: Vec<(&'static str, &'static str)>,
}

/// Asks recrash about the dump: `inspect DUMP <these words>`, and the object that it prints.
pub(crate) type Ask<'a> = &'a dyn Fn(&[&str]) -> Value;

impl Expected {
    /// `kernel` names one of the texts.
    pub(crate) fn read(kernel: &str) -> Self {
        let text = TEXTS.iter().find(|(name, _)| *name == kernel);
        let (_, text) = text.unwrap_or_else(|| panic!("nothing is kept of {kernel}"));
        let mut out = Self {
            release: "",
            frames: Vec::new(),
            registers: Vec::new(),
            layouts: Vec::new(),
            values: Vec::new(),
        };
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
            match kind {
                "#" => {}
                "release" => out.release = name,
                "frame" => {
                    let (function, offset) = name.rsplit_once('+').unwrap_or((name, "0"));
                    out.frames.push((function, integer(offset)));
                }
                "register" => out.registers.push((name, integer(value))),
                "sizeof" | "offsetof" => out.layouts.push((name, integer(value))),
                "value" => out.values.push((name, value)),
                _ => panic!("{line:?} is of no known kind"),
            }
        }
        out
    }

    /// All that differs. `release` is of the kernel that crashed: another one has other offsets and layouts, of which
    /// then only the names of the functions are compared.
    pub(crate) fn differences(
        &self,
        release: &str,
        registers: &BTreeMap<String, u64>,
        ask: Ask<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let same_kernel = release == self.release;
        let trace = ask(&["bt"])["tasks"][0].take();
        self.compare_frames(&trace, same_kernel, &mut out);
        if same_kernel {
            for (name, value) in &self.registers {
                differs(&mut out, name, value, &registers.get(*name).copied());
            }
            self.compare_layouts(ask, &mut out);
        } else {
            println!(
                "{release} crashed, the peers spoke of {}: only functions and values are compared",
                self.release
            );
        }
        self.compare_values(&trace, ask, &mut out);
        out
    }

    fn compare_frames(&self, trace: &Value, offsets_too: bool, out: &mut Vec<String>) {
        let empty = Vec::new();
        let frames = trace["frames"].as_array().unwrap_or(&empty);
        for index in 0..self.frames.len().max(frames.len()) {
            let theirs = self.frames.get(index).copied();
            let ours = frames
                .get(index)
                .and_then(|frame| Some((frame["symbol"].as_str()?, frame["offset"].as_u64()?)));
            let kept = |(name, offset)| (name, if offsets_too { offset } else { 0 });
            let (theirs, ours) = (theirs.map(kept), ours.map(kept));
            if theirs != ours {
                out.push(format!("frame {index}: {theirs:x?} there, {ours:x?} here"));
            }
        }
    }

    fn compare_layouts(&self, ask: Ask<'_>, out: &mut Vec<String>) {
        let mut types: BTreeMap<&str, Value> = BTreeMap::new();
        for (path, expected) in &self.layouts {
            let (name, member) = path.split_once('.').unwrap_or((path, ""));
            let layout = types.entry(name).or_insert_with(|| ask(&["struct", name]));
            let ours = match member {
                "" => layout["size"].as_u64(),
                member => offset_of(layout, member),
            };
            differs(out, path, expected, &ours);
        }
    }

    fn compare_values(&self, trace: &Value, ask: Ask<'_>, out: &mut Vec<String>) {
        let mut objects: BTreeMap<&str, Value> = BTreeMap::new();
        for (path, expected) in &self.values {
            let (name, member) = path.split_once('.').unwrap_or((path, ""));
            let object = objects.entry(name).or_insert_with(|| {
                let at = match name {
                    "task_struct" => trace["task"].clone(),
                    _ => ask(&["slab", "kmalloc-256"])["cache"].take(),
                };
                ask(&["struct", name, at.as_str().unwrap_or("0")])["objects"][0]["value"].take()
            });
            let ours = member
                .split('.')
                .try_fold(&*object, |value, member| value.get(member));
            if !ours.is_some_and(|ours| same_value(expected, ours)) {
                out.push(format!("{path}: {expected} there, {ours:?} here"));
            }
        }
    }
}

fn differs(out: &mut Vec<String>, what: &str, theirs: &u64, ours: &Option<u64>) {
    if Some(*theirs) != *ours {
        out.push(format!("{what}: {theirs:#x} there, {ours:x?} here"));
    }
}

/// Of a member by its name, also inside members that have none.
fn offset_of(layout: &Value, member: &str) -> Option<u64> {
    layout["members"].as_array()?.iter().find_map(|row| {
        let own = row["offset"].as_u64()?;
        match row["name"].as_str() {
            Some(name) if name == member => Some(own),
            Some(name) if !name.is_empty() => None,
            // Offsets are from the start of the outermost struct.
            _ => offset_of(row, member),
        }
    })
}

/// Texts in quotes, numbers with and without their sign.
fn same_value(theirs: &str, ours: &Value) -> bool {
    if let Some(text) = theirs.strip_prefix('"') {
        let text = text.trim_end_matches('"');
        let ours = ours["string"].as_str().or(ours.as_str());
        return ours == Some(text);
    }
    let ours = ours.as_i64().or_else(|| {
        let digits = ours.as_str()?.strip_prefix("0x")?;
        i64::from_str_radix(digits, 16).ok()
    });
    theirs.parse().ok() == ours
}

fn integer(text: &str) -> u64 {
    let hexadecimal = text.strip_prefix("0x");
    let parsed = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text:?} is no number"))
}
