//! Follows a rule's trail through the lines of a report to the guilty frame, and says where stacks are cut.
use super::rule::{self, Step, Trail};
use super::{frame, helpers, pick};

/// What a trail leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Guilty {
    /// The function, without wrappers and suffixes.
    pub(crate) name: Option<String>,
    /// The same as printed, where that differs.
    pub(crate) full: Option<String>,
    /// Frames of something else lay between.
    pub(crate) mixed: bool,
}

/// Follows the ways of `trail` in turn until one leads to a frame.
pub(crate) fn guilty(trail: &Trail, texts: &[&str]) -> Guilty {
    let mut mixed = false;
    for way in trail.ways {
        let mut walk = Walk {
            texts,
            at: 0,
            frames: Vec::new(),
            skip: trail.skip,
            mixed: false,
        };
        walk.go(way);
        mixed |= walk.mixed;
        let names: Vec<String> = walk
            .frames
            .iter()
            .map(|symbol| frame::plain(symbol))
            .collect();
        if let Some(name) = pick::guilty(&names, trail.pick) {
            let full = walk
                .frames
                .iter()
                .zip(&names)
                .find(|(_, short)| **short == name)
                .map(|(full, _)| full.clone());
            return Guilty {
                full: full.filter(|full| *full != name),
                name: Some(name),
                mixed: walk.mixed,
            };
        }
    }
    Guilty {
        mixed,
        ..Guilty::default()
    }
}

struct Walk<'a> {
    texts: &'a [&'a str],
    at: usize,
    frames: Vec<String>,
    skip: &'static [&'static str],
    mixed: bool,
}

impl<'a> Walk<'a> {
    fn go(&mut self, way: &'static [Step]) {
        let mut steps = way.iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Find(pattern) => self.find(pattern),
                Step::Stack => {
                    let until = match steps.peek() {
                        Some(Step::Find(pattern)) => Some(*pattern),
                        _ => None,
                    };
                    if self.stack(until) {
                        steps.next();
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Option<&'a str> {
        let text = self.texts.get(self.at).copied()?;
        self.at += 1;
        Some(text)
    }

    fn find(&mut self, pattern: &'static str) {
        let Some(regex) = rule::regex(pattern) else {
            return;
        };
        while let Some(text) = self.line() {
            if is_fault_injection(text) {
                self.mixed = true;
                return;
            }
            if let Some(found) = regex.captures(text) {
                self.add(found.iter().skip(1).flatten().map(|name| name.as_str()));
                return;
            }
        }
    }

    /// True where it ended at a line of `until`.
    fn stack(&mut self, until: Option<&'static str>) -> bool {
        let until = until.and_then(rule::regex);
        while let Some(text) = self.line() {
            if is_fault_injection(text) {
                self.mixed = true;
                return false;
            }
            if let Some(found) = until.and_then(|regex| regex.captures(text)) {
                self.add(found.iter().skip(1).flatten().map(|name| name.as_str()));
                return true;
            }
            if frame::is_stack_start(text) {
                return false;
            }
            match frame::arm_frames(text) {
                Some((callee, caller)) => self.add([callee, caller].into_iter()),
                None => self.add(frame::frame(text).into_iter()),
            }
        }
        false
    }

    /// The first of `names` that is no helper: a line gives one frame.
    fn add<'b>(&mut self, mut names: impl Iterator<Item = &'b str>) {
        let skip = self.skip;
        self.frames.extend(
            names
                .find(|name| !helpers::is_helper(&frame::plain_rust(name), skip))
                .map(str::to_owned),
        );
    }
}

/// Fault injection prints stacks of its own (lib/fault-inject.c), often in the midst of a report.
fn is_fault_injection(text: &str) -> bool {
    frame::frame(text).is_some_and(|name| name == "should_fail" || name == "should_failslab")
}

/// Lines below the head of a stack within which its first frame is looked for.
const NEAR: usize = 15;

/// What is missing from the stacks of a report that must have one.
pub(crate) fn incomplete(texts: &[&str]) -> Option<&'static str> {
    let mut seen = false;
    let mut checked: Vec<&str> = Vec::new();
    for (at, text) in texts
        .iter()
        .enumerate()
        .filter(|(_, text)| frame::is_stack_start(text))
    {
        let kind = stack_kind(text);
        if checked.contains(&kind) {
            continue;
        }
        checked.push(kind);
        let below = texts.get(at + 1..).unwrap_or_default();
        if below.len() < 2 {
            return Some("a call trace is cut off");
        }
        let near = below
            .iter()
            .take(NEAR)
            .take_while(|text| !frame::is_stack_start(text));
        let mut near = near.filter(|text| {
            text.contains("(stack is not available)")
                || frame::frame(text).is_some()
                || frame::arm_frames(text).is_some()
        });
        if near.next().is_some() {
            seen = true;
        } else if !text.contains("badaddr") {
            return Some("a call trace has no frames");
        }
    }
    (!seen).then_some("there is no call trace")
}

/// The first word tells the kinds of stacks apart; only the first of a kind is checked.
fn stack_kind(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}
