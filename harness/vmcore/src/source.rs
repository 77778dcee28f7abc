//! A dump's bytes: the mapped file, with a flattened one put in order on the fly.
//!
//! What the bytes mean is for the format modules.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::flattened::{self, Index};

/// Where in a file an error lies, and what it is.
pub(crate) type Fault = (u64, String);

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
    index: Option<Index>,
    /// Bytes that were asked for, for tests that hold work against size.
    #[cfg(test)]
    pub(crate) touched: std::sync::atomic::AtomicU64,
}

/// The bytes of the file as it is.
#[derive(Debug)]
pub(crate) enum Bytes {
    Map(Mmap, File),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        #[expect(unsafe_code, reason = "mapping a file is unsafe in itself: see SAFETY")]
        // SAFETY: the bytes are only read. A dump is not written to while it is analysed; if
        // someone cuts it short meanwhile, the process dies of SIGBUS and nothing else happens.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self::Map(map, file))
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Map(map, _) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Source {
    pub(crate) fn new(file: Bytes) -> Result<Self, Fault> {
        let index = if flattened::is_flattened(file.as_slice()) {
            Some(Index::parse(file.as_slice())?)
        } else {
            None
        };
        Ok(Self {
            file,
            index,
            #[cfg(test)]
            touched: Default::default(),
        })
    }

    /// Whether the file is a flattened stream.
    pub(crate) fn is_flattened(&self) -> bool {
        self.index.is_some()
    }

    /// Length of the file itself, in bytes: nothing in the dump can hold more data than this.
    pub(crate) fn file_len(&self) -> u64 {
        self.file.as_slice().len() as u64
    }

    /// Length of the dump, in bytes: that of the file, or of what a flattened stream describes.
    pub(crate) fn len(&self) -> u64 {
        self.index.as_ref().map_or(self.file_len(), Index::len)
    }

    /// Where a flattened stream breaks off.
    pub(crate) fn broken_at(&self) -> Option<u64> {
        self.index.as_ref().and_then(Index::broken_at)
    }

    /// The first offset at or after this one that the file system keeps data of, or `None` if
    /// there is none: what lies between is a hole, and reads as zero. Where it cannot tell, there
    /// are no holes.
    pub(crate) fn next_data(&self, offset: u64) -> Option<u64> {
        let Bytes::Map(_, file) = &self.file else {
            return Some(offset);
        };
        if self.index.is_some() {
            return Some(offset);
        }
        match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => Some(data.max(offset)),
            Err(Errno::NXIO) => None,
            Err(_) => Some(offset),
        }
    }

    /// Fills all of `buf` from `offset` on.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Missing> {
        self.count(buf.len() as u64);
        if let Some(index) = &self.index {
            return index.read(self.file.as_slice(), offset, buf);
        }
        let bytes = self.plain(offset, buf.len() as u64)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    /// The bytes at `offset`; allocates no more than the file has.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Result<Cow<'_, [u8]>, Missing> {
        self.count(len);
        let Some(index) = &self.index else {
            return self.plain(offset, len).map(Cow::Borrowed);
        };
        if let Some(bytes) = index.slice(self.file.as_slice(), offset, len) {
            return Ok(Cow::Borrowed(bytes));
        }
        if len > self.file_len() {
            return Err(Missing {
                offset: offset.saturating_add(self.file_len()),
            });
        }
        let mut bytes = vec![0; len as usize];
        self.read(offset, &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    #[cfg(test)]
    fn count(&self, len: u64) {
        self.touched
            .fetch_add(len, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(test))]
    fn count(&self, _len: u64) {}

    fn plain(&self, offset: u64, len: u64) -> Result<&[u8], Missing> {
        let found = || {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            self.file.as_slice().get(start..end)
        };
        found().ok_or(Missing {
            offset: offset.max(self.file_len()),
        })
    }
}
