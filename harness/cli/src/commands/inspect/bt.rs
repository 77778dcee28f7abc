//! `bt`: stacks, in crash's layout. What the panic path itself called (machine_kexec and so on) is not shown: the
//! registers that the dump saved are those of the moment before.
use anyhow::anyhow;
use recrash_kernel::regs::PtRegs;
use recrash_kernel::stacks::StackKind;
use recrash_kernel::task::{self, Task};
use recrash_kernel::unwind::{self, Backtrace, CodeAddr, Frame, FrameSource};
use recrash_kernel::{Kernel, Object};
use recrash_vmcore::{VirtAddr, VirtMem as _};
use serde::Serialize;

use super::super::Outcome;
use super::reply::{Hex, Reply, clean};
use super::session::Session;
use super::source::{self, SourceLine};
use super::task as which;
use crate::failure::Failure;

/// Words of one frame with `-f`: a stack is at most 32 KiB.
const MAX_WORDS: u64 = 4096;

/// Shows the stack of the task that crashed, of others, or of all CPUs.
///
/// A function that an exception or interrupt struck is shown as [exception RIP: ...] with its registers, the frames
/// around it are numbered. Frames that were guessed are marked with a question mark.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tasks that the CPUs ran
    #[arg(short, conflicts_with_all = ["everyone", "tasks", "cpu"])]
    all_cpus: bool,
    /// Every task there is
    #[arg(long = "all", conflicts_with_all = ["tasks", "cpu"])]
    everyone: bool,
    /// The task that this CPU ran
    #[arg(short, value_name = "CPU", conflicts_with = "tasks")]
    cpu: Option<u32>,
    /// The words on the stack below each frame
    #[arg(short)]
    full: bool,
    /// File and line of each frame
    #[arg(short)]
    lines: bool,
    /// Offset into each function
    #[arg(short)]
    symbol_offsets: bool,
    /// Offsets in hexadecimal
    #[arg(short = 'x')]
    hexadecimal: bool,
    /// How each frame was found
    #[arg(long)]
    how: bool,
    /// Pids, or addresses of task_struct
    #[arg(value_name = "PID|TASK")]
    tasks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Traces {
    tasks: Vec<Trace>,
    #[serde(skip)]
    style: Style,
}

/// How the text looks.
#[derive(Debug, Clone, Copy)]
struct Style {
    full: bool,
    lines: bool,
    offsets: bool,
    hexadecimal: bool,
    how: bool,
}

#[derive(Debug, Serialize)]
struct Trace {
    pid: i32,
    comm: String,
    task: Hex,
    cpu: Option<u32>,
    state: Option<&'static str>,
    /// Innermost first; functions struck by exceptions are among them.
    frames: Vec<Row>,
    /// Registers in kernel mode met on the way.
    exceptions: Vec<Registers>,
    /// The registers with which user space entered the kernel.
    user: Option<Registers>,
    /// Why the stack ends where it does.
    end: String,
    /// Whether the last frame, by registers and tables alone, is the outermost.
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    pc: Hex,
    sp: Hex,
    symbol: Option<String>,
    offset: Option<u64>,
    module: Option<String>,
    /// How it was found.
    source: &'static str,
    trusted: bool,
    stack: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    /// Functions inlined at this place, innermost first, with where each of them was at that moment.
    inlined: Vec<SourceLine>,
    /// The frame's own function, where it called what was inlined.
    #[serde(skip)]
    own: Option<SourceLine>,
    /// With `-f`: the words from `sp` up to the next frame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<Hex>,
    #[serde(skip)]
    slot: u64,
    /// An exception or interrupt struck here: its registers.
    #[serde(skip)]
    struck: Option<Registers>,
    #[serde(skip)]
    kind: Option<StackKind>,
}

#[derive(Debug, Clone, Serialize)]
struct Registers {
    /// Where they lie; absent for those from the dump's notes.
    at: Option<Hex>,
    registers: std::collections::BTreeMap<&'static str, Hex>,
}

