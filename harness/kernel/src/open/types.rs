//! Where the types of the kernel itself come from: the first source that has them.
use std::sync::Arc;

use super::image::unusable;
use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::types::Types;

/// Where the kernel's types come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeSource {
    /// BTF in the dump.
    Btf,
    /// BTF of the kernel image that came with the dump.
    ImageBtf,
    /// DWARF of the kernel image that came with the dump.
    Dwarf,
    /// The table of known layouts, chosen by what the memory looks like.
    LayoutTable,
}

impl TypeSource {
    /// In words, for reports.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Btf => "BTF in the dump",
            Self::ImageBtf => "BTF of the kernel image given",
            Self::Dwarf => "DWARF of the kernel image given",
            Self::LayoutTable => "table of layouts, probed",
        }
    }
}

type Attempt = fn(&Kernel<'_>) -> Result<Types, Missing>;

/// Tried in this order.
const ATTEMPTS: [(TypeSource, Attempt); 4] = [
    (TypeSource::Btf, in_memory),
    (TypeSource::ImageBtf, of_image),
    (TypeSource::Dwarf, of_debug_info),
    (TypeSource::LayoutTable, crate::layouts::types),
];

/// The types of the kernel and where they are from; else why there are none. A source other than the first gives a
/// note as well.
pub(crate) fn of_kernel(kernel: &Kernel<'_>) -> (Option<(Types, TypeSource)>, Option<String>) {
    let mut reasons = Vec::new();
    for (source, attempt) in ATTEMPTS {
        match attempt(kernel) {
            Ok(types) => {
                let note = (!reasons.is_empty()).then(|| {
                    format!(
                        "types from {}; not from {}",
                        source.describe(),
                        reasons.join("; ")
                    )
                });
                return (Some((types, source)), note);
            }
            Err(reason) => reasons.push(format!("{}: {reason}", source.describe())),
        }
    }
    (
        None,
        Some(format!("no type information: {}", reasons.join("; "))),
    )
}

fn in_memory(kernel: &Kernel<'_>) -> Result<Types, Missing> {
    let (bytes, _) = kernel.section("__start_BTF", "__stop_BTF")?;
    parse(bytes)
}

fn of_image(kernel: &Kernel<'_>) -> Result<Types, Missing> {
    let vmlinux = kernel.checked_image()?;
    let (_, bytes) = vmlinux
        .section(".BTF")
        .ok_or_else(|| unusable(&"it has no .BTF section"))?;
    parse(bytes.to_vec())
}

/// For kernels built without BTF.
fn of_debug_info(kernel: &Kernel<'_>) -> Result<Types, Missing> {
    let debug = kernel
        .sources()
        .debug
        .ok_or_else(|| Missing::DebugInfo("none was given or found".into()))?;
    let bytes = debug
        .types(kernel.build_id().as_deref())
        .map_err(Missing::DebugInfo)?;
    parse(bytes)
}

fn parse(bytes: Vec<u8>) -> Result<Types, Missing> {
    let btf = Btf::parse(bytes, None)
        .map_err(|error| Missing::Implausible(format!("the kernel's BTF: {error}")))?;
    Ok(Types::new(Arc::new(btf)))
}
