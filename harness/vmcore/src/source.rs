//! A dump's bytes: the mapped file, with a flattened one put in order on the fly.
//!
//! What the bytes mean is for the format modules.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Bytes that the file should have and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Offset of the first one.
    pub(crate) offset: u64,
}

/// Random access to a dump's bytes.
#[derive(Debug)]
pub(crate) struct Source {
    file: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Map(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Source {
    /// Maps a file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self::from_bytes(Vec::new()));
        }
        #[expect(unsafe_code, reason = "mapping a file is unsafe in itself: see SAFETY")]
        // SAFETY: the bytes are only read. A dump is not written to while it is analysed; if
        // someone cuts it short meanwhile, the process dies of SIGBUS and nothing else happens.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self {
            file: Bytes::Map(map),
        })
    }

    /// Bytes in memory as a dump.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            file: Bytes::Owned(bytes),
        }
    }

    /// Length of the dump, in bytes, as far as the file goes.
    pub(crate) fn len(&self) -> u64 {
        self.file.as_slice().len() as u64
    }

    /// Fills all of `buf` from `offset` on.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Missing> {
        let bytes = self.slice(offset, buf.len() as u64)?;
        buf.copy_from_slice(&bytes);
        Ok(())
    }

    /// The bytes at `offset`; allocates no more than the file has.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Result<Cow<'_, [u8]>, Missing> {
        let found = || {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            self.file.as_slice().get(start..end)
        };
        found().map(Cow::Borrowed).ok_or(Missing {
            offset: offset.max(self.len()),
        })
    }
}
