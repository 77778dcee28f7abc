//! One crash, put together: who died, where, of what, in which call, and what the wild pointer was. Each part is
//! there or says why it is not; one missing part hides no other.
use crate::allocation::{self, Allocation};
use crate::corruption::{self, CorruptField, CorruptFreelist, Decoding};
use crate::exception::{self, Exception};
use crate::instruction::{self, BadJump, Came, Faulting};
use crate::kernel::Kernel;
use crate::object::{Missing, Object};
use crate::printk::{self, Log, Oops};
use crate::regs::PtRegs;
use crate::slice::{self, Slice};
use crate::slub;
use crate::syscall::{self, Syscall};
use crate::task::{self, Task};
use crate::unwind::{self, Backtrace, End};
use crate::usb::{self, UsbDevice};

/// Vector of a page fault.
const PAGE_FAULT: u8 = 14;

/// Reason of every part that follows from an exception, where it is known that there was none.
pub const NO_EXCEPTION: &str = "no exception";
/// What the panic says that follows an oops (kernel/exit.c `make_task_dead`, arch/x86/kernel/dumpstack.c `oops_end`).
const AFTER_OOPS: &str = "Fatal exception";

/// Why a kernel has no exception to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calm {
    /// Code called `panic()`: for an NMI, a key, a lockup.
    Panicked,
    /// The log has neither a panic nor an oops.
    Running,
    /// The log has an oops that the kernel outlived, and no panic.
    Survived,
    /// The log could not be read.
    Unknown,
}

impl Calm {
    /// The reason in words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Panicked => "none: panic() was called",
            Self::Running => {
                "none: no panic and no exception in this dump, the machine was running"
            }
            Self::Survived => "none on the stack; the log has an oops that the kernel ran on after",
            Self::Unknown => "none on the stack; whether the kernel panicked is not known",
        }
    }
}

/// Everything that a first look at a crash gives.
#[derive(Debug)]
pub struct Crash {
    /// The CPU that died.
    pub cpu: Result<u32, Missing>,
    /// The task it ran.
    pub task: Result<Task, Missing>,
    /// The exception, where one was the cause.
    pub exception: Result<Exception, Missing>,
    /// The panic's message, from the log; `None` where the log has no panic.
    pub panic: Result<Option<String>, Missing>,
    /// Why there is no exception, where the stack was walked to its end and has none.
    pub calm: Option<Calm>,
    /// Where there is no exception: the innermost context on the stack that an interrupt or NMI broke into.
    pub interrupted: Option<Exception>,
    /// What came with it, as far as the handler recorded it; `None` where the vector is not known.
    pub came: Option<Came>,
    /// The registers that the dump saved for the CPU that died: the exception's own, or those of the panic's path.
    pub saved: Result<PtRegs, Missing>,
    /// The stack, from the context that the exception interrupted outwards.
    pub backtrace: Result<Backtrace, Missing>,
    /// The instruction that faulted.
    pub faulting: Result<Faulting, Missing>,
    /// Where control went, if it went to where there is no code.
    pub jump: Option<BadJump>,
    /// Where the registers of the faulting function came from.
    pub slice: Result<Slice, Missing>,
    /// The allocation that died, where it was one.
    pub allocation: Result<Allocation, Missing>,
    /// The system call that the task was in.
    pub syscall: Result<Syscall, Missing>,
    /// USB devices present.
    pub devices: Result<Vec<UsbDevice>, Missing>,
    /// USB devices that could not be read.
    pub device_gaps: Vec<Missing>,
    /// The freelist that held the wild pointer.
    pub freelist: Result<CorruptFreelist, Missing>,
    /// What lay where the freelist pointer was read; `None` without a freelist.
    pub decoding: Option<Decoding>,
    /// The field that held the wild pointer, where no freelist did.
    pub field: Result<CorruptField, Missing>,
}