impl Args {
    pub(super) fn run(self, session: &Session<'_>) -> Outcome {
        let kernel = session.kernel()?;
        let mut missing = Vec::new();
        let tasks = self.tasks(session, &mut missing)?;
        let mut traces = Vec::new();
        for task in &tasks {
            match unwind::of_task(kernel, task) {
                Ok(trace) => {
                    traces.push(self.trace(kernel, task, &trace, session.json(), &mut missing))
                }
                Err(why) => {
                    missing.push(format!("stack of task {} ({}): {why}", task.pid, task.comm));
                    traces.push(untraced(task, why.to_string()));
                }
            }
        }
        if traces
            .iter()
            .all(|trace| trace.frames.is_empty() && trace.user.is_none())
        {
            return Err(session.nothing(missing.join("; ")));
        }
        let style = Style {
            full: self.full,
            lines: self.lines,
            offsets: self.symbol_offsets || self.hexadecimal,
            hexadecimal: self.hexadecimal,
            how: self.how,
        };
        session.show(
            &Traces {
                tasks: traces,
                style,
            },
            &missing,
        )
    }

    fn tasks(
        &self,
        session: &Session<'_>,
        missing: &mut Vec<String>,
    ) -> Result<Vec<Task>, Failure> {
        let kernel = session.kernel()?;
        if self.everyone {
            let (tasks, gaps) = task::tasks(kernel);
            missing.extend(gaps.iter().map(ToString::to_string));
            return Ok(tasks);
        }
        if self.all_cpus {
            return all_cpus(session, kernel, missing);
        }
        if let Some(cpu) = self.cpu {
            if kernel.cpu_count().is_ok_and(|count| cpu >= count) {
                return Err(Failure::usage(anyhow!("there is no CPU {cpu}")));
            }
            let task = which::on_cpu(kernel, cpu).map_err(|why| session.nothing(why))?;
            return Ok(vec![task]);
        }
        if self.tasks.is_empty() {
            let (task, why) = which::crashed(kernel);
            if let Some(why) = why {
                missing.push(format!(
                    "no CPU is known to have crashed, so CPU 0 is shown: {why}"
                ));
            }
            return Ok(vec![task.map_err(|why| session.nothing(why))?]);
        }
        let mut found = Vec::new();
        let mut failure = None;
        for text in &self.tasks {
            match which::find(session, text) {
                Ok(tasks) => found.extend(tasks),
                Err(error) => {
                    missing.push(error.chain());
                    failure = failure.or(Some(error));
                }
            }
        }
        match failure {
            Some(failure) if found.is_empty() => Err(failure),
            _ => Ok(found),
        }
    }

    fn trace(
        &self,
        kernel: &Kernel<'_>,
        task: &Task,
        trace: &Backtrace,
        json: bool,
        missing: &mut Vec<String>,
    ) -> Trace {
        let saved = task
            .cpu
            .filter(|_| {
                trace
                    .frames
                    .first()
                    .is_some_and(|f| f.source == FrameSource::Registers)
            })
            .and_then(|cpu| unwind::saved_regs(kernel, cpu).ok())
            .map(|saved| registers(None, &saved.regs));
        let mut frames: Vec<Row> = trace
            .frames
            .iter()
            .map(|frame| row(kernel, trace, frame, saved.as_ref()))
            .collect();
        for (row, frame) in frames.iter_mut().zip(&trace.frames) {
            if self.lines || json {
                locate(kernel, frame, row, self.lines, missing);
            }
        }
        if self.full {
            stack_words(kernel, trace, &mut frames);
        }
        switched(kernel, task, trace, &mut frames);
        let guessed = trace.fallback.as_ref().and_then(|fallback| fallback.user);
        Trace {
            frames,
            exceptions: trace
                .exceptions
                .iter()
                .map(|(at, regs)| registers(Some(*at), regs))
                .collect(),
            user: trace.user.or(guessed).map(|regs| registers(None, &regs)),
            complete: matches!(trace.end, unwind::End::User | unwind::End::Outermost),
            ..untraced(task, trace.end.to_string())
        }
    }
}

