//! The kernel's image as a file: decompressed when something of it is needed, and refused if it is another build.
use std::sync::OnceLock;

use super::build_id;
use crate::object::Missing;
use recrash_debuginfo::vmlinux::{self, Vmlinux};
use recrash_vmcore::{AddressSpace, VirtAddr, VirtMem, Vmcoreinfo};

/// More bytes than the notes of any kernel have.
const NOTES_MAX: usize = 64 << 10;

/// The image that came with the dump, if one did.
pub(crate) struct Image<'d> {
    given: Option<&'d [u8]>,
    /// What was inside the bzImage; no lifetime in it, which would make that of the kernel invariant.
    extracted: OnceLock<Result<Vec<u8>, Missing>>,
}

impl<'d> Image<'d> {
    pub(crate) fn new(given: Option<&'d [u8]>) -> Self {
        Self {
            given,
            extracted: OnceLock::new(),
        }
    }

    pub(crate) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Whether it can be looked at without being decompressed first.
    pub(crate) fn is_elf(&self) -> bool {
        self.given
            .is_some_and(|bytes| bytes.starts_with(b"\x7fELF"))
    }

    /// The vmlinux, taken out of the bzImage if need be.
    pub(crate) fn vmlinux(&self) -> Result<Vmlinux<'_>, Missing> {
        let given = self
            .given
            .ok_or_else(|| Missing::Implausible("no kernel image was given".into()))?;
        let bytes = match self.is_elf() {
            true => given,
            false => self
                .extracted
                .get_or_init(|| vmlinux::extract(given).map_err(|error| unusable(&error)))
                .as_ref()
                .map_err(Clone::clone)?,
        };
        Vmlinux::parse(bytes).map_err(|error| unusable(&error))
    }

    /// Compares the image's build id with the crashed kernel's. `kaslr` is what has to be added to its addresses.
    /// `Ok(false)` if one of them has none.
    ///
    /// # Errors
    /// [`Missing::WrongBuild`] if they differ; another [`Missing`] if the image can't be read.
    pub(crate) fn check(
        &self,
        memory: &AddressSpace<'_>,
        info: &Vmcoreinfo,
        kaslr: Option<u64>,
    ) -> Result<bool, Missing> {
        let vmlinux = self.vmlinux()?;
        let Some(found) = vmlinux.build_id().map(build_id::hexadecimal) else {
            return Ok(false);
        };
        let dump = match info.build_id() {
            Some(dump) => Some(dump.to_ascii_lowercase()),
            None => kaslr.and_then(|kaslr| notes_at(memory, &vmlinux, kaslr)),
        };
        match dump {
            Some(dump) if dump != found => Err(Missing::WrongBuild {
                file: "the kernel image".into(),
                found,
                dump,
            }),
            dump => Ok(dump.is_some()),
        }
    }
}

/// The build id in the crashed kernel's memory where this image would have its notes. Another kernel has other
/// things there, which are no notes; then nothing is known.
fn notes_at(memory: &AddressSpace<'_>, vmlinux: &Vmlinux<'_>, kaslr: u64) -> Option<String> {
    let (at, notes) = vmlinux.section(".notes")?;
    let len = notes.len().min(NOTES_MAX);
    let bytes = memory.bytes(VirtAddr(at.wrapping_add(kaslr)), len).ok()?;
    vmlinux::gnu_build_id(&bytes).map(build_id::hexadecimal)
}

pub(super) fn unusable(error: &dyn std::fmt::Display) -> Missing {
    Missing::Implausible(format!("the kernel image: {error}"))
}
