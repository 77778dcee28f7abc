//! The account in English: one template for each message. `{name}` is a value, text between backticks is code.
use crate::explain::findings::{FindingId, ProofId, Word};
use crate::explain::story::{Hypothesis, Missing, Part, Standing, SubjectKind, Topic};

use super::Label;
use super::Language;

/// The language.
pub(crate) const ENGLISH: Language = Language {
    finding,
    proof,
    word,
    topic,
    part,
    hypothesis,
    standing,
    missing,
    subject,
    label,
};

fn finding(id: FindingId) -> &'static str {
    use FindingId as F;
    match id {
        F::Died => "The kernel died of {mnemonic} ({name}) in `{function}`.",
        F::Reported => "The kernel's report: `{title}`.",
        F::AlsoTitled => "The same report may also be titled `{title}`.",
        F::ReportDamaged => "The report is damaged, so its frames are not to be trusted: {why}.",
        F::LaterReport => {
            "A later report in the same log: `{title}`. The first one counts; later ones are often its consequence."
        }
        F::Panicked => "panic() said: `{text}`.",
        F::NoException => "No CPU exception ended this kernel: {why}.",
        F::ListOverwritten => {
            "The freelist of `{cache}` had been overwritten: where a pointer to a free object belongs it held `{value}`. The code that crashed only took the next object from the list."
        }
        F::FieldOverwritten => {
            "`{field}` had been overwritten, in a structure that lies in an object of `{cache}`: it held `{value}`. The code that crashed only followed that pointer."
        }
        F::OverwrittenBy => {
            "What overwrote it is the beginning of {what}: bytes that a USB device sent."
        }
        F::OverwrittenByPart => {
            "What overwrote it is part of {what}: bytes that a USB device sent."
        }
        F::Raised => "The CPU raised {mnemonic} ({name}, vector {vector}).",
        F::RaisedHeadline => "The kernel reported `{headline}`; no vector is named.",
        F::EnteredBy => "It came in through the entry code `{entry}`.",
        F::Struck => "It struck at `{place}`, address `{address}`.",
        F::StruckNoAddress => "It struck at `{place}`.",
        F::SamePrivilege => {
            "The saved code segment is `{cs}`, kernel mode: no change of privilege."
        }
        F::FromUser => "The saved code segment is `{cs}`: the CPU was in user mode.",
        F::FaultNotTrap => {
            "{mnemonic} is a fault, not a trap: the saved rip is the address of the instruction that failed, not of the next one."
        }
        F::TrapNotFault => {
            "{mnemonic} is a trap: the saved rip is the address of the next instruction."
        }
        F::ErrorCodeGone => {
            "The error code that the CPU pushed is gone. The entry code handed it to the C function in rsi and stored -1 in its slot, so that slot (orig_rax), whatever a note calls it, now holds `{slot}`."
        }
        F::ErrorCode => "Its error code is `{code}`.",
        F::NamedAddress => {
            "The kernel's report gives `{address}` as the address: it worked it out from the instruction and the registers."
        }
        F::ReportedAddress => {
            "The CPU reported `{address}` as the address that could not be reached."
        }
        F::RegistersOnStack => {
            "The registers of the interrupted code lie on the stack as a `struct pt_regs`, from `{at}` to `{end}`."
        }
        F::RegistersByForm => {
            "They were found among the raw words by their form: kernel code and stack segments, flags, a return address in kernel text, a stack pointer into the same stack. {count} of 21 slots are there."
        }
        F::RegistersPrinted => "The session prints them as a block: {count} of 21 slots.",
        F::RegistersFromReport => "The kernel printed them in its report: {count} of 21 slots.",
        F::PushedByEntry => {
            "The CPU pushed the last five and the error code; the entry code of `{entry}` pushed the others (`error_entry`)."
        }
        F::RegistersPartly => "Not shown: `{missing}`.",
        F::Faulting => "The instruction that failed is `{text}`.",
        F::AddressSum => "It used the address `{sum}` = `{address}`.",
        F::AddressOpen => "Its address is `{sum}`; not every part is known.",
        F::NotCanonical => {
            "`{address}` is not canonical: with 48-bit addresses bits 63 to 47 must all be equal, and here they are (in binary, without leading zeros) `{top}`. No page table is asked."
        }
        F::NullPage => {
            "`{address}` lies in the first page: a NULL pointer, plus the offset of a field or element."
        }
        F::KernelHalf => "`{address}` is canonical and in the kernel's half.",
        F::UserHalf => "`{address}` is canonical, but in the half of user space.",
        F::StackSegment => {
            "The base register is {base}, so the access goes through the stack segment (SS), without being an access to the stack."
        }
        F::DataSegment => {
            "The base register is {base}, so the access goes through the data segment (DS)."
        }
        F::OtherSegment => "The access goes through the segment {segment}.",
        F::LoadedField => {
            "{register} ({role}) = `{value}`: loaded from `{from}`, which is `{field}`."
        }
        F::Loaded => "{register} ({role}) = `{value}`: loaded from `{from}`.",
        F::ReturnedTyped => "{register} = `{value}`: what `{function}` returned, a `{type_name}`.",
        F::Returned => "{register} = `{value}`: what `{function}` returned.",
        F::CameFrom => "{register} ({role}) = `{value}`: `{from}`.",
        F::OriginUnknown => "{register} = `{value}`: where it came from is not known ({why}).",
        F::FreelistIsRegister => {
            "`kmem_cache_cpu.freelist` in memory is `{value}`, the same as {register} at the fault."
        }
        F::FreelistIsNot => {
            "`kmem_cache_cpu.freelist` in memory is `{value}`, but {register} at the fault was `{other}`."
        }
        F::SumIsRegister => {
            "{register} holds `{sum}`: that value plus {offset}, where a free object has its pointer."
        }
        F::PointsAt => {
            "{register} holds `{address}`, the address of the `struct {type_name}` that is shown."
        }
        F::TidIsRegister => "`kmem_cache_cpu.tid` is {tid} (`{hex}`), the same as {register}.",
        F::NextTid => {
            "{register} holds {next}, the tid that follows {tid}: together with {first} it is an operand of the cmpxchg that was to come. So these are the registers of this allocation, and nothing was taken from this list since."
        }
        F::Agrees => "`{what}` holds: `{left}` and `{right}`.",
        F::Disagrees => "`{what}` does not hold: `{left}` against `{right}`.",
        F::Contradicts => "The text says `{what}` twice and differently: `{one}` and `{other}`.",
        F::FrameRefuted => "The frame `{function}` that the text shows does not stand: {why}.",
        F::LeftOver => {
            "{register} still holds `{value}`, an address in `{function}`: a trace of code that ran before, no more than a hint."
        }
        F::Lent => "Taken from another crash of the same kernel: {what}.",
        F::Cache => "The cache is `{name}`, objects of {object_size} bytes.",
        F::CacheNoSize => "The cache is `{name}`.",
        F::PerCpuList => {
            "The CPU's list (`struct kmem_cache_cpu` at `{address}`) begins with `{value}`."
        }
        F::NotHardened => {
            "This kernel does not harden its freelists: the pointer to the next free object stands as it is at offset {offset} of each free object."
        }
        F::Hardened => {
            "This kernel hardens its freelists: the pointer at offset {offset} of a free object is stored obfuscated."
        }
        F::HardeningUnknown => "Whether this kernel hardens its freelists is not known.",
        F::RawMeaning => {
            "So `{value}` is, unchanged, what lay in a free object: whoever wrote the object wrote these bytes."
        }
        F::BytesInMemory => "In memory, lowest address first, `{value}` is the bytes `{bytes}`.",
        F::BytesUndone => "With the obfuscation undone, the object held the bytes `{bytes}`.",
        F::StringHead => {
            "They are the head of a USB string descriptor ({sure}): bLength {length}, so {characters} characters of UTF-16, of which these bytes show `{text}`."
        }
        F::LanguagesHead => {
            "They are the head of USB string descriptor zero ({sure}): bLength {length}, languages `{languages}`."
        }
        F::DescriptorHead => {
            "They are the head of a USB {name} ({sure}): bDescriptorType {kind}, bLength {length}."
        }
        F::DeviceBytes => {
            "They are bytes from {at} on of the {length}-byte {part} of the USB device {vendor}:{product} ({device}) ({sure})."
        }
        F::DeviceText => "The text that can be read in them is `{text}`.",
        F::SetupPacket => "They are a USB SETUP packet, `{request}` ({sure}).",
        F::TextBytes => "They are {encoding} text, `{text}` ({sure}).",
        F::Poison => "They are the kernel's fill pattern `{name}` ({sure}).",
        F::OneBit => "They are the pointer `{pointer}` with bit {bit} flipped ({sure}).",
        F::ErrorNumber => "They are error number {number}, `{name}`, as a pointer ({sure}).",
        F::Zeros => "They are zeros.",
        F::SmallNumber => "They are a small number, {value}.",
        F::NotRecognised => "Nothing that is known begins like this.",
        F::DescriptorInObject => {
            "The descriptor says that it is {length} bytes long; the object has {object_size}. Only the bytes that stood where the pointer is were seen."
        }
        F::Carrier => "The object that carried them lies at `{object}`.",
        F::StillThere => "They still lie there.",
        F::NoLongerThere => "They are no longer there: the object was handed out once more.",
        F::LessLikely => "Less likely: `{what}`.",
        F::RequestedSize => "The allocator was asked for {size} bytes.",
        F::RequestedFlags => "The flags are `{flags}` = `{names}`.",
        F::RequestedFlagsRaw => "The flags are `{flags}`.",
        F::ServedBy => "A request for {size} bytes is served by `{cache}`.",
        F::RootHubBuffer => {
            "It is the buffer of `rh_call_control`, inlined in `{caller}`: a control transfer to a root hub, {size} bytes, zeroed."
        }
        F::AskedBy => {
            "`{caller}` asked for it; which of its buffers it is, this evidence does not say."
        }
        F::OnlyVictim => {
            "It is the victim, not the culprit: it wanted an object and met a list that was already broken."
        }
        F::Process => "It ran in `{comm}` (pid {pid}) on CPU {cpu}.",
        F::SyscallRequest => {
            "The system call was `{name}` on file descriptor {fd}, request `{request}`."
        }
        F::SyscallFd => "The system call was `{name}` on file descriptor {fd}.",
        F::Syscall => "The system call was `{name}` (number {number}).",
        F::Release => "The kernel is `{release}`.",
        F::Kaslr => "KASLR had moved it.",
        F::NoKaslr => "KASLR had not moved it.",
        F::RuleStack => {
            "A non-canonical address through the stack segment raises #SS, and {base} as base selects that segment."
        }
        F::RuleData => "A non-canonical address through any segment but SS raises #GP.",
        F::RulePage => {
            "A canonical address is looked up in the page tables; what fails there raises #PF."
        }
        F::VectorAsHardware => {
            "{mnemonic} is what hardware raises for this instruction and this address."
        }
        F::VectorNotAsHardware => "{came} came, but hardware raises {expected} for it.",
        F::WithOtherBase => {
            "Had the compiler chosen a base other than rbp and rsp, the same bug would have been a #GP."
        }
        F::WithStackBase => {
            "Had the compiler chosen rbp as the base, the same bug would have been a #SS."
        }
        F::WithFiveLevels => {
            "With 5-level paging `{address}` is canonical: the same bug would have been a #PF, a paging request."
        }
        F::WithFiveLevelsSame => {
            "With 5-level paging `{address}` is not canonical either: nothing would change."
        }
        F::WithTcg => {
            "QEMU's emulation (TCG) raises #GP here: a reproduction under it shows another vector and is still the same crash."
        }
        F::WithTcgSame => "QEMU's emulation (TCG) raises #GP too.",
        F::ComparedWith => "Other crashes compared: {count}.",
        F::NothingToCompare => "Not compared: {why}.",
        F::TieDecoded => "The same bytes: `{what}`.",
        F::TieSite => "The same victim, the freelist of `{what}`.",
        F::TiePlace => "The same place: `{what}`.",
        F::OtherRequest => "Another request, so another caller: `{other}` there, `{own}` here.",
        F::TieReason => "{why}.",
        F::ExplainedDifference => "Differs, as the rule `{rule}` explains: `{field}`.",
        F::UnexplainedDifference => "`{field}` differs: `{golden}` there, `{found}` here.",
        F::ManyPlaces => {
            "At least {count} different places die of the same bytes. The code at all of them can hardly be wrong in the same way; what they share is the memory."
        }
        F::PredictHead => {
            "the bytes are those of a descriptor as the device sent it, not text that software made of it"
        }
        F::PredictObjectStart => {
            "the bytes stand at the same offset in the object as in the transfer, for a buffer begins where its object does"
        }
        F::PredictBufferCache => {
            "the object is of a size class that serves transfer buffers (`{cache}`)"
        }
        F::PredictFreeObject => {
            "the object was free when it was overwritten: it was on the freelist"
        }
        F::PredictInFlight => {
            "when the buffer was freed, its URB was still in flight (shown by a free track, or by the driver's code)"
        }
        F::PredictOtherVictims => "unrelated users of the cache die of the same bytes",
        F::PredictRepeat => {
            "the bytes came after the transfer had completed (shown by a trace of the bus, or by an IOMMU that unmaps the buffer)"
        }
        F::PredictCpuStore => {
            "the bytes were stored by the CPU (a KASAN kernel would name the code)"
        }
        F::PredictTextOnly => "the bytes are the text alone, without bLength and bDescriptorType",
        F::PredictOneBit => {
            "the value is a kernel pointer but for one bit (here at least {bits} differ)"
        }
        F::PredictMemoryDiffers => "memory holds another value than the register",
        F::PredictContinuation => "the bytes go on with something that began in the object before",
    }
}

