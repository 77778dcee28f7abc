//! Where unwind tables come from: the dump, else the files that came with it. Read when the first frame needs them.
use super::image::unusable;
use crate::kernel::Kernel;
use crate::modules::Module;
use crate::object::Missing;
use recrash_debuginfo::orc::{OrcLayout, OrcTable};

/// The kernel's own table.
pub(crate) fn of_kernel(kernel: &Kernel<'_>) -> Result<OrcTable, Missing> {
    in_memory(kernel).or_else(|reason| match of_image(kernel) {
        Ok(table) => {
            kernel.note(format!(
                "ORC tables from the kernel image given; in the dump: {reason}"
            ));
            Ok(table)
        }
        Err(_) => Err(reason),
    })
}

fn in_memory(kernel: &Kernel<'_>) -> Result<OrcTable, Missing> {
    let (ip, at) = kernel.section("__start_orc_unwind_ip", "__stop_orc_unwind_ip")?;
    let (entries, _) = kernel.section("__start_orc_unwind", "__stop_orc_unwind")?;
    OrcTable::new(ip, entries, at.0).map_err(|error| Missing::Implausible(error.to_string()))
}

/// Sorted at build time since 5.6; before, the table sorts itself by an index.
fn of_image(kernel: &Kernel<'_>) -> Result<OrcTable, Missing> {
    let vmlinux = kernel.checked_image()?;
    let section = |name| {
        vmlinux
            .section(name)
            .ok_or_else(|| unusable(&format!("it has no {name} section")))
    };
    let (at, ip) = section(".orc_unwind_ip")?;
    let (_, entries) = section(".orc_unwind")?;
    let at = at.wrapping_add(kernel.kaslr()?);
    OrcTable::new(ip.to_vec(), entries.to_vec(), at)
        .map_err(|error| Missing::Implausible(error.to_string()))
}

/// A module's table, in the kernel's layout.
pub(crate) fn of_module(
    kernel: &Kernel<'_>,
    module: &Module,
    layout: OrcLayout,
) -> Result<Option<OrcTable>, Missing> {
    let Some(orc) = &module.orc else {
        return Ok(None);
    };
    let ip = kernel.table(orc.ip, orc.count.saturating_mul(4), "module ORC")?;
    let entries = kernel.table(orc.entries, orc.count.saturating_mul(6), "module ORC")?;
    OrcTable::with_layout(ip, entries, orc.ip.0, layout)
        .map(Some)
        .map_err(|error| Missing::Implausible(error.to_string()))
}
