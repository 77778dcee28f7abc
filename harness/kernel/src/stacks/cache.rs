//! What is found once a kernel and asked often: stacks, tasks, which saved registers are whose.
use super::{CpuStacks, ThreadSize};
use crate::object::Missing;
use crate::task::Task;
use crate::unwind::branches::Decoded;
use std::sync::OnceLock;

/// Filled when first asked for.
#[derive(Debug, Default)]
pub(crate) struct StackCache {
    pub(crate) cpu_stacks: OnceLock<CpuStacks>,
    pub(crate) thread_size: OnceLock<ThreadSize>,
    pub(crate) running: OnceLock<Vec<Task>>,
    pub(crate) tasks: OnceLock<(Vec<Task>, Vec<Missing>)>,
    pub(crate) saved: OnceLock<Vec<Option<usize>>>,
    pub(crate) branches: Decoded,
}
