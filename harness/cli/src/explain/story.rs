//! The account of one crash as data: sections of typed findings, each with what it rests on; tables; other
//! explanations with what they predict; and what is not known. No prose in it: a language and a format make text of it.
use serde::Serialize;

use super::findings::{Finding, Proof};
use super::message::Hex;

/// Words of evidence kept for one statement: the rest is counted.
pub(crate) const MAX_EVIDENCE: usize = 8;
/// Frames kept.
pub(crate) const MAX_FRAMES: usize = 64;

/// The account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "story", rename_all = "kebab-case")]
pub(crate) struct Story {
    /// What was read.
    pub(crate) subject: Subject,
    /// Its parts, in reading order; empty ones are left out.
    pub(crate) sections: Vec<Section>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Subject {
    /// File name, no folders: the account travels.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: SubjectKind,
}

/// What an account is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SubjectKind {
    /// A dump of memory.
    Vmcore,
    /// A session of crash, as text.
    Transcript,
    /// A kernel log.
    Console,
}

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Topic {
    /// In short.
    Summary,
    /// What the CPU raised, and where.
    Exception,
    /// The saved registers.
    Registers,
    /// The faulting instruction.
    Instruction,
    /// Where the registers came from.
    Origins,
    /// What agrees and what does not.
    Agreement,
    /// The cache and how it stores its pointers.
    Hardening,
    /// What the value is.
    Value,
    /// What the allocator was asked for, and by whom.
    Allocation,
    /// Who ran, in which call.
    Context,
    /// Why this vector.
    Vector,
    /// Which other crashes share it.
    Others,
    /// What would have to be true for another explanation.
    Alternatives,
    /// What is not known.
    Unknown,
}

impl Topic {
    /// All, in reading order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::Summary,
        Self::Exception,
        Self::Registers,
        Self::Instruction,
        Self::Origins,
        Self::Agreement,
        Self::Hardening,
        Self::Value,
        Self::Allocation,
        Self::Context,
        Self::Vector,
        Self::Others,
        Self::Alternatives,
        Self::Unknown,
    ];
}

/// A part of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Section {
    /// What it is about.
    pub(crate) topic: Topic,
    /// What it says.
    pub(crate) blocks: Vec<Block>,
}

/// One thing that a section says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Block {
    /// A statement.
    Finding(Told),
    /// The slots of a `pt_regs`.
    Slots(Vec<Slot>),
    /// Bytes and what each is.
    Bytes(Vec<BytePart>),
    /// The call chain, innermost first.
    Frames(Vec<FrameRow>),
    /// Another crash.
    Other(Other),
    /// An explanation.
    Explanation(Explanation),
    /// What is not known, and why.
    Gap(Gap),
}

/// A statement and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    /// What is said.
    pub(crate) finding: Finding,
    /// What it rests on; at most [`MAX_EVIDENCE`].
    pub(crate) evidence: Vec<Proof>,
    /// How much more there is.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) more: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A slot of a `pt_regs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Slot {
    /// Its name.
    pub(crate) name: String,
    /// Where on the stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Hex>,
    /// Its value; `None` where the text does not have it.
    pub(crate) value: Option<Hex>,
    /// Line of the text that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

/// Some of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BytePart {
    /// Offset of the first.
    pub(crate) at: usize,
    /// The bytes, as text.
    pub(crate) bytes: String,
    /// What they are.
    pub(crate) part: Part,
    /// What they say.
    pub(crate) value: String,
}

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// bLength.
    Length,
    /// bDescriptorType.
    Type,
    /// A UTF-16 character.
    Character,
    /// An ASCII character.
    Ascii,
    /// A language.
    Language,
    /// Nothing known.
    Opaque,
}

impl Part {
    /// All.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Length,
        Self::Type,
        Self::Character,
        Self::Ascii,
        Self::Language,
        Self::Opaque,
    ];
}

/// A frame of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FrameRow {
    /// Function, with module.
    pub(crate) function: String,
    /// Inlined.
    pub(crate) inlined: bool,
    /// Line of the text, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