fn proof(id: ProofId) -> &'static str {
    use ProofId as P;
    match id {
        P::AtLine => "line {line}",
        P::Line => "line {line}: `{text}`",
        P::StackWord => "line {line}, stack word at `{at}`: `{value}`",
        P::StackMemory => "stack word at `{at}`: `{value}`",
        P::Instruction => "line {line}, `{place}`: `{text}`",
        P::InstructionMemory => "`{place}`: `{text}`",
        P::Memory => "`{what}`",
        P::Stated => "rule: {rule}",
        P::Follows => "follows from {from}",
        P::SdmClasses => "Intel SDM, volume 3A, 6.5 and table 6-1",
        P::SdmCanonical => "Intel SDM, volume 1, 3.3.7.1",
        P::SdmSegments => "Intel SDM, volume 1, 3.7.4; volume 3A, 6.15 (interrupt 12)",
        P::EntryCode => "arch/x86/entry/entry_64.S (idtentry, error_entry)",
        P::SlubSource => "mm/slub.c (slab_alloc_node, next_tid, freelist_ptr)",
        P::UsbStrings => "USB 2.0, 9.6.7",
        P::RootHubSource => "drivers/usb/core/hcd.c (rh_call_control)",
        P::QemuSource => "QEMU, target/i386/tcg",
        P::NotShown => "this evidence does not show it",
    }
}