impl Crash {
    /// Looks at a kernel that died.
    #[must_use]
    pub fn read(kernel: &Kernel<'_>) -> Self {
        let cpu = task::crashing_cpu(kernel);
        let task = cpu.clone().and_then(|cpu| task::current(kernel, cpu));
        let (exception, backtrace) = match &task {
            Ok(task) => stack(kernel, task, cpu.as_ref().copied().unwrap_or(0)),
            Err(missing) => (Err(missing.clone()), Err(missing.clone())),
        };
        let log = printk::records(kernel);
        let told = log.as_ref().ok().map(Told::of);
        let calm = match (&exception, &cpu) {
            (Ok(_), _) => None,
            // No CPU was ever chosen to save the dump by.
            (Err(_), Err(Missing::Implausible(_))) => told
                .as_ref()
                .and_then(Told::calm)
                .filter(|calm| *calm == Calm::Running),
            _ => walked(backtrace.as_ref())
                .then(|| told.as_ref().map_or(Some(Calm::Unknown), Told::calm))
                .flatten(),
        };
        let exception = match calm {
            Some(_) => Err(Missing::Implausible(NO_EXCEPTION.into())),
            None => exception,
        };
        let interrupted =
            interrupted(kernel, task.as_ref(), backtrace.as_ref()).filter(|_| exception.is_err());
        let panic = log.map(|_| told.and_then(|told| told.oops.panic).map(|(_, text)| text));
        let came = came(kernel, exception.as_ref().ok(), task.as_ref().ok());
        let saved = cpu
            .clone()
            .and_then(|cpu| unwind::saved_regs(kernel, cpu))
            .map(|saved| saved.regs);
        let regs = exception
            .as_ref()
            .map(|exception| exception.regs)
            .map_err(Clone::clone);
        let slice = regs
            .clone()
            .and_then(|regs| slice::of_fault(kernel, &regs, cpu.as_ref().ok().copied()));
        let allocation = slice
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|slice| allocation::of(kernel, slice, cpu.as_ref().ok().copied()));
        let jump = regs
            .as_ref()
            .ok()
            .and_then(|regs| instruction::bad_jump(kernel, regs));
        let faulting =
            regs.and_then(|regs| instruction::faulting(kernel, &regs, cpu.as_ref().ok().copied()));
        let syscall = syscall(kernel, backtrace.as_ref());
        let (devices, device_gaps) = match usb::devices(kernel) {
            Ok((devices, gaps)) => (Ok(devices), gaps),
            Err(missing) => (Err(missing), Vec::new()),
        };
        let freelist = freelist(kernel, faulting.as_ref(), exception.as_ref(), &cpu);
        let present = devices.as_deref().unwrap_or_default();
        let decoding = freelist
            .as_ref()
            .ok()
            .map(|hit| corruption::decode(kernel, hit, present));
        let field = field(
            kernel,
            &freelist,
            faulting.as_ref(),
            slice.as_ref(),
            present,
        );
        Self {
            cpu,
            task,
            exception,
            panic,
            calm,
            interrupted,
            came,
            saved,
            backtrace,
            faulting,
            jump,
            slice,
            allocation,
            syscall,
            devices,
            device_gaps,
            freelist,
            decoding,
            field,
        }
    }

    /// The cache of the freelist, or of the object, that was overwritten.
    ///
    /// # Errors
    /// Why no freelist is known to be corrupted; that of fields is in [`Crash::field`].
    pub fn cache(&self) -> Result<&slub::Cache, &Missing> {
        match (&self.freelist, &self.field) {
            (Ok(hit), _) => Ok(&hit.cache),
            (Err(_), Ok(hit)) => Ok(&hit.object.cache),
            (Err(missing), Err(_)) => Err(missing),
        }
    }
}

/// The saved registers of the CPU that died are the exception's own when the oops went straight to kexec
/// (`crash_kexec(regs)`, kernel/kexec_core.c), and those of the panic path otherwise; then the exception is met
/// on the way outwards.
fn stack(
    kernel: &Kernel<'_>,
    task: &Task,
    cpu: u32,
) -> (Result<Exception, Missing>, Result<Backtrace, Missing>) {
    let saved = match unwind::saved_regs(kernel, cpu) {
        Ok(saved) => saved.regs,
        Err(missing) => return (Err(missing.clone()), Err(missing)),
    };
    let trace = unwind::from_regs(kernel, &saved);
    let found = exception::find(kernel, task, &saved);
    if found.is_ok() {
        return (found, Ok(trace));
    }
    // An interrupt leaves registers behind too, and is nothing to die of.
    let met = trace.exceptions.iter().find_map(|(at, regs)| {
        let exception = exception::describe(kernel, task, *at, *regs);
        exception.trap.is_some().then_some(exception)
    });
    match met {
        Some(exception) => {
            let outwards = unwind::from_regs(kernel, &exception.regs);
            (Ok(exception), Ok(outwards))
        }
        None => (found, Ok(trace)),
    }
}