/// Of a task that sleeps crash shows where the context switch left the stack pointer.
fn switched(kernel: &Kernel<'_>, task: &Task, trace: &Backtrace, frames: &mut [Row]) {
    let sleeps = trace.frames.first().map(|frame| frame.source) == Some(FrameSource::SwitchFrame);
    let sp = Object::new(kernel, "task_struct", task.at).u64("thread.sp");
    if let (true, Some(first), Ok(sp)) = (sleeps, frames.first_mut(), sp) {
        first.slot = sp;
    }
}

fn all_cpus(
    session: &Session<'_>,
    kernel: &Kernel<'_>,
    missing: &mut Vec<String>,
) -> Result<Vec<Task>, Failure> {
    let count = kernel.cpu_count().map_err(|why| session.nothing(why))?;
    let running = task::running(kernel);
    for cpu in 0..count {
        if !running.iter().any(|task| task.cpu == Some(cpu))
            && let Err(why) = task::current(kernel, cpu)
        {
            missing.push(format!("the task of CPU {cpu}: {why}"));
        }
    }
    Ok(running.to_vec())
}

fn untraced(task: &Task, why: String) -> Trace {
    Trace {
        pid: task.pid,
        comm: task.comm.clone(),
        task: task.at.into(),
        cpu: task.cpu,
        state: task.state.map(|state| state.letters()),
        frames: Vec::new(),
        exceptions: Vec::new(),
        user: None,
        end: why,
        complete: false,
    }
}

fn registers(at: Option<VirtAddr>, regs: &PtRegs) -> Registers {
    Registers {
        at: at.map(Hex::from),
        registers: regs
            .iter()
            .map(|(name, value)| (name, Hex(value)))
            .collect(),
    }
}

fn row(kernel: &Kernel<'_>, trace: &Backtrace, frame: &Frame, saved: Option<&Registers>) -> Row {
    let struck = match frame.source {
        FrameSource::Registers => saved.cloned(),
        FrameSource::ExceptionRegs => frame.regs_at.and_then(|at| {
            let met = trace.exceptions.iter().find(|(known, _)| *known == at);
            met.map(|(at, regs)| registers(Some(*at), regs))
        }),
        _ => None,
    };
    // crash shows where the return address lies.
    let slot = match frame.pc {
        CodeAddr::Return(_) => frame.sp.0.wrapping_sub(8),
        CodeAddr::Interrupted(_) => frame.sp.0,
    };
    // The offset is that of the address shown, the symbol that of the call before it.
    let place = frame
        .place
        .clone()
        .or_else(|| kernel.place(frame.pc.lookup()));
    let behind = frame.pc.raw().0.wrapping_sub(frame.pc.lookup().0);
    Row {
        pc: frame.pc.raw().into(),
        sp: frame.sp.into(),
        symbol: place.as_ref().map(|place| place.symbol.clone()),
        offset: place
            .as_ref()
            .map(|place| place.offset.wrapping_add(behind)),
        module: place.and_then(|place| place.module),
        source: frame.source.label(),
        trusted: frame.source.is_trusted(),
        stack: frame.stack.map(|stack| stack.kind.to_string()),
        file: None,
        line: None,
        inlined: Vec::new(),
        own: None,
        words: Vec::new(),
        slot,
        struck,
        kind: frame.stack.map(|stack| stack.kind),
    }
}

/// File, line and inlined functions of a frame. Only `-l` asks loudly for them.
fn locate(
    kernel: &Kernel<'_>,
    frame: &Frame,
    row: &mut Row,
    asked: bool,
    missing: &mut Vec<String>,
) {
    match source::lines(kernel, frame.pc.lookup()) {
        Ok(mut lines) => {
            if let Some(own) = lines.first() {
                (row.file, row.line) = (Some(own.file.clone()), Some(own.line));
            }
            row.own = lines.pop();
            row.inlined = lines;
        }
        Err(why) if asked => {
            let line =
                format!("source lines: {why} (--debug-dir DIR or --vmlinux FILE names them)");
            if !missing.contains(&line) {
                missing.push(line);
            }
        }
        Err(_) => {}
    }
}

