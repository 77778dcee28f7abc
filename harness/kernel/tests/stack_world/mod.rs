//! A kernel that has stacks and little else, written from nothing: functions that call each other, unwind rules, two
//! CPUs with their own stacks, tasks on lists. Tests fill the stacks.
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_synth::elf_core::{ElfCore, note, prstatus};
use recrash_synth::kallsyms::{AddressFormat, tables};
use recrash_synth::orc::{OrcFormat, OrcRow, RowKind, sections};
use recrash_synth::paging::Machine;
use recrash_vmcore::Vmcore;

pub(crate) const TEXT: u64 = 0xffff_ffff_8100_0000;
const DATA: u64 = 0xffff_ffff_8200_0000;
const TABLES: u64 = 0xffff_ffff_8300_0000;
/// The per-CPU areas, one page for each CPU.
pub(crate) const PERCPU: u64 = 0xffff_8880_0010_0000;
const TASKS: u64 = 0xffff_8880_0020_0000;
const STACKS: u64 = 0xffff_c900_0000_0000;
const IRQ_STACKS: u64 = 0xffff_c900_1000_0000;
const EXCEPTION_STACKS: u64 = 0xffff_fe00_0000_9000;
/// Where a test may put what it likes.
pub(crate) const SCRATCH: u64 = 0xffff_8880_0030_0000;
pub(crate) const THREAD_SIZE: u64 = 0x4000;
const END_MAGIC: u64 = 0x57ac_6e9d;

/// Offset of the return address in each function that calls another: the call is the five bytes before.
pub(crate) const AFTER_CALL: u64 = 0x50;

/// Functions in the order of their addresses: rule, and the function that each calls.
const FUNCTIONS: [(&str, Rule, &str); 26] = [
    ("leaf", Rule::Call, ""),
    ("middle", Rule::Call, "leaf"),
    ("outer", Rule::Call, "middle"),
    ("do_syscall_64", Rule::Call, "outer"),
    (
        "entry_SYSCALL_64_after_hwframe",
        Rule::Regs,
        "do_syscall_64",
    ),
    ("irq_handler", Rule::Call, ""),
    ("common_interrupt", Rule::SwappedStack, "irq_handler"),
    ("asm_common_interrupt", Rule::Regs, "common_interrupt"),
    ("exc_nmi", Rule::Call, ""),
    ("asm_exc_nmi", Rule::Regs, "exc_nmi"),
    ("schedule", Rule::Call, ""),
    ("worker_thread", Rule::Call, "schedule"),
    ("kthread", Rule::Call, "worker_thread"),
    ("ret_from_fork_asm", Rule::End, "kthread"),
    ("no_rule", Rule::Undefined, ""),
    ("calls_no_rule", Rule::Call, "no_rule"),
    ("calls_through_pointer", Rule::Call, "*"),
    ("stale", Rule::Call, "leaf"),
    ("outer_of_no_rule", Rule::Call, "calls_no_rule"),
    ("realigned", Rule::R10, "leaf"),
    ("asm_exc_page_fault", Rule::Regs, "exc_page_fault"),
    ("exc_page_fault", Rule::Call, ""),
    ("entry_half_done", Rule::Iret, ""),
    ("return_to_handler", Rule::Undefined, ""),
    ("arch_rethook_trampoline", Rule::Undefined, ""),
    ("jumps_to_leaf", Rule::Call, ""),
];

#[derive(Clone, Copy)]
enum Rule {
    /// 16 bytes up, the return address in the upper word.
    Call,
    Regs,
    Iret,
    End,
    Undefined,
    /// The word at rsp is the other stack's pointer.
    SwappedStack,
    /// By r10.
    R10,
}

const VARIABLES: [&str; 10] = [
    "nr_cpu_ids",
    "panic_cpu",
    "__per_cpu_offset",
    "init_task",
    "modules",
    "prb",
    "log_buf",
    "log_buf_len",
    "log_first_idx",
    "log_next_idx",
];

/// Per-CPU variables with their offsets.
const PER_CPU: [(u64, &str); 6] = [
    (0x100, "current_task"),
    (0x108, "hardirq_stack_ptr"),
    (0x110, "cea_exception_stacks"),
    (0x118, "irq_stack_ptr"),
    (0x120, "orig_ist"),
    (0x200, "runqueues"),
];

pub(crate) fn function(name: &str) -> u64 {
    let index = FUNCTIONS.iter().position(|(known, ..)| *known == name);
    TEXT + index.unwrap() as u64 * 0x100
}

/// The address that a call in a function returns to.
pub(crate) fn after_call(name: &str) -> u64 {
    function(name) + AFTER_CALL
}

