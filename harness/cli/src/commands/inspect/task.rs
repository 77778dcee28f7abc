//! Which task is meant: by pid, by the address of its `task_struct`, or none (the one that crashed).
use anyhow::anyhow;
use recrash_kernel::task::Task;
use recrash_kernel::{Missing, Object};
use recrash_vmcore::{AddressSpace, PhysAddr, VirtAddr};

use super::address;
use super::session::Session;
use crate::failure::Failure;