/// Only a stack that was walked to its end can tell that it has no exception.
fn walked(backtrace: Result<&Backtrace, &Missing>) -> bool {
    backtrace.is_ok_and(|trace| matches!(trace.end, End::User | End::Outermost))
}

/// What the log tells of the death.
struct Told {
    oops: Oops,
    /// No part of the log is missing.
    whole: bool,
}

impl Told {
    fn of(log: &Log) -> Self {
        Self {
            oops: printk::last_oops(log),
            whole: log.gaps.is_empty(),
        }
    }

    /// Why there is no exception; `None` where the log knows of one.
    fn calm(&self) -> Option<Calm> {
        match (&self.oops.panic, &self.oops.banner) {
            (Some((_, text)), _) if text.starts_with(AFTER_OOPS) => None,
            (Some(_), _) => Some(Calm::Panicked),
            (None, Some(_)) if self.whole => Some(Calm::Survived),
            (None, None) if self.whole => Some(Calm::Running),
            (None, _) => Some(Calm::Unknown),
        }
    }
}

/// The first registers that are met on the way outwards.
fn interrupted(
    kernel: &Kernel<'_>,
    task: Result<&Task, &Missing>,
    backtrace: Result<&Backtrace, &Missing>,
) -> Option<Exception> {
    let (at, regs) = backtrace.ok()?.exceptions.first()?;
    Some(exception::describe(kernel, task.ok()?, *at, *regs))
}

/// Vector, error code, and for a page fault the address, which the handler keeps in `thread.cr2`.
fn came(kernel: &Kernel<'_>, exception: Option<&Exception>, task: Option<&Task>) -> Option<Came> {
    let (exception, task) = (exception?, task?);
    let vector = exception.trap?.vector;
    // The error code is there only if the record in the task is of this exception; so is the address.
    let recorded = vector == PAGE_FAULT && exception.error_code.is_some();
    let cr2 = Object::new(kernel, "task_struct", task.at).u64("thread.cr2");
    Some(Came {
        vector,
        error_code: exception.error_code,
        cr2: cr2.ok().filter(|_| recorded),
    })
}

fn syscall(
    kernel: &Kernel<'_>,
    backtrace: Result<&Backtrace, &Missing>,
) -> Result<Syscall, Missing> {
    let backtrace = backtrace.map_err(Clone::clone)?;
    let user = backtrace.user.ok_or_else(|| {
        Missing::Implausible(format!(
            "the stack was not walked up to user mode: {}",
            backtrace.end
        ))
    })?;
    syscall::decode(kernel, &user)
}

fn freelist(
    kernel: &Kernel<'_>,
    faulting: Result<&Faulting, &Missing>,
    exception: Result<&Exception, &Missing>,
    cpu: &Result<u32, Missing>,
) -> Result<CorruptFreelist, Missing> {
    let faulting = faulting.map_err(Clone::clone)?;
    let operand = faulting.operand.as_ref().ok_or_else(|| {
        Missing::Implausible(format!("`{}` uses no memory operand", faulting.text))
    })?;
    let regs = exception.map_err(Clone::clone)?.regs;
    corruption::freelist_of(kernel, operand, &regs, cpu.clone()?)
}

fn field(
    kernel: &Kernel<'_>,
    freelist: &Result<CorruptFreelist, Missing>,
    faulting: Result<&Faulting, &Missing>,
    slice: Result<&Slice, &Missing>,
    devices: &[UsbDevice],
) -> Result<CorruptField, Missing> {
    if freelist.is_ok() {
        let why = "the wild pointer is a freelist's";
        return Err(Missing::Implausible(why.into()));
    }
    let faulting = faulting.map_err(Clone::clone)?;
    let slice = slice.map_err(Clone::clone)?;
    corruption::field_of(kernel, faulting, slice, devices)
}