fn word(word: Word) -> &'static str {
    match word {
        Word::Base => "base",
        Word::Index => "index",
        Word::NoOperand => "not in the address",
        Word::ByForm => "by its form",
        Word::Proven => "proven: the same bytes are in the dump",
        Word::Plausible => "plausible, no more",
        Word::StringDescriptor => "a USB string descriptor",
        Word::OtherDescriptor => "a USB descriptor",
    }
}

fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Summary => "In short",
        Topic::Exception => "The exception",
        Topic::Registers => "The saved registers",
        Topic::Instruction => "The instruction",
        Topic::Origins => "Where the registers came from",
        Topic::Agreement => "What agrees, and what does not",
        Topic::Hardening => "The cache and its pointers",
        Topic::Value => "What the value is",
        Topic::Allocation => "What was asked for, and by whom",
        Topic::Context => "Who ran, in which call",
        Topic::Vector => "Why this vector",
        Topic::Others => "Which other crashes share it",
        Topic::Alternatives => "What would have to be true for another explanation",
        Topic::Unknown => "Not known",
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Length => "bLength",
        Part::Type => "bDescriptorType",
        Part::Character => "UTF-16 character",
        Part::Ascii => "ASCII character",
        Part::Language => "wLANGID",
        Part::Opaque => "not known",
    }
}