/// The words of each frame: from above its own slot up to the next frame's, as far as both are on one stack.
fn stack_words(kernel: &Kernel<'_>, trace: &Backtrace, frames: &mut [Row]) {
    let slots: Vec<u64> = frames.iter().map(|row| row.slot).collect();
    for (index, (row, frame)) in frames.iter_mut().zip(&trace.frames).enumerate() {
        let next = slots.get(index.saturating_add(1));
        let stack = frame.stack.map(|stack| (stack.low.0, stack.high.0));
        let same = |at: &u64| stack.is_none_or(|(low, high)| (low..high).contains(at));
        let end = match next.filter(|at| same(at)) {
            Some(next) => next.wrapping_add(8),
            None => continue,
        };
        let count = end.saturating_sub(row.sp.0) / 8;
        row.words = (0..count.min(MAX_WORDS))
            .map_while(|index| {
                let at = row.sp.0.wrapping_add(index * 8);
                kernel.memory().u64_at(VirtAddr(at)).ok().map(Hex)
            })
            .collect();
    }
}

impl Reply for Traces {
    const KIND: &'static str = "bt";

    fn text(&self) -> String {
        let shown: Vec<String> = self
            .tasks
            .iter()
            .map(|trace| self.style.trace(trace))
            .collect();
        shown.join("\n")
    }
}

/// crash's name for a stack that is not the task's.
fn stack_name(kind: StackKind) -> Option<&'static str> {
    Some(match kind {
        StackKind::Task => return None,
        StackKind::Irq => "IRQ stack",
        StackKind::Entry => "entry trampoline stack",
        StackKind::DoubleFault => "DOUBLEFAULT exception stack",
        StackKind::Nmi => "NMI exception stack",
        StackKind::Debug => "DEBUG exception stack",
        StackKind::MachineCheck => "MCE exception stack",
        StackKind::Vc | StackKind::VcFallback => "VC exception stack",
    })
}

impl Style {
    fn trace(self, trace: &Trace) -> String {
        let cpu = trace.cpu.map_or_else(|| "?".into(), |cpu| cpu.to_string());
        let mut text = format!(
            "PID: {:<8} TASK: {:x}  CPU: {cpu:<4} COMMAND: \"{}\"\n",
            trace.pid,
            trace.task.0,
            clean(&trace.comm)
        );
        let mut number = 0;
        let mut last: Option<&Row> = None;
        let mut guessing = false;
        for row in &trace.frames {
            let left = last
                .and_then(|last| last.kind)
                .filter(|kind| row.kind != Some(*kind));
            if let Some(struck) = &row.struck {
                self.struck(row, struck, &mut text);
            }
            if let Some(name) = left.and_then(stack_name) {
                text.push_str(&format!("--- <{name}> ---\n"));
            }
            if !row.trusted && !guessing {
                text.push_str(&format!("--- guesses: {} ---\n", clean(&trace.end)));
                guessing = true;
            }
            if row.struck.is_none() || left.is_some() {
                self.numbered(number, row, &mut text);
                number += 1;
            }
            if self.full {
                words(row, &mut text);
            }
            last = Some(row);
        }
        if let Some(user) = &trace.user {
            text.push_str(&register_block(user));
        }
        if !trace.complete {
            text.push_str(&format!("    (ends: {})\n", clean(&trace.end)));
        }
        text
    }

    fn name(self, row: &Row, with_offset: bool) -> String {
        let Some(symbol) = &row.symbol else {
            return "(unknown)".into();
        };
        match row.offset.filter(|_| with_offset) {
            Some(offset) if self.hexadecimal => format!("{}+{offset:#x}", clean(symbol)),
            Some(offset) => format!("{}+{offset}", clean(symbol)),
            None => clean(symbol),
        }
    }

