//! Everything that an account can state, and everything that it can rest on. Values only: the sentences are the
//! languages' matter ([`super::render`]).
use serde::Serialize;

use super::message::{Hex, messages};

/// A word that stands inside a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// The base of a memory operand.
    Base,
    /// Its index.
    Index,
    /// A register that the operand does not name.
    NoOperand,
    /// Known by its form.
    ByForm,
    /// The same bytes are in the dump.
    Proven,
    /// Possible, no more.
    Plausible,
    /// A string descriptor.
    StringDescriptor,
    /// A descriptor of another type.
    OtherDescriptor,
}

#[cfg(test)]
impl Word {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Base,
        Self::Index,
        Self::NoOperand,
        Self::ByForm,
        Self::Proven,
        Self::Plausible,
        Self::StringDescriptor,
        Self::OtherDescriptor,
    ];
}

messages! {
    /// A statement about the crash.
    Finding / FindingId:
    // In short
    /// A CPU exception ended the kernel at a known place.
    Died { mnemonic: String, name: String, function: String }
    /// What the kernel's own report is called.
    Reported { title: String }
    /// Another title for the same report.
    AlsoTitled { title: String }
    /// The report is damaged.
    ReportDamaged { why: String }
    /// There were more reports after the first.
    LaterReport { title: String }
    /// What `panic()` said.
    Panicked { text: String }
    /// No exception, and why.
    NoException { why: String }
    /// The bug, in one line.
    ListOverwritten { cache: String, value: Hex }
    /// The same, where it was a field.
    FieldOverwritten { field: String, cache: String, value: Hex }
    /// What overwrote it, for the summary.
    OverwrittenBy { what: Word }

    /// The same, from the middle of it.
    OverwrittenByPart { what: Word }

    // 1 The exception
    /// Which exception.
    Raised { mnemonic: String, name: String, vector: u8 }
    /// Its headline, where no vector is named.
    RaisedHeadline { headline: String }
    /// Entry code.
    EnteredBy { entry: String }
    /// Where it struck.
    Struck { place: String, address: Hex }
    /// The same without an address.
    StruckNoAddress { place: String }
    /// In kernel mode: no change of privilege.
    SamePrivilege { cs: Hex }
    /// In user mode.
    FromUser { cs: Hex }
    /// A fault: rip is the instruction itself.
    FaultNotTrap { mnemonic: String }
    /// A trap: rip is the instruction after.
    TrapNotFault { mnemonic: String }
    /// The error code is gone, its slot has -1.
    ErrorCodeGone { slot: Hex }
    /// The error code.
    ErrorCode { code: Hex }
    /// The address that the kernel worked out from the instruction (4.x has none, 5.5 and later do).
    NamedAddress { address: Hex }
    /// The address that a page fault reports.
    ReportedAddress { address: Hex }

    // 2 The saved registers
    /// On the stack.
    RegistersOnStack { at: Hex, end: Hex }
    /// Found by their form, and the session's labels did not help.
    RegistersByForm { count: usize }
    /// Printed by a session.
    RegistersPrinted { count: usize }
    /// Printed by the kernel.
    RegistersFromReport { count: usize }
    /// Who pushed what.
    PushedByEntry { entry: String }
    /// The text does not have all.
    RegistersPartly { missing: String }

    // 3 The instruction
    /// The faulting instruction.
    Faulting { text: String }
    /// How its address adds up.
    AddressSum { sum: String, address: Hex }
    /// A register of the address is not known.
    AddressOpen { sum: String }
    /// Not canonical with 48 bits.
    NotCanonical { address: Hex, top: String }
    /// Canonical, in the first page.
    NullPage { address: Hex }
    /// Canonical, kernel half.
    KernelHalf { address: Hex }
    /// Canonical, user half.
    UserHalf { address: Hex }
    /// The base register implies SS.
    StackSegment { base: String }
    /// DS, as for every base but rbp and rsp.
    DataSegment { base: String }
    /// A segment override, or gs.
    OtherSegment { segment: String }

    // 4 Where the registers came from
    /// From a field.
    LoadedField { register: String, role: Word, value: String, from: String, field: String }
    /// From memory that nothing names.
    Loaded { register: String, role: Word, value: String, from: String }
    /// What a function returned, with a type.
    ReturnedTyped { register: String, value: String, function: String, type_name: String }
    /// What a function returned.
    Returned { register: String, value: String, function: String }
    /// An end of another kind, as the slice words it.
    CameFrom { register: String, role: Word, value: String, from: String }
    /// The trail is lost.
    OriginUnknown { register: String, value: String, why: String }

    // 5 What agrees
    /// freelist and the register.
    FreelistIsRegister { value: Hex, register: String }
    /// freelist and the register differ.
    FreelistIsNot { value: Hex, register: String, other: Hex }
    /// A register that holds freelist plus offset.
    SumIsRegister { register: String, sum: Hex, offset: u64 }
    /// A register that points at a struct.
    PointsAt { register: String, address: Hex, type_name: String }
    /// tid and a register.
    TidIsRegister { tid: u64, hex: Hex, register: String }
    /// tid + step and a register: operands of the exchange to come.
    NextTid { register: String, tid: u64, next: u64, first: String }
    /// Any other check that holds.
    Agrees { what: String, left: Hex, right: Hex }
    /// One that does not.
    Disagrees { what: String, left: Hex, right: Hex }
    /// What the text says twice and differently.
    Contradicts { what: String, one: String, other: String }
    /// A frame that does not stand.
    FrameRefuted { function: String, why: String }
    /// A code address that a register still held: what ran before.
    LeftOver { register: String, value: Hex, function: String }
    /// What another crash lent.
    Lent { what: String }

    // 6 The cache and its pointers
    /// Which cache.
    Cache { name: String, object_size: u64 }
    /// A cache whose size is not known.
    CacheNoSize { name: String }
    /// Where the list is.
    PerCpuList { address: Hex, value: Hex }
    /// Stored as it is.
    NotHardened { offset: u64 }
    /// Obfuscated.
    Hardened { offset: u64 }
    /// Not known.
    HardeningUnknown {}
    /// What that means for the reader of the value.
    RawMeaning { value: Hex }

    // 7 The value
    /// Bytes in memory order.
    BytesInMemory { bytes: String, value: Hex }
    /// The bytes after the obfuscation was undone.
    BytesUndone { bytes: String }
    /// A string descriptor.
    StringHead { length: u8, characters: usize, text: String, sure: Word }
    /// String descriptor zero.
    LanguagesHead { length: u8, languages: String, sure: Word }
    /// Another descriptor.
    DescriptorHead { name: String, kind: u8, length: u8, sure: Word }
    /// Bytes of a device that is present.
    DeviceBytes { part: String, vendor: String, product: String, device: String, at: u64, length: u64, sure: Word }
    /// What can be read of it.
    DeviceText { text: String }
    /// A SETUP packet.
    SetupPacket { request: String, sure: Word }
    /// Text.
    TextBytes { encoding: String, text: String, sure: Word }
    /// A pattern.
    Poison { name: String, sure: Word }
    /// One bit.
    OneBit { bit: u8, pointer: Hex, sure: Word }
    /// An error number.
    ErrorNumber { number: u64, name: String, sure: Word }
    /// Zeros.
    Zeros {}
    /// A small number.
    SmallNumber { value: u64 }
    /// Nothing fits.
    NotRecognised {}
    /// A whole descriptor against the object.
    DescriptorInObject { length: u8, object_size: u64 }
    /// The object that carried it.
    Carrier { object: Hex }
    /// The bytes are still there.
    StillThere {}
    /// They are gone.
    NoLongerThere {}
    /// Less likely readings.
    LessLikely { what: String }

    // 8 The request
    /// Size.
    RequestedSize { size: u64 }
    /// Flags with names.
    RequestedFlags { flags: Hex, names: String }
    /// Flags without.
    RequestedFlagsRaw { flags: Hex }
    /// Which cache serves it.
    ServedBy { size: u64, cache: String }
    /// The root hub's buffer.
    RootHubBuffer { size: u64, caller: String }
    /// Another caller.
    AskedBy { caller: String }
    /// The one that died is the victim.
    OnlyVictim {}

    // 9 Who, where
    /// Task.
    Process { comm: String, pid: String, cpu: String }
    /// ioctl with its request.
    SyscallRequest { name: String, fd: u64, request: String }
    /// A call with a descriptor.
    SyscallFd { name: String, fd: u64 }
    /// A call.
    Syscall { name: String, number: u64 }
    /// Kernel.
    Release { release: String }
    /// Moved by KASLR.
    Kaslr {}
    /// Not moved.
    NoKaslr {}

    // Why this vector
    /// The rule for SS.
    RuleStack { base: String }
    /// The rule for all other segments.
    RuleData {}
    /// The rule for canonical addresses.
    RulePage {}
    /// As hardware would.
    VectorAsHardware { mnemonic: String }
    /// Not as hardware would.
    VectorNotAsHardware { came: String, expected: String }
    /// Another register.
    WithOtherBase {}
    /// rbp or rsp.
    WithStackBase {}
    /// Five levels make it canonical.
    WithFiveLevels { address: Hex }
    /// Five levels change nothing.
    WithFiveLevelsSame { address: Hex }
    /// TCG never raises it.
    WithTcg {}
    /// TCG, for those that are #GP anyway.
    WithTcgSame {}

    // Other crashes
    /// How many were looked at.
    ComparedWith { count: usize }
    /// None.
    NothingToCompare { why: String }
    /// The same value in both.
    TieDecoded { what: String }
    /// The same cache and site.
    TieSite { what: String }
    /// The same place.
    TiePlace { what: String }
    /// Another size or other flags: another caller.
    OtherRequest { own: String, other: String }
    /// The comparison's own reason.
    TieReason { why: String }
    /// Differences with a rule.
    ExplainedDifference { field: String, rule: String }
    /// Differences without.
    UnexplainedDifference { field: String, golden: String, found: String }
    /// Unrelated places point to memory, not to code.
    ManyPlaces { count: usize }

    // Predictions of other explanations
    /// The bytes are those of a descriptor.
    PredictHead {}
    /// They stand at the same offset in the object as in the transfer.
    PredictObjectStart {}
    /// The cache is that of such buffers.
    PredictBufferCache { cache: String }
    /// The object was on the list: free when it was overwritten.
    PredictFreeObject {}
    /// A URB of the same device was still in flight, or was just cancelled.
    PredictInFlight {}
    /// Unrelated users of the cache die of the same bytes.
    PredictOtherVictims {}
    /// The bytes came after the transfer had completed.
    PredictRepeat {}
    /// The write came from the CPU: a debug kernel would name it.
    PredictCpuStore {}
    /// Text alone, without bLength and bDescriptorType.
    PredictTextOnly {}
    /// The value differs from a kernel pointer in one bit.
    PredictOneBit { bits: u32 }
    /// Memory holds another value than the registers.
    PredictMemoryDiffers {}
    /// The bytes continue something longer.
    PredictContinuation {}
}

messages! {
    /// What a statement rests on.
    Proof / ProofId:
    /// A line, by its number.
    AtLine { line: usize }
    /// A line of the text.
    Line { line: usize, text: String }
    /// A word of the stack, with its line.
    StackWord { at: Hex, value: Hex, line: usize }
    /// A word of the stack, in a dump.
    StackMemory { at: Hex, value: Hex }
    /// An instruction, with its line.
    Instruction { place: String, text: String, line: usize }
    /// An instruction, in a dump.
    InstructionMemory { place: String, text: String }
    /// Memory of a dump.
    Memory { what: String }
    /// A rule, as its source words it.
    Stated { rule: String }
    /// Another statement.
    Follows { from: String }
    /// Intel's rule on fault and trap.
    SdmClasses {}
    /// Intel's rule on canonical addresses.
    SdmCanonical {}
    /// Intel's rule on default segments.
    SdmSegments {}
    /// The kernel's entry code.
    EntryCode {}
    /// The kernel's SLUB.
    SlubSource {}
    /// USB 2.0 on string descriptors.
    UsbStrings {}
    /// The root hub's code.
    RootHubSource {}
    /// QEMU's code.
    QemuSource {}
    /// The text ends or does not have it.
    NotShown {}
}
