//! Reads RPM packages (version 4 of the format): name and version from the header, files from the cpio payload,
//! compressed with xz, zstd, gzip or not at all. A package is untrusted: what becomes of its entries is for
//! [`super::super::unpack`]. Scriptlets are not run, signatures not checked.
//!
//! The crate `rpm` is not used for the header: it indexes with unchecked offsets and allocates what a length
//! field says, so that one changed byte ends the process (0.30.2).
use crate::setup::unpack::{Folder, Limited, inside};
use crate::setup::{SetupError, decompress};
use cpio::newc;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// `RPMLEAD_SIZE`; the lead's contents are obsolete but for magic and kind (rpm, lib/rpmlead.h).
const LEAD: usize = 96;
const LEAD_MAGIC: &[u8] = &[0xed, 0xab, 0xee, 0xdb];
const HEADER_MAGIC: &[u8] = &[0x8e, 0xad, 0xe8, 0x01];
/// What rpm itself takes at most (lib/header.c: `headerMaxbytes`, and 16 bits of tags).
const MAX_STORE: u32 = 256 << 20;
const MAX_INDEX: u32 = 1 << 16;
const ENTRY: usize = 16;
/// Of rpm's include/rpm/rpmtag.h.
const TAG_NAME: u32 = 1000;
const TAG_VERSION: u32 = 1001;
const TAG_RELEASE: u32 = 1002;
const TAG_ARCH: u32 = 1022;
const TYPE_STRING: u32 = 6;
const MAX_STRING: usize = 256;
/// Most bytes of the payload when decompressed, wanted or not; RHEL's kernel-debuginfo has 4 GB.
const MAX_STREAM: u64 = 16 << 30;
/// A newc header: magic and 13 numbers of 8 hex digits; the twelfth is the name's length.
const CPIO_HEADER: usize = 110;
const CPIO_NAME_SIZE: std::ops::Range<usize> = 94..102;
const MAX_PATH: u32 = 4096;

/// What a package calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// For example `kernel-core`.
    pub(super) name: String,
    /// `version-release`.
    pub(super) version: String,
    /// For example `x86_64`.
    pub(super) arch: String,
}

/// Reads only what the package calls itself.
///
/// # Errors
/// [`SetupError::Package`] if it is no RPM package, [`SetupError::Io`].
pub(super) fn identity(file: &Path) -> Result<Identity, SetupError> {
    open(file).map(|(identity, _)| identity)
}

/// Unpacks what `wanted` picks (paths relative, without `./`).
///
/// # Errors
/// [`SetupError::Package`] naming the entry, [`SetupError::Io`].
pub(super) fn unpack_into(
    file: &Path,
    folder: &mut Folder<'_>,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), SetupError> {
    let (_, payload) = open(file)?;
    let payload = decompress::reader(payload).map_err(SetupError::io("decompressing", file))?;
    unpack_cpio(Limited::new(payload, MAX_STREAM), folder, wanted)
        .map_err(|what| refuse(file, what))
}

fn open(file: &Path) -> Result<(Identity, BufReader<File>), SetupError> {
    let opened = File::open(file).map_err(SetupError::io("reading", file))?;
    let mut input = BufReader::with_capacity(1 << 16, opened);
    let identity = headers(&mut input).map_err(|what| refuse(file, what))?;
    Ok((identity, input))
}

/// Lead, signature header, header; leaves the reader at the payload.
fn headers(input: &mut impl Read) -> Result<Identity, String> {
    let mut lead = [0; LEAD];
    input
        .read_exact(&mut lead)
        .map_err(|_| "expected an RPM package")?;
    if !lead.starts_with(LEAD_MAGIC) {
        return Err("expected an RPM package".into());
    }
    if lead.get(6..8) == Some(&[0, 1]) {
        return Err("a source package; a kernel's binary packages are wanted".into());
    }
    let signature = Header::read(input)?;
    // Only this one is padded, to 8 bytes.
    let padding = signature.store.len().wrapping_neg() % 8;
    let mut skipped = [0; 8];
    let skipped = skipped.get_mut(..padding).unwrap_or_default();
    input.read_exact(skipped).map_err(cut_short)?;
    let header = Header::read(input)?;
    let string = |tag, name| {
        header
            .string(tag)
            .ok_or_else(|| format!("its header has no {name}"))
    };
    Ok(Identity {
        name: string(TAG_NAME, "name")?,
        version: format!(
            "{}-{}",
            string(TAG_VERSION, "version")?,
            string(TAG_RELEASE, "release")?
        ),
        arch: string(TAG_ARCH, "architecture")?,
    })
}

fn cut_short(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".into(),
        _ => error.to_string(),
    }
}

/// Index entries (tag, type, offset, count: big-endian, 4 bytes each) and the store that they point into.
struct Header {
    index: Vec<u8>,
    store: Vec<u8>,
}