    fn numbered(self, number: usize, row: &Row, text: &mut String) {
        let module = match &row.module {
            Some(module) => format!(" [{}]", clean(module)),
            None => String::new(),
        };
        let mark = if row.trusted { "" } else { "? " };
        let how = if self.how {
            format!("  ({})", row.source)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{:>3} [{:x}] {mark}{} at {:x}{module}{how}\n",
            format!("#{number}"),
            row.slot,
            self.name(row, self.offsets),
            row.pc.0
        ));
        self.source_line(row, text);
    }

    fn struck(self, row: &Row, registers: &Registers, text: &mut String) {
        let module = match &row.module {
            Some(module) => format!(" [{}]", clean(module)),
            None => String::new(),
        };
        text.push_str(&format!(
            "    [exception RIP: {}{module}]\n",
            self.name(row, true)
        ));
        text.push_str(&register_block(registers));
        self.source_line(row, text);
    }

    fn source_line(self, row: &Row, text: &mut String) {
        if !self.lines {
            return;
        }
        // Where the frame's own function was, after what was inlined into it.
        let mut within = None;
        for inlined in &row.inlined {
            let (function, file) = (clean(&inlined.function), clean(&inlined.file));
            text.push_str(&format!(
                "    {file}: {} (inlined {function})\n",
                inlined.line
            ));
            within = row.own.as_ref();
        }
        match (within, &row.file, row.line) {
            (Some(own), _, _) => {
                text.push_str(&format!("    {}: {}\n", clean(&own.file), own.line));
            }
            (None, Some(file), Some(line)) => {
                text.push_str(&format!("    {}: {line}\n", clean(file)));
            }
            _ => {}
        }
    }
}

fn words(row: &Row, text: &mut String) {
    for (index, pair) in row.words.chunks(2).enumerate() {
        let at = row.sp.0.wrapping_add(index as u64 * 16);
        let pair: Vec<String> = pair.iter().map(|word| format!("{:016x}", word.0)).collect();
        text.push_str(&format!("    {at:x}: {}\n", pair.join(" ")));
    }
}

