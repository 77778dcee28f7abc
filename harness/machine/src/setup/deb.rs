//! Reads Debian packages (deb(5)) without dpkg. A package is untrusted: what becomes of its entries is for
//! `unpack.rs`. Maintainer scripts are not run.
use super::unpack::{Folder, Limited, Limits, inside};
use super::{SetupError, decompress};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Of a package: linux-headers-common has some 14,000 entries, linux-image 400 MB.
const LIMITS: Limits = Limits {
    entries: 500_000,
    bytes: 8 << 30,
};
/// Most bytes of a member when decompressed, wanted or not; linux-image-dbg has 6 GB.
const MAX_STREAM: u64 = 16 << 30;
/// Most bytes of the control file; it has some hundred.
const MAX_CONTROL: u64 = 1 << 20;

/// Unpacks what `wanted` picks (paths relative, without `./`) into `root`. Absolute links are made
/// relative to `root`.
///
/// # Errors
/// [`SetupError::Package`] naming the entry, [`SetupError::Io`].
pub fn unpack(deb: &Path, root: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<(), SetupError> {
    unpack_into(deb, &mut Folder::new(root, LIMITS), wanted)
}

/// The same into a folder whose limits several packages share.
///
/// # Errors
/// As [`unpack`].
pub(super) fn unpack_into(
    deb: &Path,
    folder: &mut Folder<'_>,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), SetupError> {
    member(deb, "data.tar", |data| {
        unpack_tar(deb, Limited::new(data, MAX_STREAM), folder, wanted)
    })
}

/// The control file: a stanza of deb822(5).
///
/// # Errors
/// As [`unpack`].
pub(super) fn control(deb: &Path) -> Result<String, SetupError> {
    member(deb, "control.tar", |data| {
        let mut archive = tar::Archive::new(Limited::new(data, MAX_STREAM));
        let entries = archive.entries().map_err(SetupError::io("reading", deb))?;
        for entry in entries {
            let entry = entry.map_err(|error| refuse(deb, &format!("control.tar: {error}")))?;
            let path = entry
                .path()
                .map_err(|error| refuse(deb, &error.to_string()))?;
            if inside(&path).is_some_and(|path| path == Path::new("control")) {
                let mut text = String::new();
                entry
                    .take(MAX_CONTROL)
                    .read_to_string(&mut text)
                    .map_err(|error| refuse(deb, &format!("control: {error}")))?;
                return Ok(text);
            }
        }
        Err(refuse(deb, "control.tar has no file control"))
    })
}

/// Hands over a decompressed member of the package, by the beginning of its name.
fn member<T>(
    deb: &Path,
    wanted: &str,
    then: impl FnOnce(&mut dyn Read) -> Result<T, SetupError>,
) -> Result<T, SetupError> {
    let file = File::open(deb).map_err(SetupError::io("reading", deb))?;
    let mut archive = ar::Archive::new(io::BufReader::new(file));
    let mut first = true;
    while let Some(member) = archive.next_entry() {
        let mut member = member.map_err(|error| refuse(deb, &error.to_string()))?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        if std::mem::take(&mut first) {
            let mut version = Vec::new();
            member
                .by_ref()
                .take(16)
                .read_to_end(&mut version)
                .map_err(SetupError::io("reading", deb))?;
            if name != "debian-binary" || !version.starts_with(b"2.") {
                return Err(refuse(deb, "expected a Debian package of format 2"));
            }
        } else if name.starts_with(wanted) {
            let mut data =
                decompress::reader(member).map_err(SetupError::io("decompressing", deb))?;
            return then(&mut data);
        }
    }
    Err(refuse(deb, &format!("no member {wanted}")))
}

/// The same of a tar archive that a package brought; `deb` names it in errors.
///
/// # Errors
/// As [`unpack`].
pub(super) fn unpack_tar(
    deb: &Path,
    data: impl Read,
    folder: &mut Folder<'_>,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), SetupError> {
    let mut archive = tar::Archive::new(data);
    let entries = archive.entries().map_err(SetupError::io("reading", deb))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| refuse(deb, &format!("data.tar: {error}")))?;
        folder.count().map_err(|what| refuse(deb, &what))?;
        let path = entry
            .path()
            .map_err(|error| refuse(deb, &error.to_string()))?;
        let path = inside(&path)
            .ok_or_else(|| refuse(deb, &format!("{}: leaves the folder", path.display())))?;
        if path.as_os_str().is_empty() || !wanted(&path) {
            continue;
        }
        place(&mut entry, folder, &path)
            .map_err(|what| refuse(deb, &format!("{}: {what}", path.display())))?;
    }
    Ok(())
}

fn place(
    entry: &mut tar::Entry<'_, impl Read>,
    folder: &mut Folder<'_>,
    path: &Path,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let kind = entry.header().entry_type();
    let link = entry
        .link_name()
        .map_err(text)?
        .map(std::borrow::Cow::into_owned);
    match (kind, link) {
        (tar::EntryType::Directory, _) => folder.dir(path),
        (tar::EntryType::Regular | tar::EntryType::Continuous, _) => {
            let executable = entry.header().mode().map_err(text)? & 0o111 != 0;
            let size = entry.size();
            folder.file(path, executable, size, entry)
        }
        (tar::EntryType::Symlink, Some(target)) => folder.symlink(path, &target),
        (tar::EntryType::Link, Some(target)) => folder.hard_link(path, &target),
        (kind, _) => Err(format!("unexpected kind of entry {kind:?}")),
    }
}

