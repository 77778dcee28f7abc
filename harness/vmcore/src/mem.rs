//! The two reader traits, and the conveniences over them.
//!
//! All values are little endian, as x86 stores them.

use std::ops::Range;

use crate::{PhysAddr, ReadError, VirtAddr};

/// Most bytes that one read may allocate.
pub const MAX_READ: u64 = 256 << 20;

/// Physical memory.
pub trait PhysMem: Send + Sync {
    /// Fills all of `buf`, or names the first byte it could not read.
    ///
    /// # Errors
    /// The first reason met; what `buf` holds then is unspecified.
    fn read(&self, at: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// The first stretch of memory at or after `at` that the dump has data of, from its first byte
    /// to one past its last, or `None` if there is none.
    ///
    /// It may be part of a longer one: ask again from its end. Its pages are those that the file
    /// says it has; that each can be restored is known once it is read. Takes time by the number
    /// of words of bitmap or of segments between, allocates nothing.
    fn next_present(&self, at: PhysAddr) -> Option<Range<u64>>;

    /// The 64-bit value at this address.
    ///
    /// # Errors
    /// As [`PhysMem::read`].
    fn u64_at(&self, at: PhysAddr) -> Result<u64, ReadError> {
        let mut buf = [0; 8];
        self.read(at, &mut buf)?;
        Ok(u64::from_le_bytes(buf))
    }
}

/// Virtual memory.
pub trait VirtMem {
    /// Fills all of `buf`, or names the first byte it could not read.
    ///
    /// # Errors
    /// The first reason met; what `buf` holds then is unspecified.
    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// The byte at this address.
    ///
    /// # Errors
    /// As [`VirtMem::read`].
    fn u8_at(&self, at: VirtAddr) -> Result<u8, ReadError> {
        let mut buf = [0];
        self.read(at, &mut buf)?;
        Ok(u8::from_le_bytes(buf))
    }

    /// The 16-bit value at this address.
    ///
    /// # Errors
    /// As [`VirtMem::read`].
    fn u16_at(&self, at: VirtAddr) -> Result<u16, ReadError> {
        let mut buf = [0; 2];
        self.read(at, &mut buf)?;
        Ok(u16::from_le_bytes(buf))
    }

    /// The 32-bit value at this address.
    ///
    /// # Errors
    /// As [`VirtMem::read`].
    fn u32_at(&self, at: VirtAddr) -> Result<u32, ReadError> {
        let mut buf = [0; 4];
        self.read(at, &mut buf)?;
        Ok(u32::from_le_bytes(buf))
    }

    /// The 64-bit value at this address.
    ///
    /// # Errors
    /// As [`VirtMem::read`].
    fn u64_at(&self, at: VirtAddr) -> Result<u64, ReadError> {
        let mut buf = [0; 8];
        self.read(at, &mut buf)?;
        Ok(u64::from_le_bytes(buf))
    }

    /// `len` bytes from this address on.
    ///
    /// # Errors
    /// [`ReadError::TooLong`] above [`MAX_READ`], else as [`VirtMem::read`].
    fn bytes(&self, at: VirtAddr, len: usize) -> Result<Vec<u8>, ReadError> {
        /// Grows with what could be read, so that a wild length costs no memory.
        const STEP: usize = 1 << 20;
        let wanted = len as u64;
        if wanted > MAX_READ {
            return Err(ReadError::TooLong { at, len: wanted });
        }
        let mut out = Vec::new();
        while out.len() < len {
            let done = out.len();
            out.resize(len.min(done.saturating_add(STEP)), 0);
            if let Some(rest) = out.get_mut(done..) {
                self.read(at.wrapping_add(done as u64), rest)?;
            }
        }
        Ok(out)
    }

    /// The NUL-terminated string at this address, at most `max` bytes of it; what is not UTF-8 is
    /// shown as U+FFFD.
    ///
    /// # Errors
    /// As [`VirtMem::read`], for the bytes up to the NUL only.
    fn cstr(&self, at: VirtAddr, max: usize) -> Result<String, ReadError> {
        // Aligned steps never cross into a page that the string does not reach.
        const STEP: u64 = 64;
        let mut out = Vec::new();
        while out.len() < max {
            let from = at.wrapping_add(out.len() as u64);
            let mut buf = [0; STEP as usize];
            let room = (STEP - from.0 % STEP).min((max - out.len()) as u64);
            let part = buf.get_mut(..room as usize).unwrap_or_default();
            self.read(from, part)?;
            if let Some(end) = part.iter().position(|&b| b == 0) {
                out.extend(part.iter().take(end));
                break;
            }
            out.extend_from_slice(part);
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}
