//! Walks over the lines of one report and gives each to the module that reads it.
//!
//! It decides which context registers belong to: the kernel's at the exception, user space's at the system call, or
//! one that is repeated or foreign.
use super::openings::{ENDS, KNOWN, marker};
use super::place::{frame, place};
use super::registers::{Register, registers};
use super::text::Texts;
use super::{At, Details, Place, code, headline, who};
use crate::report::{Kind, Report};

/// Deeper than any kernel stack (16 KiB hold 2048 words).
const MOST_FRAMES: usize = 2048;
/// So much is told of what is lost; the rest is counted.
const MOST_LOST: usize = 100;
/// Which registers `__show_regs` always prints.
const ALWAYS: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// Whose registers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// None has begun.
    None,
    /// Those of the exception.
    Kernel,
    /// Those of user space at the system call.
    User,
    /// The exception's once more, after `---[ end trace`.
    Repeated,
    /// Another one's: an interrupted context below, another CPU.
    Foreign,
}

struct Walk {
    details: Details,
    context: Context,
    /// In a call trace, whose frames are kept.
    tracing: bool,
    stack: Option<String>,
    /// The exception's context was opened by a line outside of a trace, and no trace has followed it yet.
    trace_expected: bool,
    /// A trace has begun.
    traced: bool,
    /// A stack of something else than the exception follows: who allocated, who holds a lock.
    aside: bool,
    /// The last line was `Modules linked in:` or went on with it, and was as long as a record can be.
    modules_go_on: bool,
    /// `IP:` of a paging request before 4.11, which is what `RIP:` says.
    early_rip: Option<At<Place>>,
    untold: usize,
}

/// Everything that the lines of a report print.
pub(super) fn walk(texts: &Texts<'_>, report: &Report) -> Details {
    let mut walk = Walk {
        details: Details::default(),
        context: Context::None,
        tracing: false,
        stack: None,
        trace_expected: false,
        traced: false,
        aside: false,
        modules_go_on: false,
        early_rip: None,
        untold: 0,
    };
    walk.details
        .lost
        .extend(texts.lost.iter().take(MOST_LOST).cloned());
    for text in &texts.lines {
        walk.line(&text.text, text.number);
    }
    walk.finish(report)
}

impl Walk {
    fn line(&mut self, text: &str, line: usize) {
        let long = text.len() > 700;
        if std::mem::take(&mut self.modules_go_on) && who::modules(text, true, &mut self.details) {
            self.modules_go_on = long;
            return;
        }
        let text = text.trim_end();
        let begun = text.trim_start();
        let body = begun
            .strip_prefix("Call Trace:")
            .or_else(|| begun.strip_prefix("Call trace:"));
        // KFENCE's stacks have a line of their own before them (mm/kfence/report.c, `kfence_report_error`).
        let fenced = begun.contains("kfence-#") && begun.ends_with("):");
        if let Some(rest) = body.or_else(|| fenced.then_some("")) {
            self.begin_trace(rest, line);
        } else if let Some(rest) = begun
            .strip_prefix("RIP:")
            .or_else(|| begun.strip_prefix("RIP "))
        {
            self.rip(rest, line);
        } else if let Some(bytes) = begun.strip_prefix("Code:") {
            self.code(bytes, line);
        } else if let Some(rest) = begun.strip_prefix("IP: ") {
            let found = place(rest).map(|value| At { value, line });
            self.early_rip = self.early_rip.take().or(found);
        } else if let Some(name) = begun.strip_prefix("Hardware name:") {
            self.hardware(name, line);
        } else if begun.starts_with("Modules linked in:") {
            self.tracing = false;
            if self.details.modules.is_empty() && who::modules(begun, false, &mut self.details) {
                self.modules_go_on = long;
            }
        } else if self.frame_or_marker(text, line) || who::task(begun, line, &mut self.details) {
            // Read.
        } else {
            self.other(begun, line);
        }
    }

    /// A headline, registers, or a line that is none of an oops.
    fn other(&mut self, text: &str, line: usize) {
        let known = self.details.exception.as_ref();
        if let Some(value) = headline::exception(text, known.map(|known| &known.value)) {
            let line = known.map_or(line, |known| known.line);
            self.details.exception = Some(At { value, line });
            return;
        }
        let found = registers(text);
        if !found.is_empty() {
            return self.registers(found, line);
        }
        if ENDS.iter().any(|words| text.starts_with(words)) {
            self.tracing = false;
            self.aside |= !text.starts_with("---[") && !text.starts_with("Kernel panic");
            return;
        }
        self.stranger(text, line);
    }

    /// A line that should not stand here, where one of the registers or the trace should.
    fn stranger(&mut self, text: &str, line: usize) {
        let have = |name: &str| {
            self.details
                .registers
                .iter()
                .any(|register| register.value.0 == name)
        };
        let between = self.context == Context::Kernel && !have("r15");
        let known = KNOWN.iter().any(|words| text.starts_with(words));
        let stack_words = text.split_ascii_whitespace().all(|word| word.len() == 16);
        if (self.tracing || between) && !known && !stack_words && !text.is_empty() {
            let said: String = text.chars().take(60).collect();
            self.lose(format!("line {line} does not continue the oops: {said}"));
        }
    }