fn refuse(deb: &Path, what: &str) -> SetupError {
    SetupError::Package {
        file: deb.into(),
        what: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Item<'a> {
        File(&'a str, &'a str),
        Link(&'a str, &'a str),
        Hard(&'a str, &'a str),
        Fifo(&'a str),
    }
    use Item::{Fifo, File as Plain, Hard, Link};

    /// Writes the name itself: the tar crate's own setter refuses hostile ones.
    fn header(name: &str, kind: tar::EntryType, link: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o4755);
        header.set_cksum();
        header
    }

    fn data(items: &[Item<'_>]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for item in items {
            let (header, bytes) = match item {
                Plain(name, bytes) => (
                    header(name, tar::EntryType::Regular, "", bytes.len() as u64),
                    *bytes,
                ),
                Link(name, to) => (header(name, tar::EntryType::Symlink, to, 0), ""),
                Hard(name, to) => (header(name, tar::EntryType::Link, to, 0), ""),
                Fifo(name) => (header(name, tar::EntryType::Fifo, "", 0), ""),
            };
            tar.append(&header, bytes.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = ar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            out.append(&header, *bytes).unwrap();
        }
        out.into_inner().unwrap()
    }

    fn check(bytes: &[u8], look: impl Fn(&Path)) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let (file, root) = (dir.path().join("p.deb"), dir.path().join("a/b/root"));
        std::fs::write(&file, bytes).unwrap();
        std::fs::create_dir_all(&root).unwrap();
        let result = unpack(&file, &root, &|path| !path.starts_with("unwanted"));
        look(&root);
        let outside: Vec<_> = std::fs::read_dir(dir.path().join("a/b")).unwrap().collect();
        assert_eq!(outside.len(), 1, "something was written outside");
        result.map_err(|error| {
            error
                .to_string()
                .replace(&dir.path().display().to_string(), "")
        })
    }

    fn package(items: &[Item<'_>]) -> Vec<u8> {
        deb(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", b""),
            ("data.tar", &data(items)),
        ])
    }

    fn refused(items: &[Item<'_>], why: &str) {
        let error = check(&package(items), |_| {}).unwrap_err();
        assert!(
            error.starts_with("/p.deb: ") && error.contains(why),
            "{error}"
        );
    }

    #[test]
    fn files_and_links_are_unpacked_and_the_rest_is_not() {
        let items = [
            Plain("./usr/src/h/Makefile", "include"),
            Link("./lib/modules/6.1/build", "/usr/src/h"),
            Link("./usr/src/h/scripts", "../../lib/kbuild"),
            Hard("./usr/copy", "./usr/src/h/Makefile"),
            Plain("./unwanted/x", "x"),
        ];
        check(&package(&items), |root| {
            let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
            assert_eq!(read("lib/modules/6.1/build/Makefile"), "include");
            assert_eq!(read("usr/copy"), "include");
            assert!(!root.join("unwanted").exists());
            let link = std::fs::read_link(root.join("lib/modules/6.1/build")).unwrap();
            assert_eq!(link, Path::new("../../../usr/src/h"));
        })
        .unwrap();
    }

    #[test]
    fn no_file_becomes_setuid() {
        check(&package(&[Plain("a", "")]), |root| {
            use std::os::unix::fs::PermissionsExt;
            let mode = root.join("a").metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7000, 0);
        })
        .unwrap();
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        refused(&[Plain("../escape", "x")], "leaves the folder");
        refused(&[Plain("./a/../../escape", "x")], "leaves the folder");
        refused(&[Plain("/escape", "x")], "leaves the folder");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        refused(&[Link("./d", "."), Plain("./d/x", "x")], "d/x");
        refused(&[Link("./x", "y"), Plain("./x", "x")], "x");
    }

    #[test]
    fn links_that_leave_the_folder_are_refused() {
        refused(&[Link("./d", "..")], "outside");
        refused(&[Link("./a/d", "../..")], "outside");
        refused(&[Link("./a/d", "b/../../..")], "outside");
        refused(&[Link("./d", "/../../x")], "outside");
        refused(&[Hard("./d", "../../x")], "outside");
    }

    #[test]
    fn devices_and_pipes_are_refused() {
        refused(&[Fifo("./p")], "unexpected kind");
    }

    #[test]
    fn what_is_no_package_is_refused() {
        assert!(
            check(b"!<arch>\n", |_| {})
                .unwrap_err()
                .contains("no member data.tar")
        );
        let other = deb(&[("data.tar", &data(&[]))]);
        assert!(
            check(&other, |_| {})
                .unwrap_err()
                .contains("expected a Debian package")
        );
        assert!(check(b"text", |_| {}).is_err());
    }

    #[test]
    fn a_package_cut_short_is_an_error() {
        let whole = package(&[Plain("./a", &"x".repeat(5000))]);
        assert!(check(&whole[..whole.len() - 3000], |_| {}).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_damaged_package_panics_or_escapes(at in 0..4096_usize, value: u8) {
            let mut bytes = package(&[Plain("./a/b", "x"), Link("./a/l", "b"), Hard("./h", "./a/b")]);
            let length = bytes.len();
            bytes[at % length] = value;
            let _ = check(&bytes, |_| {});
        }
    }
}