pub(crate) fn variable(name: &str) -> u64 {
    let index = VARIABLES.iter().position(|known| *known == name);
    DATA + index.unwrap() as u64 * 0x400
}

/// `task_struct` number `n`; number 0 is the first CPU's idle task, 1 the second's.
pub(crate) fn task(n: u64) -> u64 {
    if n == 0 {
        return variable("init_task");
    }
    TASKS + n * 0x400
}

/// Lowest address of that task's stack.
pub(crate) fn stack(n: u64) -> u64 {
    STACKS + n * 0x1_0000
}

/// The end of a CPU's IRQ stack.
pub(crate) fn irq_top(cpu: u64) -> u64 {
    IRQ_STACKS + cpu * 0x1_0000 + 0x4000
}

/// The end of a CPU's NMI stack.
pub(crate) fn nmi_top(cpu: u64) -> u64 {
    EXCEPTION_STACKS + cpu * 0x3_0000 + 0x5000
}

/// Registers in pt_regs order: only what a walk looks at.
pub(crate) fn regs(rip: u64, rsp: u64) -> [u64; 21] {
    let mut regs = [0; 21];
    (regs[16], regs[17], regs[19], regs[20]) = (rip, 0x10, rsp, 0x18);
    regs
}

/// Registers of user mode.
pub(crate) fn user_regs() -> [u64; 21] {
    let mut regs = regs(0x40_1000, 0x7ffc_0000_0000);
    (regs[15], regs[17], regs[20]) = (16, 0x33, 0x2b);
    regs
}

/// What a test may want to be otherwise.
pub(crate) struct World {
    pub(crate) machine: Machine,
    /// Process id, registers and gs_base of each note.
    pub(crate) notes: Vec<(u32, [u64; 21], u64)>,
    /// Lines of VMCOREINFO that come last.
    pub(crate) info: String,
    /// Whether there are unwind tables.
    pub(crate) orc: bool,
    /// Variables that have no symbol.
    pub(crate) hidden: Vec<&'static str>,
}

