//! Where the fields of `task_struct` lie, asked of the types once for many tasks.
use super::{Task, TaskState};
use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_debuginfo::types::FieldRef;
use recrash_vmcore::{VirtAddr, VirtMem};

/// TASK_COMM_LEN is 16; more is no name.
const MAX_COMM: u64 = 64;

/// The fields that the types have.
#[derive(Debug)]
pub(super) struct Fields {
    pid: FieldRef,
    comm: FieldRef,
    stack: FieldRef,
    tgid: Option<FieldRef>,
    parent: Option<FieldRef>,
    /// `__state` since 5.14 (commit 2f064a59a11f), `state` before.
    state: Option<FieldRef>,
    exit_state: Option<FieldRef>,
    cpu: Option<FieldRef>,
    on_cpu: Option<FieldRef>,
    flags: Option<FieldRef>,
    mm: Option<FieldRef>,
    start_time: Option<FieldRef>,
}

impl Fields {
    pub(super) fn new(kernel: &Kernel<'_>) -> Result<Self, Missing> {
        let field = |name: &str| kernel.field("task_struct", name);
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| kernel.own_types().field("task_struct", name))
        };
        Ok(Self {
            pid: field("pid")?,
            comm: field("comm")?,
            stack: field("stack")?,
            tgid: first(&["tgid"]),
            parent: first(&["parent", "real_parent"]),
            state: first(&["__state", "state"]),
            exit_state: first(&["exit_state"]),
            // In thread_info since 5.16 (commit bcf9033e5449), before in task_struct.
            cpu: first(&["thread_info.cpu", "cpu"]),
            on_cpu: first(&["on_cpu"]),
            flags: first(&["flags"]),
            mm: first(&["mm"]),
            start_time: first(&["start_time"]),
        })
    }

    pub(super) fn read(&self, kernel: &Kernel<'_>, at: VirtAddr) -> Result<Task, Missing> {
        let optional = |field: &Option<FieldRef>| unsigned(kernel, at, field.as_ref()?).ok();
        let state = optional(&self.state).zip(optional(&self.exit_state).or(Some(0)));
        let parent = optional(&self.parent)
            .filter(|parent| *parent != 0)
            .and_then(|parent| unsigned(kernel, VirtAddr(parent), &self.pid).ok());
        Ok(Task {
            at,
            pid: int(unsigned(kernel, at, &self.pid)?),
            comm: self.comm(kernel, at)?,
            stack: VirtAddr(unsigned(kernel, at, &self.stack)?),
            tgid: optional(&self.tgid).map(int),
            parent: parent.map(int),
            state: state.map(|(state, exit)| TaskState(state | exit)),
            cpu: optional(&self.cpu).and_then(|cpu| u32::try_from(cpu).ok()),
            on_cpu: optional(&self.on_cpu).map(|on| on != 0),
            flags: optional(&self.flags).and_then(|flags| u32::try_from(flags).ok()),
            mm: optional(&self.mm).map(VirtAddr),
            start_time: optional(&self.start_time),
        })
    }

    fn comm(&self, kernel: &Kernel<'_>, at: VirtAddr) -> Result<String, Missing> {
        let length = usize::try_from(self.comm.size.min(MAX_COMM)).unwrap_or(0);
        kernel.cstr(at.wrapping_add(self.comm.offset), length, || {
            "task_struct.comm".into()
        })
    }
}

/// An integer or pointer of up to 8 bytes, zero-extended.
fn unsigned(kernel: &Kernel<'_>, at: VirtAddr, field: &FieldRef) -> Result<u64, Missing> {
    let mut bytes = [0; 8];
    let size = usize::try_from(field.size).unwrap_or(usize::MAX);
    let slot = bytes
        .get_mut(..size)
        .filter(|slot| !slot.is_empty())
        .ok_or_else(|| {
            Missing::Implausible(format!(
                "a field of task_struct of type {} is no integer",
                field.type_name
            ))
        })?;
    kernel
        .memory()
        .read(at.wrapping_add(field.offset), slot)
        .map_err(crate::kernel::missing("task_struct"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The low 32 bits as the kernel's `int`.
fn int(value: u64) -> i32 {
    u32::try_from(value & 0xffff_ffff)
        .unwrap_or(0)
        .cast_signed()
}
