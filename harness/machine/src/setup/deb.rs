//! Unpacks Debian packages (deb(5)) without dpkg, into a folder that is not the system's root. A package is
//! untrusted: nothing is written outside of the folder, through no link, and not without limit. Maintainer
//! scripts are not run.
use super::{SetupError, decompress};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Most entries a package may have; linux-headers-common has some 14,000.
const MAX_ENTRIES: u64 = 500_000;
/// Most bytes the unpacked package may have; linux-image has 400 MB.
const MAX_BYTES: u64 = 8 << 30;

/// Unpacks what `wanted` picks (paths relative, without `./`) into `root`. Absolute links are made
/// relative to `root`.
///
/// # Errors
/// [`SetupError::Package`] naming the entry, [`SetupError::Io`].
pub fn unpack(deb: &Path, root: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<(), SetupError> {
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
        } else if name.starts_with("data.tar") {
            let data = decompress::reader(member).map_err(SetupError::io("decompressing", deb))?;
            return unpack_tar(deb, data.take(MAX_BYTES), root, wanted);
        }
    }
    Err(refuse(deb, "no member data.tar"))
}

/// The same of a tar archive that a package brought; `deb` names it in errors.
///
/// # Errors
/// As [`unpack`].
pub(super) fn unpack_tar(
    deb: &Path,
    data: impl Read,
    root: &Path,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<(), SetupError> {
    let mut archive = tar::Archive::new(data);
    let entries = archive.entries().map_err(SetupError::io("reading", deb))?;
    let mut count = 0_u64;
    for entry in entries {
        let mut entry = entry.map_err(|error| refuse(deb, &format!("data.tar: {error}")))?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(refuse(deb, &format!("more than {MAX_ENTRIES} entries")));
        }
        let path = entry
            .path()
            .map_err(|error| refuse(deb, &error.to_string()))?;
        let path = inside(&path)
            .ok_or_else(|| refuse(deb, &format!("{}: leaves the folder", path.display())))?;
        if path.as_os_str().is_empty() || !wanted(&path) {
            continue;
        }
        place(&mut entry, root, &path)
            .map_err(|what| refuse(deb, &format!("{}: {what}", path.display())))?;
    }
    Ok(())
}

fn place(entry: &mut tar::Entry<'_, impl Read>, root: &Path, path: &Path) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let to = root.join(path);
    make_parents(root, path)?;
    let kind = entry.header().entry_type();
    let link = entry
        .link_name()
        .map_err(text)?
        .map(std::borrow::Cow::into_owned);
    match (kind, link) {
        (tar::EntryType::Directory, _) => match std::fs::create_dir(&to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_real_dir(&to) => {
                Ok(())
            }
            other => other.map_err(text),
        },
        (tar::EntryType::Regular | tar::EntryType::Continuous, _) => {
            let executable = entry.header().mode().map_err(text)? & 0o111 != 0;
            let mode = if executable { 0o755 } else { 0o644 };
            let mut options = std::fs::OpenOptions::new();
            // Never through a link, nor over what another entry has written.
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&to)
                .map_err(text)?;
            io::copy(entry, &mut file)
                .and_then(|_| file.flush())
                .map_err(text)
        }
        (tar::EntryType::Symlink, Some(target)) => {
            let target = link_target(path, &target)
                .ok_or_else(|| format!("links to {}, outside", target.display()))?;
            symlink(target, &to).map_err(text)
        }
        (tar::EntryType::Link, Some(target)) => {
            let target =
                inside(&target).ok_or_else(|| format!("links to {}, outside", target.display()))?;
            make_parents(root, &target)?;
            std::fs::hard_link(root.join(target), &to).map_err(text)
        }
        (kind, _) => Err(format!("unexpected kind of entry {kind:?}")),
    }
}

/// Every folder above the path, as a folder and not as a link to one.
fn make_parents(root: &Path, path: &Path) -> Result<(), String> {
    let mut at = root.to_path_buf();
    for part in path.parent().into_iter().flat_map(Path::components) {
        at.push(part);
        if !is_real_dir(&at) {
            std::fs::create_dir(&at)
                .map_err(|error| format!("lies below {}: {error}", at.display()))?;
        }
    }
    Ok(())
}

fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// `./a/b` → `a/b`; `None` if absolute or with `..`.
pub(super) fn inside(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(out)
}

/// The link's target so that it stays inside wherever the folder lies; `None` if it cannot.
///
/// `..` may only come first: behind another link it would climb from where that one points to.
fn link_target(link: &Path, target: &Path) -> Option<PathBuf> {
    let depth = link.parent()?.components().count();
    let (climbs, rest) = match target.strip_prefix("/") {
        Ok(absolute) => (depth, absolute.to_path_buf()),
        Err(_) => {
            let parts = target.components();
            let climbs = parts
                .take_while(|&part| part == Component::ParentDir)
                .count();
            (climbs, target.components().skip(climbs).collect())
        }
    };
    if climbs > depth {
        return None;
    }
    let ups: PathBuf = std::iter::repeat_n("..", climbs).collect();
    let out = ups.join(inside(&rest)?);
    // The folder that the link is in; a link cannot be empty.
    Some(if out.as_os_str().is_empty() {
        ".".into()
    } else {
        out
    })
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
