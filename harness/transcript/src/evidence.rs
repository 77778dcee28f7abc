//! What a text says, unweighed: each item with the line it stands on (1 the first line of the file).
use recrash_oops::{Details, Report};

/// Reads a text. Nothing in it is an error: what could not be read is told in [`Evidence::lost`].
#[must_use]
pub fn read(text: &str) -> Evidence {
    crate::log::with_reports(text).0
}

/// Everything that was recognised in one text. Commands may repeat and stand in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `sys`, or the banner of a session.
    pub system: System,
    /// `PID: … TASK: … CPU: … COMMAND: …`, one for each backtrace.
    pub tasks: Vec<Task>,
    /// Backtraces: `bt`, `bt -f`, `bt -a`, in the order of the text.
    pub backtraces: Vec<Backtrace>,
    /// `struct NAME ADDRESS`.
    pub structs: Vec<Struct>,
    /// `dis`, `dis -l`, `x/…i`.
    pub instructions: Vec<Instruction>,
    /// Words of memory: `rd`, `x/…gx`, and the stack words of `bt -f`.
    pub words: Vec<Word>,
    /// `vtop`.
    pub translations: Vec<Translation>,
    /// `kmem -s`, `kmem -S`.
    pub caches: Vec<Cache>,
    /// Oopses: of a console log, or of `log` in a session.
    pub oopses: Vec<(Report, Details)>,
    /// Lines that look like evidence and could not be read, and why.
    pub lost: Vec<Lost>,
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Line.
    pub line: usize,
    /// What was expected there.
    pub why: String,
}

/// The machine and how it died, each with its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// `RELEASE:`.
    pub release: Option<(String, usize)>,
    /// `PANIC:`, without quotes.
    pub panic: Option<(String, usize)>,
    /// `CPUS:`.
    pub cpus: Option<(u32, usize)>,
    /// `COMMAND:` of the banner.
    pub comm: Option<(String, usize)>,
    /// `PID:` of the banner.
    pub pid: Option<(u64, usize)>,
    /// `CPU:` of the banner.
    pub cpu: Option<(u32, usize)>,
    /// `DATE:`.
    pub date: Option<(String, usize)>,
}

/// The head of a backtrace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Process id.
    pub pid: u64,
    /// Address of its `task_struct`.
    pub address: Option<u64>,
    /// CPU.
    pub cpu: Option<u32>,
    /// Process name.
    pub comm: Option<String>,
    /// Line.
    pub line: usize,
}

/// One backtrace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backtrace {
    /// Index into [`Evidence::tasks`]; `None` where the head is cut off.
    pub task: Option<usize>,
    /// Frames as printed, innermost first.
    pub frames: Vec<Frame>,
    /// Blocks of registers: `[exception RIP: …]`, and those of user space at the end.
    pub registers: Vec<RegisterBlock>,
}

/// `#8 [ffffabfa4b0ebc70] usb_hcd_submit_urb at ffffffff845c5e52 [usbcore]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number.
    pub number: u32,
    /// Stack address.
    pub at: u64,
    /// Function as printed.
    pub function: String,
    /// Return address (or rip).
    pub address: u64,
    /// Module.
    pub module: Option<String>,
    /// `file: line` below it, with `-l`.
    pub source: Option<String>,
    /// Line.
    pub line: usize,
}

/// A block of registers in a backtrace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisterBlock {
    /// `[exception RIP: __kmalloc+171]`: symbol and offset; `None` for the registers of user space.
    pub exception: Option<(String, Option<u64>)>,
    /// Names as in `pt_regs` (`rax` … `r15`, `rip`, `rsp`, `rflags`, `orig_rax`, `cs`, `ss`), value, line.
    pub registers: Vec<(String, u64, usize)>,
    /// Line of its first line.
    pub line: usize,
}

/// `struct NAME ADDRESS { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struct {
    /// Type, without `struct`.
    pub name: String,
    /// Where it lies; `None` where the command line is cut off.
    pub address: Option<u64>,
    /// Members, in order; nested ones by path (`list.next`, `node[0]`).
    pub members: Vec<Member>,
    /// Line of the command or of the first line.
    pub line: usize,
    /// Its end was seen.
    pub whole: bool,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path.
    pub path: String,
    /// Value as printed.
    pub text: String,
    /// The value as a number, where it is one (hexadecimal or decimal, negative ones wrapped).
    pub number: Option<u64>,
    /// Line.
    pub line: usize,
}

/// `0xffffffff84287f8b <__kmalloc+171>: mov 0x0(%rbp,%rax,1),%rbx`, or the same decoded from code bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Address, where known.
    pub address: Option<u64>,
    /// Function and bytes from its start, where known.
    pub place: Option<(String, u64)>,
    /// AT&T text, white space normalised: `mov 0x0(%rbp,%rax,1),%rbx`.
    pub text: String,
    /// `file: line` above it, with `-l`.
    pub source: Option<String>,
    /// Line.
    pub line: usize,
}

/// One word of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Address.
    pub at: u64,
    /// Value, 8 bytes.
    pub value: u64,
    /// Line.
    pub line: usize,
}

/// `vtop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// Virtual address.
    pub virt: u64,
    /// Physical address; `None` where it says that it is not mapped.
    pub phys: Option<u64>,
    /// Line.
    pub line: usize,
}

/// A row of `kmem -s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Address of the `kmem_cache`.
    pub address: u64,
    /// Name.
    pub name: String,
    /// Object size, bytes.
    pub object_size: Option<u64>,
    /// Line.
    pub line: usize,
}