/// The registers as crash lays them out.
fn register_block(registers: &Registers) -> String {
    let of = |name: &str| registers.registers.get(name).map_or(0, |value| value.0);
    let mut text = format!(
        "    RIP: {:016x}  RSP: {:016x}  RFLAGS: {:08x}\n",
        of("rip"),
        of("rsp"),
        of("rflags")
    );
    for names in [
        ["rax", "rbx", "rcx"],
        ["rdx", "rsi", "rdi"],
        ["rbp", "r8", "r9"],
        ["r10", "r11", "r12"],
        ["r13", "r14", "r15"],
    ] {
        let shown = names.map(|name| format!("{:>3}: {:016x}", name.to_uppercase(), of(name)));
        text.push_str(&format!("    {}\n", shown.join("  ")));
    }
    text.push_str(&format!(
        "    ORIG_RAX: {:016x}  CS: {:04x}  SS: {:04x}\n",
        of("orig_rax"),
        of("cs"),
        of("ss")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        full: false,
        lines: false,
        offsets: false,
        hexadecimal: false,
        how: false,
    };

    fn frame(symbol: &str, slot: u64, kind: StackKind) -> Row {
        Row {
            pc: Hex(0xffff_ffff_8100_0150),
            sp: Hex(slot + 8),
            symbol: Some(symbol.into()),
            offset: Some(80),
            module: None,
            source: "ORC",
            trusted: true,
            stack: Some(kind.to_string()),
            file: Some("fs/ioctl.c".into()),
            line: Some(51),
            inlined: Vec::new(),
            own: None,
            words: Vec::new(),
            slot,
            struck: None,
            kind: Some(kind),
        }
    }

    fn trace(frames: Vec<Row>) -> Trace {
        Trace {
            pid: 0,
            comm: "swapper/0".into(),
            task: Hex(0xffff_ffff_a5a1_aa40),
            cpu: Some(0),
            state: Some("RU"),
            frames,
            exceptions: Vec::new(),
            user: None,
            end: "outermost frame".into(),
            complete: true,
        }
    }

    fn check(style: Style, trace: &Trace, expected: &[&str]) {
        let text = style.trace(trace);
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("R1")).collect();
        assert_eq!(lines, expected);
    }

    const HEAD: &str = "PID: 0        TASK: ffffffffa5a1aa40  CPU: 0    COMMAND: \"swapper/0\"";

    #[test]
    fn a_frame_has_its_slot_function_and_address() {
        let one = trace(vec![frame(
            "__schedule",
            0xffff_c900_0000_3008,
            StackKind::Task,
        )]);
        check(
            PLAIN,
            &one,
            &[
                HEAD,
                " #0 [ffffc90000003008] __schedule at ffffffff81000150",
            ],
        );
        let all = Style {
            lines: true,
            offsets: true,
            how: true,
            ..PLAIN
        };
        check(
            all,
            &one,
            &[
                HEAD,
                " #0 [ffffc90000003008] __schedule+80 at ffffffff81000150  (ORC)",
                "    fs/ioctl.c: 51",
            ],
        );
    }

    #[test]
    fn a_function_struck_on_another_stack_is_numbered_behind_the_line_that_names_the_stack() {
        let mut struck = frame("native_safe_halt", 0xffff_ffff_a5a0_3e98, StackKind::Task);
        struck.struck = Some(registers(None, &PtRegs([0; 21])));
        let frames = vec![
            frame("exc_nmi", 0xffff_fe00_0000_ded0, StackKind::Nmi),
            struck,
        ];
        let text = PLAIN.trace(&trace(frames));
        let marks: Vec<&str> = text
            .lines()
            .filter(|line| line.contains('[') || line.contains("---"))
            .collect();
        assert_eq!(
            marks,
            [
                " #0 [fffffe000000ded0] exc_nmi at ffffffff81000150",
                "    [exception RIP: native_safe_halt+80]",
                "--- <NMI exception stack> ---",
                " #1 [ffffffffa5a03e98] native_safe_halt at ffffffff81000150",
            ]
        );
    }

    #[test]
    fn guesses_are_marked_and_an_end_too_early_is_told() {
        let mut guess = frame("vfs_read", 0xffff_c900_0000_3008, StackKind::Task);
        guess.trusted = false;
        let cut = Trace {
            complete: false,
            end: "no unwind rule for 0x1".into(),
            ..trace(vec![guess])
        };
        check(
            PLAIN,
            &cut,
            &[
                HEAD,
                "--- guesses: no unwind rule for 0x1 ---",
                " #0 [ffffc90000003008] ? vfs_read at ffffffff81000150",
                "    (ends: no unwind rule for 0x1)",
            ],
        );
    }

    #[test]
    fn words_are_shown_two_a_line() {
        let mut full = frame("f", 0xffff_c900_0000_2ff8, StackKind::Task);
        full.words = vec![Hex(1), Hex(2), Hex(3)];
        let style = Style {
            full: true,
            ..PLAIN
        };
        check(
            style,
            &trace(vec![full]),
            &[
                HEAD,
                " #0 [ffffc90000002ff8] f at ffffffff81000150",
                "    ffffc90000003000: 0000000000000001 0000000000000002",
                "    ffffc90000003010: 0000000000000003",
            ],
        );
    }

    #[test]
    fn registers_stand_where_crash_puts_them() {
        let mut slots = [0; 21];
        (slots[16], slots[10], slots[9]) = (0xffff_ffff_8100_0000, 0xab, 8);
        let block = register_block(&registers(None, &PtRegs(slots)));
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(
            lines[0],
            "    RIP: ffffffff81000000  RSP: 0000000000000000  RFLAGS: 00000000"
        );
        assert_eq!(
            lines[1],
            "    RAX: 00000000000000ab  RBX: 0000000000000000  RCX: 0000000000000000"
        );
        assert_eq!(
            lines[3],
            "    RBP: 0000000000000000   R8: 0000000000000008   R9: 0000000000000000"
        );
        assert_eq!(
            lines[6],
            "    ORIG_RAX: 0000000000000000  CS: 0000  SS: 0000"
        );
    }
}
