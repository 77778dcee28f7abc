//! The shape of a rule: how a headline looks, which lines must follow, where the guilty frame is, how the title reads.
//!
//! The rules themselves are in `rules/`. Patterns are regular expressions over one line without its prefixes, with
//! `<fn>` for a symbol before its offset, `<pc>` for an address in brackets and `<src>` for file and line.
use regex::Regex;
use std::sync::OnceLock;

use crate::report::Kind;

/// One step on the way to the guilty frame; steps are taken in order, each from where the last one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Goes to the next line that matches; what it captures is a frame.
    Find(&'static str),
    /// Takes the frames up to the next stack.
    Stack,
}

/// Which of the frames is the guilty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The first that is not a helper.
    First,
    /// The one below the loop's dispatcher: a stalled CPU is found at a random place within its loop.
    Stall,
    /// The one that waits, apart from the waiting itself.
    Hang,
}

/// How to find the guilty frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trail {
    /// Ways to go: the next one is tried where one finds nothing. None: the title names no frame.
    pub(crate) ways: &'static [&'static [Step]],
    /// Patterns of further functions that this family's frames pass through.
    pub(crate) skip: &'static [&'static str],
    /// Which frame.
    pub(crate) pick: Pick,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The headline.
    pub(crate) head: &'static str,
    /// Patterns of lines that must follow, each below the one before.
    pub(crate) then: &'static [&'static str],
    /// `{1}` … are the captures of `head` and `then` in order, `{f}` is the guilty function.
    pub(crate) title: &'static str,
    /// More titles of the same shape.
    pub(crate) alternatives: &'static [&'static str],
    /// Where the guilty frame is.
    pub(crate) trail: Trail,
    /// The family.
    pub(crate) kind: Kind,
    /// The kernel prints no call trace with it.
    pub(crate) traceless: bool,
    /// It is only ever seen as the rest of a report whose headline is lost.
    pub(crate) remnant: bool,
    /// It takes any line of its kind: nothing is known of it but its words.
    pub(crate) general: bool,
    /// It only means something after other lines of a kernel.
    pub(crate) again: bool,
    /// It may stand inside another report without beginning one.
    pub(crate) inner: bool,
}

/// The title names no function.
pub(crate) const NOWHERE: Trail = Trail {
    ways: &[],
    skip: &[],
    pick: Pick::First,
};

/// Where the CPU was, on x86 and others (show_iret_regs in arch/x86/kernel/dumpstack.c). A bare address is no frame.
pub(crate) const REGISTER: Step = Step::Find(
    r"(?:IP|NIP|pc |PC is at):? (?:(?:[0-9]+:)?(?:<pc> +){0,2}<fn>|(?:[0-9]+:)?0x[0-9a-f]+|(?:[0-9]+:)?<pc> +\[< *\(null\)>\] +\(null\)|[0-9]+: +\(null\))",
);

/// The line above a call trace.
pub(crate) const TRACE: Step = Step::Find(r"Call [Tt]race:|Backtrace:");

/// The interrupted place, and the stack above it.
pub(crate) const FROM_REGISTERS: Trail = Trail {
    ways: &[&[REGISTER, TRACE, Step::Stack]],
    skip: &[],
    pick: Pick::First,
};

/// Only the interrupted place: no stack is to be trusted, or none is needed.
pub(crate) const REGISTERS_ONLY: Trail = Trail {
    ways: &[&[REGISTER]],
    skip: &[],
    pick: Pick::First,
};

/// The call trace.
pub(crate) const FROM_TRACE: Trail = Trail {
    ways: &[&[TRACE, Step::Stack]],
    skip: &[],
    pick: Pick::First,
};

/// A warning that traps shows where; one that does not (before Linux v4.12, and other machines) has a trace only.
pub(crate) const FROM_WARNING: Trail = Trail {
    ways: &[&[REGISTER, Step::Stack], &[TRACE, Step::Stack]],
    skip: &[],
    pick: Pick::First,
};

impl Trail {
    /// The same, past `skip`.
    pub(crate) const fn past(mut self, skip: &'static [&'static str]) -> Self {
        self.skip = skip;
        self
    }

    /// The same, with another choice.
    pub(crate) const fn pick(mut self, pick: Pick) -> Self {
        self.pick = pick;
        self
    }
}

/// A rule with the usual answers.
pub(crate) const fn rule(
    head: &'static str,
    title: &'static str,
    kind: Kind,
    trail: Trail,
) -> Rule {
    Rule {
        head,
        then: &[],
        title,
        alternatives: &[],
        trail,
        kind,
        traceless: false,
        remnant: false,
        general: false,
        again: false,
        inner: false,
    }
}

impl Rule {
    /// Lines that must follow.
    pub(crate) const fn then(mut self, then: &'static [&'static str]) -> Self {
        self.then = then;
        self
    }

    /// More titles.
    pub(crate) const fn or(mut self, alternatives: &'static [&'static str]) -> Self {
        self.alternatives = alternatives;
        self
    }

    /// Without a call trace.
    pub(crate) const fn traceless(mut self) -> Self {
        self.traceless = true;
        self
    }

    /// The rest of something lost.
    pub(crate) const fn remnant(mut self) -> Self {
        self.remnant = true;
        self
    }

    /// For any words.
    pub(crate) const fn general(mut self) -> Self {
        self.general = true;
        self
    }

    /// After other lines only.
    pub(crate) const fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Begins no report inside another.
    pub(crate) const fn inner(mut self) -> Self {
        self.inner = true;
        self
    }
}

/// A pattern with its placeholders filled in.
pub(crate) fn expand(pattern: &str) -> String {
    pattern
        .replace("<pc>", r"\[<?(?:0x)?[0-9a-f]+>?\]")
        .replace("<fn>", r"([a-zA-Z0-9_]+)(?:\.[a-zA-Z0-9_.]*)?\+")
        .replace("<src>", r"([a-zA-Z0-9_/.-]+\.[a-z]+:[0-9]+)")
}

/// Compiled patterns; each is compiled once, when it is first asked for.
pub(crate) fn regex(pattern: &'static str) -> Option<&'static Regex> {
    use std::collections::HashMap;
    use std::sync::{PoisonError, RwLock};
    static KNOWN: OnceLock<RwLock<HashMap<&'static str, Option<&'static Regex>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(RwLock::default);
    if let Some(found) = known
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(pattern)
    {
        return *found;
    }
    // The patterns are constants of this crate: what is leaked is bounded by their number.
    let compiled = Regex::new(&expand(pattern))
        .ok()
        .map(|regex| &*Box::leak(Box::new(regex)));
    known
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(pattern, compiled);
    compiled
}
