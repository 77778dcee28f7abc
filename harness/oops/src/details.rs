//! What an x86-64 oops prints beside its headline. Line numbers are those of the log, 0 the first.
//!
//! The shapes and the way in. Which lines are read is decided by `text`, what a line is by `walk`, and each kind of
//! line has a module of its own. Where reports lie and what they are called is not decided here.
mod code;
mod headline;
mod openings;
mod place;
mod registers;
mod text;
mod walk;
mod who;

use crate::report::Report;
use crate::window::Start;

/// Everything that the lines of `report` print. Takes the time of one pass over `log` up to the report's end.
#[must_use]
pub fn details(log: &str, report: &Report) -> Details {
    let [details] = all(log, std::slice::from_ref(report))
        .try_into()
        .unwrap_or_default();
    details
}

/// The same for many reports of one log, in one pass over it where they are in order of their lines.
#[must_use]
pub fn all(log: &str, reports: &[Report]) -> Vec<Details> {
    let mut place = Start::default();
    reports
        .iter()
        .map(|report| {
            place = place.seek(log, report.lines.start);
            walk::walk(&text::of(log, place, &report.lines), report)
        })
        .collect()
}

/// A value and the line that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Line of the log, 0 the first.
    pub line: usize,
}

/// Everything that was found in the lines of one report. What is not there is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The exception that the headline names.
    pub exception: Option<At<Exception>>,
    /// CPU number.
    pub cpu: Option<At<u32>>,
    /// Process id.
    pub pid: Option<At<u64>>,
    /// Process name.
    pub comm: Option<At<String>>,
    /// Kernel release.
    pub release: Option<At<String>>,
    /// The machine's name (`Hardware name:`).
    pub hardware: Option<At<String>>,
    /// Where the CPU was: the first `RIP:` of kernel mode.
    pub rip: Option<At<Place>>,
    /// Registers of that context by the names of `pt_regs` (`rax` … `r15`, `rip`, `rsp`, `rflags`, `orig_rax`, `cs`,
    /// `ss`), and `cr2` and other control registers, `dr0` …, `pkru`, `fs_base`, `gs_base`, `kernel_gs_base`.
    pub registers: Vec<At<(String, u64)>>,
    /// Registers that user space had at the system call, from the last block.
    pub user_registers: Vec<At<(String, u64)>>,
    /// The bytes around the faulting instruction.
    pub code: Option<At<Code>>,
    /// The call trace, innermost first.
    pub frames: Vec<At<Frame>>,
    /// `Modules linked in:`, names only.
    pub modules: Vec<String>,
    /// What was expected there and is cut off or unreadable, one line each.
    pub lost: Vec<String>,
}

/// What the headline says of the exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Vector (Intel SDM volume 3A, table 6-1); `None` where the headline names none.
    pub vector: Option<u8>,
    /// The words before the colon.
    pub headline: String,
    /// The address it names.
    pub address: Option<u64>,
    /// It says that the address is not canonical.
    pub non_canonical: bool,
    /// The error code, for example `0002`.
    pub error_code: Option<u64>,
}

/// A place in code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Symbol as printed, suffixes kept; `None` where only an address is printed.
    pub symbol: Option<String>,
    /// Bytes from the symbol's start.
    pub offset: Option<u64>,
    /// Size of the symbol.
    pub size: Option<u64>,
    /// Module.
    pub module: Option<String>,
    /// Address, where printed.
    pub address: Option<u64>,
}

/// One line of the call trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The place.
    pub place: Place,
    /// False with a `?` before it: the address merely lies on the stack.
    pub reliable: bool,
    /// The stack it lies on: `IRQ`, `NMI`, `#DF`, `TASK`, …
    pub stack: Option<String>,
    /// Marked `[inline]`, as symbolised logs have it.
    pub inlined: bool,
    /// File and line that a symboliser added.
    pub source: Option<String>,
}

/// The `Code:` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Index of the byte at rip (in angle brackets); `None` where no byte is marked.
    pub rip: Option<usize>,
}