impl World {
    /// Two CPUs, four tasks: the idle ones (0 and 1), a process with two threads (2 and 3). CPU 0 runs task 2, CPU 1
    /// its idle task.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            machine: Machine::new(0x10_0000, false),
            notes: Vec::new(),
            info: String::new(),
            orc: true,
            hidden: vec!["log_buf", "irq_stack_ptr", "orig_ist"],
        };
        world.text();
        world.machine.write(DATA, &[0; 0x3000]);
        world.machine.write(SCRATCH, &[0; 0x2000]);
        world.words(variable("nr_cpu_ids"), &[2]);
        world.words(variable("__per_cpu_offset"), &[PERCPU, PERCPU + 0x1000]);
        world.words(variable("modules"), &[variable("modules")]);
        world.cpu(0, 2);
        world.cpu(1, 1);
        for (n, pid, comm) in [
            (0, 0, "swapper/0"),
            (1, 0, "swapper/1"),
            (2, 41, "agent"),
            (3, 42, "agent2"),
        ] {
            world.task(n, pid, comm);
        }
        world.lists();
        world
    }

    pub(crate) fn words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.machine.write(at, &bytes);
    }

    fn text(&mut self) {
        self.machine.write(TEXT, &[0x90; 0x2000]);
        for (name, _, callee) in FUNCTIONS {
            let call_at = function(name) + AFTER_CALL - 5;
            match callee {
                "" => {}
                "*" => self.machine.write(call_at + 3, &[0xff, 0xd0]),
                _ => self.branch(call_at, 0xe8, callee),
            }
        }
        self.branch(function("jumps_to_leaf") + 0x20, 0xe9, "leaf");
    }

    /// A call (0xe8) or jump (0xe9) to a function.
    pub(crate) fn branch(&mut self, at: u64, opcode: u8, to: &str) {
        let distance = function(to).wrapping_sub(at + 5) as u32;
        let mut bytes = vec![opcode];
        bytes.extend(distance.to_le_bytes());
        self.machine.write(at, &bytes);
    }

    fn cpu(&mut self, cpu: u64, current: u64) {
        let area = PERCPU + cpu * 0x1000;
        self.machine.write(area, &[0; 0x1000]);
        let exceptions = EXCEPTION_STACKS + cpu * 0x3_0000;
        self.words(area + 0x100, &[task(current), irq_top(cpu) - 8, exceptions]);
        self.words(area + 0x208, &[task(cpu)]);
        self.machine.write(irq_top(cpu) - 0x4000, &[0; 0x4000]);
        self.machine.write(exceptions + 0x1000, &[0; 0x1000]);
        self.machine.write(exceptions + 0x3000, &[0; 0x2000]);
    }

    fn task(&mut self, n: u64, pid: u64, comm: &str) {
        self.machine.write(task(n), &[0; 0x400]);
        self.words(task(n), &[pid | (pid.min(41) << 32)]);
        let mut name = [0; 16];
        name[..comm.len()].copy_from_slice(comm.as_bytes());
        self.machine.write(task(n) + 8, &name);
        self.words(task(n) + 24, &[stack(n)]);
        self.words(
            task(n) + 40,
            &[if n == 3 { 1 } else { 0 }, 0x20_0000 * u64::from(n < 2)],
        );
        self.machine.write(stack(n), &[0; THREAD_SIZE as usize]);
        self.words(stack(n), &[END_MAGIC]);
    }

    /// The list of processes has one, whose list of threads has two.
    fn lists(&mut self) {
        let (head, process) = (task(0) + 64, task(2) + 64);
        self.words(head, &[process, process]);
        self.words(process, &[head, head]);
        let (signal, first, second) = (SCRATCH + 0x1000, task(2) + 88, task(3) + 88);
        self.words(task(2) + 80, &[signal]);
        self.words(task(3) + 80, &[signal]);
        self.words(signal, &[first, second]);
        self.words(first, &[second, signal]);
        self.words(second, &[signal, first]);
        self.words(task(2) + 104, &[task(0)]);
        self.words(task(3) + 104, &[task(0)]);
    }

    /// Puts a task to sleep: what the context switch leaves at `sp`, and `sp` itself.
    pub(crate) fn sleep(&mut self, n: u64, sp: u64, returns_to: u64) {
        self.words(sp, &[0, 0, 0, 0, 0, 0, returns_to]);
        self.words(task(n) + 32, &[sp]);
    }

    /// Frames of 16 bytes, innermost first: each return address in the upper word. Gives the end.
    pub(crate) fn frames(&mut self, at: u64, returns: &[u64]) -> u64 {
        for (index, address) in returns.iter().enumerate() {
            self.words(at + 16 * index as u64 + 8, &[*address]);
        }
        at + 16 * returns.len() as u64
    }

    /// Where a chain of `frames` frames begins that ends with the registers of user mode at a task's stack's top.
    pub(crate) fn system_call(&mut self, n: u64, frames: u64) -> u64 {
        let top = stack(n) + THREAD_SIZE - 168;
        self.words(top, &user_regs());
        top - 16 * frames
    }

    /// The dump.
    pub(crate) fn dump(self) -> Vmcore {
        Vmcore::from_bytes("stacks", self.file()).unwrap()
    }

    /// Its bytes.
    pub(crate) fn file(mut self) -> Vec<u8> {
        let rows: Vec<OrcRow> = FUNCTIONS
            .iter()
            .map(|(name, rule, _)| row(function(name), *rule))
            .collect();
        let rows = if self.orc { &rows[..] } else { &[] };
        let (ip, entries) = sections(OrcFormat::Linux6_4, TABLES, rows);
        let btf = btf();
        let (orc_at, btf_at, mut next) = (TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x10_000);
        self.machine.write(TABLES, &[0; 16]);
        self.machine.write(TABLES, &ip);
        self.machine.write(orc_at, &[0; 16]);
        self.machine.write(orc_at, &entries);
        self.machine.write(btf_at, &btf);
        let mut symbols: Vec<_> = FUNCTIONS
            .iter()
            .map(|(name, ..)| (function(name), 'T', *name))
            .collect();
        symbols.extend([(TEXT, 'T', "_stext"), (TEXT + 0x2000, 'T', "_etext")]);
        let shown = VARIABLES.iter().filter(|name| !self.hidden.contains(name));
        symbols.extend(shown.map(|name| (variable(name), 'D', *name)));
        let shown = PER_CPU
            .iter()
            .filter(|(_, name)| !self.hidden.contains(name));
        symbols.extend(shown.map(|(at, name)| (*at, 'A', *name)));
        symbols.extend([
            (TABLES, 'R', "__start_orc_unwind_ip"),
            (TABLES + ip.len() as u64, 'R', "__stop_orc_unwind_ip"),
            (orc_at, 'R', "__start_orc_unwind"),
            (orc_at + entries.len() as u64, 'R', "__stop_orc_unwind"),
            (btf_at, 'R', "__start_BTF"),
            (btf_at + btf.len() as u64, 'R', "__stop_BTF"),
        ]);
        let tables = tables(&symbols, AddressFormat::AbsolutePerCpu, TEXT);
        let mut info = format!(
            "OSRELEASE=6.1.0-stacks\nPAGESIZE=4096\nKERNELOFFSET=0\nNUMBER(phys_base)=0\n\
             SYMBOL(init_top_pgt)={:x}\nNUMBER(pgtable_l5_enabled)=0\n",
            0xffff_ffff_8000_0000 + self.machine.root()
        );
        for (name, bytes) in [
            ("kallsyms_offsets", &tables.addresses[..]),
            ("kallsyms_relative_base", &TEXT.to_le_bytes()[..]),
            (
                "kallsyms_num_syms",
                &(tables.num_syms as u32).to_le_bytes()[..],
            ),
            ("kallsyms_names", &tables.names[..]),
            ("kallsyms_token_table", &tables.token_table[..]),
            ("kallsyms_token_index", &tables.token_index[..]),
        ] {
            info += &format!("SYMBOL({name})={next:x}\n");
            self.machine.write(next, bytes);
            next += (bytes.len() as u64).next_multiple_of(16);
        }
        info += &self.info;
        let mut notes = Vec::new();
        for (pid, regs, gs_base) in &self.notes {
            let mut all = [0; 27];
            all[..21].copy_from_slice(regs);
            all[22] = *gs_base;
            notes.extend(note("CORE", 1, &prstatus(*pid, &all)));
        }
        notes.extend(note("VMCOREINFO", 0, info.as_bytes()));
        ElfCore {
            segments: self.machine.segments(),
            notes,
            count_in_section: false,
        }
        .build()
    }
}