    fn lose(&mut self, what: String) {
        match self.details.lost.len() < MOST_LOST {
            true => self.details.lost.push(what),
            false => self.untold += 1,
        }
    }

    fn hardware(&mut self, name: &str, line: usize) {
        let value = name.trim().to_owned();
        if self.details.hardware.is_none() && !value.is_empty() {
            self.details.hardware = Some(At { value, line });
        }
    }

    /// `0010:func+0x1/0x2`, `0033:0x7f…`, `0010:[<…>]  [<…>] func+…`, and what 4.10 to 4.17 repeat at the end:
    /// `func+0x1/0x2 RSP: ffff…`.
    fn rip(&mut self, text: &str, line: usize) {
        let text = text.trim();
        let (selector, rest) = match text.split_once(':') {
            Some((selector, rest)) if selector.len() == 4 => (super::place::hex(selector), rest),
            _ => (None, text),
        };
        if selector.is_some_and(|selector| selector & 3 == 3) {
            return self.user_rip(selector, rest, line);
        }
        let Some(found) = place(rest) else {
            return self.lose(format!(
                "line {line}: RIP is cut off or altered: {}",
                head(text)
            ));
        };
        if self.tracing {
            self.interrupted(&found, line);
        }
        match &self.details.rip {
            Some(first) if same_place(&first.value, &found) => self.context = Context::Repeated,
            Some(_) => self.context = Context::Foreign,
            None if selector.is_none() && self.context == Context::Kernel => {
                self.found_rip(None, found, line)
            }
            None => {
                self.context = Context::Kernel;
                self.found_rip(selector, found, line);
            }
        }
    }

    fn found_rip(&mut self, selector: Option<u64>, found: Place, line: usize) {
        self.trace_expected = !self.tracing;
        if let Some(cs) = selector {
            self.details.registers.push(register("cs", cs, line));
        }
        if let Some(address) = found.address {
            self.details.registers.push(register("rip", address, line));
        }
        self.details.rip = Some(At { value: found, line });
    }

    /// `RIP:` within a trace stands where the interrupted function's own line would be
    /// (arch/x86/kernel/dumpstack.c, `show_regs_if_on_stack`).
    fn interrupted(&mut self, found: &Place, line: usize) {
        let value = super::Frame {
            place: found.clone(),
            reliable: true,
            stack: self.stack.clone(),
            inlined: false,
            source: None,
        };
        self.push_frame(At { value, line });
    }

    fn user_rip(&mut self, selector: Option<u64>, rest: &str, line: usize) {
        self.tracing = false;
        if !self.details.user_registers.is_empty() {
            self.context = Context::Foreign;
            return;
        }
        self.context = Context::User;
        if let Some(cs) = selector {
            self.details.user_registers.push(register("cs", cs, line));
        }
        match place(rest).and_then(|found| found.address) {
            Some(address) => self
                .details
                .user_registers
                .push(register("rip", address, line)),
            None => self.lose(format!(
                "line {line}: user space's RIP is cut off or altered"
            )),
        }
    }

    /// Since 4.18 the bytes follow `RIP:` directly; before, they end the oops, also behind user space's registers.
    fn code(&mut self, text: &str, line: usize) {
        self.tracing = false;
        let users = &self.details.user_registers;
        let past = users.iter().any(|register| register.value.0 == "rsp");
        let foreign = self.context == Context::Foreign || self.context == Context::User && !past;
        if foreign || self.details.code.is_some() {
            return;
        }
        let (value, lost) = code::code(text);
        self.details.code = value.map(|value| At { value, line });
        if let Some(lost) = lost.filter(|_| self.context != Context::Repeated) {
            self.lose(format!("line {line}: {lost}"));
        }
    }

    fn registers(&mut self, found: Vec<Register>, line: usize) {
        let user = found
            .iter()
            .any(|register| register.name == "ss" && register.value.is_some_and(|ss| ss & 3 == 3));
        if user && self.context != Context::User && self.context != Context::Foreign {
            self.lose(format!(
                "line {line}: the RIP: line of user space's registers is missing"
            ));
            self.tracing = false;
            let first = self.details.user_registers.is_empty();
            self.context = if first {
                Context::User
            } else {
                Context::Foreign
            };
        }
        if self.context == Context::None {
            self.context = Context::Kernel;
        }
        for register in found {
            self.register(&register, line);
        }
    }