/// Another crash and what ties it to this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Other {
    /// Its name.
    pub(crate) name: String,
    /// `same-crash`, `same-bug`, …
    pub(crate) verdict: String,
    /// What ties them, or keeps them apart.
    pub(crate) ties: Vec<Told>,
}

/// An explanation, with what it predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// Which.
    pub(crate) what: Hypothesis,
    /// What comes of it.
    pub(crate) standing: Standing,
    /// What it predicts.
    pub(crate) predictions: Vec<Prediction>,
}

/// Explanations that are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hypothesis {
    /// The controller wrote into the buffer after it was freed.
    LateDma,
    /// A driver freed the buffer while the transfer was under way.
    EarlyFree,
    /// The CPU copied the descriptor, raw, into freed memory.
    SoftwareRaw,
    /// The CPU wrote the text.
    SoftwareText,
    /// An overrun of the object before.
    Overrun,
    /// A bit flipped in memory.
    BitFlip,
    /// The registers are not those of the fault.
    WrongRegisters,
}

impl Hypothesis {
    /// All, in reading order.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] = [
        Self::LateDma,
        Self::EarlyFree,
        Self::SoftwareRaw,
        Self::SoftwareText,
        Self::Overrun,
        Self::BitFlip,
        Self::WrongRegisters,
    ];
}

/// How an explanation or a prediction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// The evidence has what it predicts.
    Supported,
    /// The evidence has the contrary.
    Refuted,
    /// This evidence does not decide.
    Undecided,
}

impl Standing {
    /// All.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Supported, Self::Refuted, Self::Undecided];
}

/// What an explanation predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Prediction {
    /// What.
    pub(crate) finding: Finding,
    /// Whether the evidence has it.
    pub(crate) standing: Standing,
}

/// What is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    /// What.
    pub(crate) what: Missing,
    /// Why, as the reader of the dump or text words it.
    pub(crate) why: String,
}

/// Names of what can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missing {
    /// Kernel release.
    Release,
    /// Process.
    Task,
    /// Exception.
    Exception,
    /// Registers.
    Registers,
    /// Place.
    Place,
    /// Instruction.
    Instruction,
    /// Cache.
    Cache,
    /// Freelist.
    Freelist,
    /// The value.
    Value,
    /// Size of the request.
    Size,
    /// Its flags.
    Flags,
    /// System call.
    Syscall,
    /// Frames.
    Frames,
    /// KASLR.
    Kaslr,
    /// Other.
    Note,
}

impl Missing {
    /// All.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 15] = [
        Self::Release,
        Self::Task,
        Self::Exception,
        Self::Registers,
        Self::Place,
        Self::Instruction,
        Self::Cache,
        Self::Freelist,
        Self::Value,
        Self::Size,
        Self::Flags,
        Self::Syscall,
        Self::Frames,
        Self::Kaslr,
        Self::Note,
    ];
}

/// Collects a section.
#[derive(Debug)]
pub(crate) struct Draft {
    topic: Topic,
    blocks: Vec<Block>,
}

impl Draft {
    /// An empty section.
    pub(crate) fn new(topic: Topic) -> Self {
        Self {
            topic,
            blocks: Vec::new(),
        }
    }

    /// Adds a statement.
    pub(crate) fn say(&mut self, finding: Finding, evidence: Vec<Proof>) {
        self.blocks.push(Block::Finding(told(finding, evidence)));
    }

    /// Adds a table or another block.
    pub(crate) fn add(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// The section, unless it says nothing.
    pub(crate) fn finish(self) -> Option<Section> {
        (!self.blocks.is_empty()).then_some(Section {
            topic: self.topic,
            blocks: self.blocks,
        })
    }
}

/// A statement with its evidence, cut to what people read.
pub(crate) fn told(finding: Finding, mut evidence: Vec<Proof>) -> Told {
    evidence.dedup();
    let more = evidence.len().saturating_sub(MAX_EVIDENCE);
    evidence.truncate(MAX_EVIDENCE);
    Told {
        finding,
        evidence,
        more,
    }
}