fn hypothesis(what: Hypothesis) -> &'static str {
    match what {
        Hypothesis::LateDma => {
            "The host controller wrote the buffer once more after it had been freed"
        }
        Hypothesis::EarlyFree => "A driver freed the buffer while the transfer was under way",
        Hypothesis::SoftwareRaw => "The CPU copied the whole descriptor into freed memory",
        Hypothesis::SoftwareText => "The CPU wrote the text into freed memory",
        Hypothesis::Overrun => "The object before was overrun",
        Hypothesis::BitFlip => "A bit flipped in memory",
        Hypothesis::WrongRegisters => "These are not the registers of the fault",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Supported => "supported",
        Standing::Refuted => "refuted",
        Standing::Undecided => "not decided by this evidence",
    }
}

fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Release => "kernel release",
        Missing::Task => "process",
        Missing::Exception => "exception",
        Missing::Registers => "registers",
        Missing::Place => "place",
        Missing::Instruction => "faulting instruction",
        Missing::Cache => "slab cache",
        Missing::Freelist => "freelist",
        Missing::Value => "what the value is",
        Missing::Size => "requested size",
        Missing::Flags => "allocation flags",
        Missing::Syscall => "system call",
        Missing::Frames => "call chain",
        Missing::Kaslr => "KASLR",
        Missing::Note => "note",
    }
}

fn subject(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Vmcore => "a vmcore",
        SubjectKind::Transcript => "a crash session, as text",
        SubjectKind::Console => "a kernel log",
    }
}

fn label(label: Label) -> &'static str {
    match label {
        Label::Title => "Account of a crash",
        Label::From => "From",
        Label::Slot => "slot",
        Label::StackAddress => "stack address",
        Label::Value => "value",
        Label::Line => "line",
        Label::Offset => "offset",
        Label::Bytes => "bytes",
        Label::What => "what",
        Label::Frame => "function, innermost first",
        Label::Inlined => "inlined",
        Label::More => "more pieces of evidence",
        Label::Unknown => "not shown",
        Label::Nothing => "Nothing is known of this crash.",
    }
}
