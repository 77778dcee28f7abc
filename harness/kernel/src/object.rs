//! A typed view of a structure in crashed memory: an address, a structure name, fields by path.
//! Knows how to read fields; knows nothing of what they mean.
use crate::kernel::Kernel;
use recrash_debuginfo::types::Shape;
use recrash_vmcore::{ReadError, VirtAddr, VirtMem};
use std::collections::HashSet;

/// Something that was looked for and not found, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The kernel has no such symbol, or its symbols are not known.
    #[error("no symbol {0}")]
    Symbol(String),
    /// The type information has no such structure.
    #[error("no type information for struct {0}")]
    Type(String),
    /// The structure has no such field.
    #[error("struct {of} has no field {field}")]
    Field {
        /// Structure name.
        of: String,
        /// Field path.
        field: String,
    },
    /// The memory could not be read.
    #[error("{what}: {error}")]
    Memory {
        /// What was being read.
        what: String,
        /// Why it could not be.
        error: ReadError,
    },
    /// A file that came with the dump belongs to another build.
    #[error("{file} has build id {found}, in the dump it is {dump}")]
    WrongBuild {
        /// Which file.
        file: String,
        /// Its build id, in hexadecimal.
        found: String,
        /// That of the crashed kernel or module.
        dump: String,
    },
    /// Debug information that is not there, is not this kernel's, or does not say it.
    #[error("{0}")]
    DebugInfo(String),
    /// The value read is not one that the kernel could have put there.
    #[error("{0}")]
    Implausible(String),
}

/// A structure at an address.
#[derive(Clone, Copy)]
pub struct Object<'k> {
    kernel: &'k Kernel<'k>,
    /// Where it lies.
    pub at: VirtAddr,
    /// Its structure name, without `struct`.
    pub of: &'k str,
}

impl<'k> Object<'k> {
    /// The structure `of` at `at`; nothing is read yet.
    #[must_use]
    pub fn new(kernel: &'k Kernel<'k>, of: &'k str, at: VirtAddr) -> Self {
        Self { kernel, at, of }
    }

    /// The kernel that it belongs to.
    #[must_use]
    pub fn kernel(&self) -> &'k Kernel<'k> {
        self.kernel
    }

    /// Address of a field.
    ///
    /// # Errors
    /// [`Missing::Type`] or [`Missing::Field`].
    pub fn addr_of(&self, field: &str) -> Result<VirtAddr, Missing> {
        Ok(self
            .at
            .wrapping_add(self.kernel.shared_field(self.of, field)?.offset))
    }

    /// What a field is: an integer, a pointer, an array of how many.
    ///
    /// # Errors
    /// [`Missing::Type`] or [`Missing::Field`].
    pub fn shape(&self, field: &str) -> Result<Shape, Missing> {
        Ok(self.kernel.field(self.of, field)?.shape)
    }

    /// Whether the type information has this field.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.kernel.shared_field(self.of, field).is_ok()
    }

    /// An unsigned integer, pointer or bit field of up to 8 bytes.
    ///
    /// # Errors
    /// [`Missing`] when the field is unknown, larger than 8 bytes, or can't be read.
    pub fn u64(&self, field: &str) -> Result<u64, Missing> {
        let info = self.kernel.shared_field(self.of, field)?;
        let size = usize::try_from(info.size).unwrap_or(usize::MAX);
        let mut bytes = [0; 8];
        let slot = bytes.get_mut(..size).filter(|_| size > 0).ok_or_else(|| {
            Missing::Implausible(format!(
                "{}.{field} is {} bytes, not an integer",
                self.of, info.size
            ))
        })?;
        self.kernel
            .read_into(self.at.wrapping_add(info.offset), slot, || {
                format!("{}.{field}", self.of)
            })?;
        let value = u64::from_le_bytes(bytes);
        Ok(match info.bits {
            Some((shift, width)) if width < 64 => {
                value.checked_shr(shift.into()).unwrap_or(0) & ((1u64 << width) - 1)
            }
            _ => value,
        })
    }

    /// A signed 32-bit integer.
    ///
    /// # Errors
    /// As [`Object::u64`].
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "an int is 32 bits"
    )]
    pub fn i32(&self, field: &str) -> Result<i32, Missing> {
        Ok(self.u64(field)? as u32 as i32)
    }

    /// A pointer.
    ///
    /// # Errors
    /// As [`Object::u64`].
    pub fn ptr(&self, field: &str) -> Result<VirtAddr, Missing> {
        Ok(VirtAddr(self.u64(field)?))
    }

    /// The structure that a pointer field points at; `None` for NULL.
    ///
    /// # Errors
    /// As [`Object::u64`].
    pub fn follow(&self, field: &str, of: &'k str) -> Result<Option<Object<'k>>, Missing> {
        let at = self.ptr(field)?;
        Ok((at.0 != 0).then(|| Object::new(self.kernel, of, at)))
    }

    /// The 64-bit word at an address that a field gave.
    pub(crate) fn word_at(&self, at: VirtAddr) -> Result<u64, Missing> {
        let error = |error| Missing::Memory {
            what: format!("what struct {} points at", self.of),
            error,
        };
        self.kernel.memory().u64_at(at).map_err(error)
    }

    /// A character array, up to its first NUL.
    ///
    /// # Errors
    /// As [`Object::u64`].
    pub fn char_array(&self, field: &str) -> Result<String, Missing> {
        let info = self.kernel.shared_field(self.of, field)?;
        let length = usize::try_from(info.size).unwrap_or(usize::MAX).min(4096);
        self.kernel
            .cstr(self.at.wrapping_add(info.offset), length, || {
                format!("{}.{field}", self.of)
            })
    }

    /// The string that a `char *` field points at; `None` for NULL. At most `max` bytes.
    ///
    /// # Errors
    /// As [`Object::u64`].
    pub fn string(&self, field: &str, max: usize) -> Result<Option<String>, Missing> {
        let at = self.ptr(field)?;
        if at.0 == 0 {
            return Ok(None);
        }
        self.kernel
            .cstr(at, max, || format!("{}.{field}", self.of))
            .map(Some)
    }
}

/// Walks a circular `list_head` and gives the entries that embed it, at most `limit`.
///
/// A list that runs in a circle without its head, that has more than `limit` entries, or that can't be read, gives what was
/// found before and the reason as second value.
#[must_use]
pub fn list_entries<'k>(
    kernel: &'k Kernel<'k>,
    head: VirtAddr,
    of: &'k str,
    member: &str,
    limit: usize,
) -> (Vec<Object<'k>>, Option<Missing>) {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let offset = match kernel.shared_field(of, member) {
        Ok(field) => field.offset,
        Err(missing) => return (found, Some(missing)),
    };
    let mut at = head;
    for _ in 0..=limit {
        at = match kernel.memory().u64_at(at) {
            Ok(next) => VirtAddr(next),
            Err(error) => {
                return (
                    found,
                    Some(Missing::Memory {
                        what: format!("list of struct {of}"),
                        error,
                    }),
                );
            }
        };
        if at == head {
            return (found, None);
        }
        if !seen.insert(at) {
            let what = format!(
                "list of struct {of} does not end: it comes back to {at}, not to its head {head}"
            );
            return (found, Some(Missing::Implausible(what)));
        }
        found.push(Object::new(kernel, of, VirtAddr(at.0.wrapping_sub(offset))));
    }
    (
        found,
        Some(Missing::Implausible(format!(
            "list of struct {of} does not end after {limit} entries"
        ))),
    )
}