impl Header {
    fn read(input: &mut impl Read) -> Result<Self, String> {
        let mut intro = [0; 16];
        input.read_exact(&mut intro).map_err(cut_short)?;
        if !intro.starts_with(HEADER_MAGIC) {
            return Err("an RPM header was expected where there is none".into());
        }
        let entries = number(&intro, 8).unwrap_or(u32::MAX);
        let size = number(&intro, 12).unwrap_or(u32::MAX);
        if entries > MAX_INDEX || size > MAX_STORE {
            return Err(format!(
                "a header of {entries} entries and {size} bytes; rpm takes {MAX_INDEX} and {MAX_STORE}"
            ));
        }
        Ok(Self {
            index: exactly(input, u64::from(entries) * ENTRY as u64)?,
            store: exactly(input, size.into())?,
        })
    }

    fn string(&self, tag: u32) -> Option<String> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| number(entry, 0) == Some(tag) && number(entry, 4) == Some(TYPE_STRING))?;
        let at = usize::try_from(number(entry, 8)?).ok()?;
        let text = self.store.get(at..)?;
        let end = text.iter().take(MAX_STRING).position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(text.get(..end)?).ok()?;
        let plain = |c: char| c.is_ascii_graphic() && c != '/';
        (!text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Grows as bytes arrive, not by what the header says.
fn exactly(input: &mut impl Read, size: u64) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    input
        .take(size)
        .read_to_end(&mut out)
        .map_err(|error| error.to_string())?;
    if out.len() as u64 == size {
        Ok(out)
    } else {
        Err("is cut short".into())
    }
}

/// Names of one file that has several; the archive has its bytes with the last of them only.
type Pending = BTreeMap<(u32, u32, u32), Vec<PathBuf>>;

fn unpack_cpio(
    mut payload: impl Read,
    folder: &mut Folder<'_>,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), String> {
    let mut pending = Pending::new();
    loop {
        folder.count()?;
        let mut header = [0; CPIO_HEADER];
        payload.read_exact(&mut header).map_err(cut_short)?;
        check_cpio_header(&header)?;
        let reader =
            newc::Reader::new(io::Cursor::new(header).chain(payload)).map_err(cut_short)?;
        if reader.entry().is_trailer() {
            let (_, mut rest) = reader.finish().map_err(cut_short)?.into_inner();
            // Nothing of use is behind it, but the compressed stream ends with the checksum of all of it.
            io::copy(&mut rest, &mut io::sink()).map_err(cut_short)?;
            break;
        }
        let name = PathBuf::from(reader.entry().name());
        let path = inside(&name).ok_or_else(|| format!("{}: leaves the folder", name.display()))?;
        payload = place(reader, folder, &path, wanted, &mut pending)
            .map_err(|what| format!("{}: {what}", path.display()))?
            .into_inner()
            .1;
    }
    // Empty files with several names.
    for paths in pending.into_values() {
        for path in paths {
            folder
                .file(&path, false, 0, &mut io::empty())
                .map_err(|what| format!("{}: {what}", path.display()))?;
        }
    }
    Ok(())
}

/// The crate reads the name as long as the header says.
fn check_cpio_header(header: &[u8; CPIO_HEADER]) -> Result<(), String> {
    if header.starts_with(b"07070X") {
        return Err("has a file of more than 4 GiB, which no kernel package needs".into());
    }
    let digits = header.get(CPIO_NAME_SIZE).unwrap_or_default();
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match size {
        Some(size) if size <= MAX_PATH => Ok(()),
        Some(size) => Err(format!("an entry with a name of {size} bytes")),
        None => Err("its payload is no cpio archive (newc)".into()),
    }
}

fn place<R: Read>(
    mut reader: newc::Reader<R>,
    folder: &mut Folder<'_>,
    path: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    pending: &mut Pending,
) -> Result<R, String> {
    const KIND: u32 = 0o170_000;
    const DIR: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const SYMLINK: u32 = 0o120_000;
    let entry = reader.entry().clone();
    let size = u64::from(entry.file_size());
    let is_wanted = !path.as_os_str().is_empty() && wanted(path);
    match entry.mode() & KIND {
        FILE if entry.nlink() > 1 => {
            let key = (entry.dev_major(), entry.dev_minor(), entry.ino());
            let names = pending.entry(key).or_default();
            names.extend(is_wanted.then(|| path.to_owned()));
            if size > 0 {
                let names = pending.remove(&key).unwrap_or_default();
                if let Some((first, others)) = names.split_first() {
                    folder.file(first, entry.mode() & 0o111 != 0, size, &mut reader)?;
                    for other in others {
                        folder.hard_link(other, first)?;
                    }
                }
            }
        }
        _ if !is_wanted => {}
        DIR => folder.dir(path)?,
        FILE => folder.file(path, entry.mode() & 0o111 != 0, size, &mut reader)?,
        SYMLINK => {
            let mut target = String::new();
            if size > u64::from(MAX_PATH) {
                return Err(format!("a link of {size} bytes"));
            }
            reader
                .read_to_string(&mut target)
                .map_err(|error| error.to_string())?;
            folder.symlink(path, Path::new(&target))?;
        }
        kind => return Err(format!("unexpected kind of entry {kind:o}")),
    }
    reader.finish().map_err(cut_short)
}

fn refuse(file: &Path, what: String) -> SetupError {
    SetupError::Package {
        file: file.into(),
        what,
    }
}

#[cfg(test)]
#[path = "rpm_tests.rs"]
mod tests;