    fn register(&mut self, found: &Register, line: usize) {
        let name = found.name;
        // FS, CR2 … are printed by the exception's block alone; behind user space's registers they are nobody's.
        let user = self.context == Context::User;
        let slot = match self.context {
            Context::Foreign | Context::None => return,
            Context::User => &mut self.details.user_registers,
            Context::Kernel | Context::Repeated => &mut self.details.registers,
        };
        let known = slot.iter().find(|register| register.value.0 == name);
        match (found.value, known.map(|known| known.value.1)) {
            (Some(value), None) => slot.push(register(name, value, line)),
            (Some(value), Some(known))
                if value != known && self.context == Context::Kernel && name != "cs" =>
            {
                self.lose(format!(
                    "line {line}: {name} is {value:#x} here and {known:#x} before: of another CPU?"
                ));
            }
            (None, None) => {
                let whose = if user { "user space's " } else { "" };
                self.lose(format!("line {line}: {whose}{name} is cut off or altered"));
            }
            _ => {}
        }
    }

    fn begin_trace(&mut self, rest: &str, line: usize) {
        // The trace of the exception's own context is the one that follows its registers.
        let better = self.trace_expected && self.traced;
        // Two CPUs that die at once print two headers before the first frame.
        let empty = self.tracing && self.details.frames.is_empty();
        self.tracing = !self.traced || better || empty;
        self.trace_expected &= !self.tracing;
        self.aside |= !self.tracing;
        if better {
            self.details.frames.clear();
        }
        if self.tracing {
            (self.traced, self.aside, self.stack) = (true, false, None);
        }
        if !rest.trim().is_empty() {
            self.frame_or_marker(rest, line);
        }
    }

    /// A frame, `<IRQ>`, or both on one line.
    fn frame_or_marker(&mut self, text: &str, line: usize) -> bool {
        let (mut rest, mut marked) = (text, false);
        // 4: ends and begins of stacks on one line, as 3.x prints them.
        for _ in 0..4 {
            let Some((stack, after)) = marker(rest) else {
                break;
            };
            if self.tracing {
                self.stack = stack.map(str::to_owned);
            }
            (rest, marked) = (after, true);
        }
        // A marker that did not end its line is followed by the next record's time.
        let rest = if marked {
            crate::lines::line(line, rest.trim_start()).text
        } else {
            rest
        };
        let Some(value) = frame(rest, self.stack.as_deref()) else {
            return marked;
        };
        let headless = !self.traced && !self.aside && self.trace_expected && text.starts_with(' ');
        if headless && value.place.size.is_some() {
            self.lose(format!(
                "line {line}: the call trace begins without its header"
            ));
            (self.tracing, self.traced, self.trace_expected) = (true, true, false);
        }
        if self.tracing {
            self.push_frame(At { value, line });
        }
        true
    }

    fn push_frame(&mut self, frame: At<super::Frame>) {
        match self.details.frames.len() < MOST_FRAMES {
            true => self.details.frames.push(frame),
            false => self.lose(format!("line {}: a frame beyond {MOST_FRAMES}", frame.line)),
        }
    }

    fn finish(mut self, report: &Report) -> Details {
        let excepted = matches!(
            report.kind,
            Kind::Exception | Kind::PagingRequest | Kind::NullDereference | Kind::Bug
        );
        if self.details.rip.is_none() {
            self.details.rip = self.early_rip.take();
        }
        let opened = self.details.rip.is_some() || !self.details.registers.is_empty();
        if opened || excepted {
            self.missing();
        }
        // Lines of tasks and modules tell for themselves.
        self.untold += self.details.lost.len().saturating_sub(2 * MOST_LOST);
        self.details.lost.truncate(2 * MOST_LOST);
        if self.untold > 0 {
            self.details
                .lost
                .push(format!("{} more are not listed", self.untold));
        }
        self.details
    }

    /// What every oops of x86-64 prints and is not there.
    fn missing(&mut self) {
        if self.details.rip.is_none() {
            self.lose("RIP is not there".to_owned());
        }
        let have = |name: &&&str| {
            self.details
                .registers
                .iter()
                .any(|register| register.value.0 == **name)
        };
        let absent: Vec<&str> = ALWAYS.iter().filter(|name| !have(name)).copied().collect();
        if !absent.is_empty() {
            self.lose(format!("not there: {}", absent.join(", ")));
        }
        let told = |words: &str| self.details.lost.iter().any(|lost| lost.contains(words));
        if self.details.code.is_none() && !told("Code:") {
            self.lose("Code: is not there".to_owned());
        }
        if self.details.frames.is_empty() {
            self.lose("no frame of a call trace is there".to_owned());
        }
    }
}

fn register(name: &str, value: u64, line: usize) -> At<(String, u64)> {
    At {
        value: (name.to_owned(), value),
        line,
    }
}

fn head(text: &str) -> String {
    text.chars().take(60).collect()
}

/// One of the two may print no address.
fn same_place(one: &Place, other: &Place) -> bool {
    let named = one.symbol == other.symbol && one.offset == other.offset && one.symbol.is_some();
    named || one.address.is_some() && one.address == other.address
}