fn row(at: u64, rule: Rule) -> OrcRow {
    let call = OrcRow::call(at, 16);
    match rule {
        Rule::Call => call,
        Rule::Regs => OrcRow::call(at, 0).of_kind(RowKind::Regs),
        Rule::Iret => OrcRow::call(at, 0).of_kind(RowKind::Partial),
        Rule::End => call.of_kind(RowKind::End),
        Rule::Undefined => call.of_kind(RowKind::Undefined),
        Rule::SwappedStack => OrcRow { sp_reg: 9, ..call },
        Rule::R10 => OrcRow { sp_reg: 6, ..call },
    }
}

fn btf() -> Vec<u8> {
    let mut types = BtfWriter::new();
    let at = MemberSpec::at;
    let (byte, int, long) = (
        types.int("unsigned char", 1, false),
        types.int("unsigned int", 4, false),
        types.int("unsigned long", 8, false),
    );
    let pointer = types.pointer(0);
    let name = types.array(byte, 16);
    let (page, two_pages) = (types.array(byte, 0x1000), types.array(byte, 0x2000));
    let list = types.structure(
        "list_head",
        16,
        &[at(0, "next", pointer), at(8, "prev", pointer)],
    );
    let thread = types.structure("thread_struct", 8, &[at(0, "sp", long)]);
    let stack = types.array(byte, THREAD_SIZE as u32);
    types.union("thread_union", THREAD_SIZE as u32, &[at(0, "stack", stack)]);
    let llist = types.structure("llist_head", 8, &[at(0, "first", pointer)]);
    let members = [
        at(0, "pid", int),
        at(4, "tgid", int),
        at(8, "comm", name),
        at(24, "stack", pointer),
        at(32, "thread", thread),
        at(40, "__state", int),
        at(44, "exit_state", int),
        at(48, "flags", int),
        at(64, "tasks", list),
        at(80, "signal", pointer),
        at(88, "thread_node", list),
        at(104, "parent", pointer),
        at(112, "mm", pointer),
        at(120, "ret_stack", pointer),
        at(128, "rethooks", llist),
        at(136, "on_cpu", int),
    ];
    types.structure("task_struct", 0x400, &members);
    types.structure("signal_struct", 16, &[at(0, "thread_head", list)]);
    types.structure("rq", 16, &[at(8, "idle", pointer)]);
    types.structure("module", 64, &[at(0, "list", list), at(16, "name", name)]);
    let saved = ["r15", "r14", "r13", "r12", "bx", "bp", "ret_addr"];
    let saved: Vec<_> = (0u32..)
        .step_by(8)
        .zip(saved)
        .map(|(offset, name)| at(offset, name, long))
        .collect();
    types.structure("inactive_task_frame", 56, &saved);
    let exceptions = [
        at(0x1000, "DF_stack", page),
        at(0x3000, "NMI_stack", two_pages),
    ];
    types.structure("cea_exception_stacks", 0x6000, &exceptions);
    types.structure(
        "ftrace_ret_stack",
        32,
        &[at(0, "ret", long), at(24, "retp", pointer)],
    );
    let node = types.structure("llist_node", 8, &[at(0, "next", pointer)]);
    let hook = [
        at(0, "llist", node),
        at(8, "ret_addr", long),
        at(16, "frame", long),
    ];
    types.structure("rethook_node", 24, &hook);
    types.finish()
}
