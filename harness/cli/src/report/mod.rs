//! What a report says about one crash, settled and in plain words: `extract` fills it, [`text`]
//! renders it. Nothing is computed from a dump here, and nothing here reaches the signature.
pub(crate) mod comparison;
pub(crate) mod console;
pub(crate) mod device;
pub(crate) mod document;
pub(crate) mod emit;
mod github;
mod html;
mod junit;
pub(crate) mod markdown;
pub(crate) mod memory;
pub(crate) mod run;
mod sarif;
pub(crate) mod sides;
pub(crate) mod text;
mod timeline;
pub(crate) mod triage;
pub(crate) mod verdict;

use memory::Memory;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The account of one crash. Empty lists are left out of the report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct CrashReport {
    /// Kernel, machine, process, system call: what and where, one fact each.
    pub(crate) context: Vec<Fact>,
    /// Trap, faulting instruction, effective address.
    pub(crate) fault: Vec<Fact>,
    /// The registers at the fault, in the order of `pt_regs`.
    pub(crate) registers: Vec<Register>,
    /// Whose registers they are; empty for those of an exception.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) registers_of: String,
    /// Where the registers came from, those of the faulting address first.
    pub(crate) origins: Vec<Fact>,
    /// The stack, innermost frame first, nothing collapsed.
    pub(crate) frames: Vec<Frame>,
    /// What was overwritten, by what, and how that is known.
    pub(crate) corruption: Vec<Fact>,
    /// The state of the cache and the per-CPU list in question.
    pub(crate) slab: Vec<Fact>,
    /// The overwritten object, and the slab that it lies in.
    #[serde(skip_serializing_if = "Memory::is_empty")]
    pub(crate) memory: Memory,
    /// What could not be found out, and why.
    pub(crate) missing: Vec<String>,
}

/// A named statement and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Fact {
    /// A short name, lower case.
    pub(crate) name: String,
    /// The statement.
    pub(crate) value: String,
    /// What proves it, for example the address that was read; empty if the name says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) proof: String,
}

impl Fact {
    /// A statement that needs no proof beside its name.
    pub(crate) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            proof: String::new(),
        }
    }

    /// The same statement with what it rests on.
    pub(crate) fn proven_by(self, proof: impl Into<String>) -> Self {
        Self {
            proof: proof.into(),
            ..self
        }
    }
}

/// A register and what its value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Register {
    /// Lower-case name, for example `rbp`.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: u64,
    /// What the value points at or is; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) meaning: String,
}

/// One frame as the unwinder found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Frame {
    /// Instruction pointer or return address.
    pub(crate) address: u64,
    /// Function and offset, with the module in brackets: `usb_hcd_submit_urb+0x61f [usbcore]`.
    pub(crate) symbol: String,
    /// How it was found: registers, ORC, stack scan.
    pub(crate) found_by: String,
    /// Where in the source, innermost inlined function first; empty without debug information.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) source: Vec<SourceLine>,
}

/// A place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SourceLine {
    /// Function, as the source calls it.
    pub(crate) function: String,
    /// File; empty if not known.
    pub(crate) file: String,
    /// Line; 0 if not known.
    pub(crate) line: u32,
    /// Inlined into the one that follows.
    pub(crate) inlined: bool,
}

impl SourceLine {
    /// `drivers/usb/core/hcd.c:491`, as far as it is known.
    pub(crate) fn place(&self) -> String {
        match (&*self.file, self.line) {
            ("", _) => "no line known".into(),
            (file, 0) => format!("{file}, no line known"),
            (file, number) => format!("{file}:{number}"),
        }
    }
}
