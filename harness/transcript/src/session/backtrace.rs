//! `bt`: heads, frames, exception blocks and registers.
use super::numbers::{address, hex, offset};
use crate::evidence::{Backtrace, Frame, RegisterBlock, Task};

/// Register names as crash prints them, and those of `pt_regs`.
const REGISTERS: [(&str, &str); 21] = [
    ("R15", "r15"),
    ("R14", "r14"),
    ("R13", "r13"),
    ("R12", "r12"),
    ("RBP", "rbp"),
    ("RBX", "rbx"),
    ("R11", "r11"),
    ("R10", "r10"),
    ("R9", "r9"),
    ("R8", "r8"),
    ("RAX", "rax"),
    ("RCX", "rcx"),
    ("RDX", "rdx"),
    ("RSI", "rsi"),
    ("RDI", "rdi"),
    ("ORIG_RAX", "orig_rax"),
    ("RIP", "rip"),
    ("CS", "cs"),
    ("RFLAGS", "rflags"),
    ("RSP", "rsp"),
    ("SS", "ss"),
];

/// `PID: 11941  TASK: ffff8f0bca5717c0  CPU: 10  COMMAND: "esdm-agent"`.
pub(super) fn task(text: &str, line: usize) -> Option<Task> {
    let rest = text.trim_start().strip_prefix("PID:")?;
    let (pid, rest) = word(rest)?;
    let rest = rest.trim_start().strip_prefix("TASK:")?;
    let (at, rest) = word(rest)?;
    let cpu = rest.trim_start().strip_prefix("CPU:").and_then(word);
    let rest = cpu.map_or(rest, |(_, rest)| rest);
    let comm = rest.trim_start().strip_prefix("COMMAND:").map(str::trim);
    Some(Task {
        pid: pid.parse().ok()?,
        address: address(at),
        cpu: cpu.and_then(|(cpu, _)| cpu.parse().ok()),
        comm: comm.and_then(quoted),
        line,
    })
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    (!word.is_empty()).then_some((word, rest))
}

/// The text within quotes; `None` where the closing one is cut off.
fn quoted(text: &str) -> Option<String> {
    let (inside, _) = text.strip_prefix('"')?.rsplit_once('"')?;
    Some(inside.to_owned())
}

/// ` #8 [ffffabfa4b0ebc70] usb_hcd_submit_urb at ffffffff845c5e52 [usbcore]`.
pub(super) fn frame(text: &str, line: usize) -> Option<Frame> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.strip_prefix('#')?.parse().ok()?;
    let at = address(words.next()?.strip_prefix('[')?.strip_suffix(']')?)?;
    // `bt -s` adds the offset: `machine_kexec+435`.
    let function = words.next()?.split('+').next()?.to_owned();
    let mut word = words.next()?;
    // A call that a jump left no frame of: `crash_kexec (via panic) at …`.
    if word == "(via" {
        words.next()?.strip_suffix(')')?;
        word = words.next()?;
    }
    let called = word == "at";
    let return_address = address(words.next().filter(|_| called)?)?;
    let module = words
        .next()
        .and_then(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Some(Frame {
        number,
        at,
        function,
        address: return_address,
        module: module.map(str::to_owned),
        source: None,
        line,
    })
}

/// `  [ffffabfa4b0ebc70] usb_hcd_submit_urb at ffffffff845c5e52 [usbcore]`: a word of the stack and its value, as `bt -t`
/// lists those that are text addresses.
pub(super) fn slot(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    let at = address(words.next()?.strip_prefix('[')?.strip_suffix(']')?)?;
    super::numbers::place(words.next()?)?;
    let called = words.next()? == "at";
    Some((at, address(words.next().filter(|_| called)?)?))
}

/// Whether a line begins as a frame does.
pub(super) fn looks_like_frame(text: &str) -> bool {
    let number = text
        .trim_start()
        .strip_prefix('#')
        .and_then(|rest| rest.split_once(" ["));
    number
        .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `[exception RIP: __kmalloc+171]`; the place is `None` where crash knows none.
pub(super) fn exception(text: &str) -> Option<Option<(String, Option<u64>)>> {
    let inside = text.trim_start().strip_prefix("[exception RIP:")?;
    let inside = inside
        .split_once(']')
        .map_or(inside, |(inside, _)| inside)
        .trim();
    let (symbol, offset_text) = inside.split_once('+').unwrap_or((inside, ""));
    Some(super::numbers::is_symbol(symbol).then(|| (symbol.to_owned(), offset(offset_text))))
}

/// `    RIP: 00007f0e33cdb2f7  RSP: 00007ffc0db68cc8  RFLAGS: 00000246`: every pair of the line, or nothing. crash puts
/// two blanks between pairs, the kernel's own log one: its lines are a block's only where they go on with it.
pub(super) fn registers(text: &str, in_block: bool) -> Option<Vec<(String, u64)>> {
    if !in_block && !text.trim().contains("  ") {
        return None;
    }
    let mut words = text.split_ascii_whitespace();
    let mut found = Vec::new();
    while let Some(label) = words.next() {
        let label = label.strip_suffix(':')?;
        let (_, name) = REGISTERS.iter().find(|(printed, _)| *printed == label)?;
        found.push(((*name).to_owned(), hex(words.next()?)?));
    }
    (!found.is_empty()).then_some(found)
}

/// Adds a frame to the last backtrace; one whose number does not grow begins another.
pub(super) fn add_frame(backtraces: &mut Vec<Backtrace>, frame: Frame) {
    let follows = |backtrace: &Backtrace| {
        let last = backtrace.frames.last();
        last.is_none_or(|last| last.number < frame.number)
    };
    if !backtraces.last().is_some_and(follows) {
        backtraces.push(Backtrace::default());
    }
    if let Some(backtrace) = backtraces.last_mut() {
        backtrace.frames.push(frame);
    }
}

/// Begins a block of registers.
pub(super) fn add_exception(
    backtraces: &mut Vec<Backtrace>,
    exception: Option<(String, Option<u64>)>,
    line: usize,
) {
    last(backtraces).registers.push(RegisterBlock {
        exception: Some(exception.unwrap_or_default()),
        registers: Vec::new(),
        line,
    });
}

/// Adds registers to the block that the line before belongs to, else to a new one.
pub(super) fn add_registers(
    backtraces: &mut Vec<Backtrace>,
    found: Vec<(String, u64)>,
    line: usize,
    continues: bool,
) {
    let blocks = &mut last(backtraces).registers;
    let repeats = |block: &RegisterBlock| {
        let mut names = block.registers.iter().map(|(name, ..)| name);
        names.any(|name| found.iter().any(|(new, _)| new == name))
    };
    if !continues || blocks.last().is_none_or(repeats) {
        blocks.push(RegisterBlock {
            line,
            ..RegisterBlock::default()
        });
    }
    if let Some(block) = blocks.last_mut() {
        block
            .registers
            .extend(found.into_iter().map(|(name, value)| (name, value, line)));
    }
}

fn last(backtraces: &mut Vec<Backtrace>) -> &mut Backtrace {
    if backtraces.is_empty() {
        backtraces.push(Backtrace::default());
    }
    let index = backtraces.len() - 1;
    #[expect(
        clippy::indexing_slicing,
        reason = "one was pushed where there was none"
    )]
    &mut backtraces[index]
}
