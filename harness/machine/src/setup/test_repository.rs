//! A tiny Debian archive in a folder, for tests: apt reads it through `file:`. Unsigned, so it is `trusted`.
use super::hash;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Whether apt is here; a test without it says that it was skipped.
pub(super) fn has_apt() -> bool {
    let there = super::child::which("apt-get").is_some();
    if !there {
        eprintln!("skipped: there is no apt-get here");
    }
    there
}

/// An archive with suites.
pub(super) struct Repository {
    dir: PathBuf,
    index: String,
}

impl Repository {
    /// In this folder, which must be there.
    pub(super) fn at(dir: &Path) -> Self {
        std::fs::create_dir_all(dir.join("pool")).unwrap();
        Self {
            dir: dir.into(),
            index: String::new(),
        }
    }

    /// Adds a package with these files (path, contents, permission bits).
    pub(super) fn package(
        &mut self,
        name: &str,
        version: &str,
        depends: &str,
        files: &[(&str, &str, u32)],
    ) -> &mut Self {
        let bytes = deb(files);
        let file = format!("pool/{name}_{version}.deb");
        let path = self.dir.join(&file);
        std::fs::write(&path, &bytes).unwrap();
        let (size, sha256) = (bytes.len(), hash::file(&path).unwrap());
        let depends = if depends.is_empty() {
            String::new()
        } else {
            format!("Depends: {depends}\n")
        };
        let _ = write!(
            self.index,
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\n\
             {depends}Filename: {file}\nSize: {size}\nSHA256: {sha256}\nDescription: for a test\n\n"
        );
        self
    }

    /// Writes what was added as a suite; the next suite begins empty.
    pub(super) fn publish(&mut self, suite: &str) -> &mut Self {
        let index = std::mem::take(&mut self.index);
        let dists = self.dir.join("dists").join(suite);
        let packages = "main/binary-amd64/Packages";
        std::fs::create_dir_all(dists.join("main/binary-amd64")).unwrap();
        std::fs::write(dists.join(packages), &index).unwrap();
        let sha256 = hash::file(&dists.join(packages)).unwrap();
        let release = format!(
            "Origin: Test\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n\
             Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n {sha256} {} {packages}\n",
            index.len()
        );
        std::fs::write(dists.join("Release"), release).unwrap();
        self
    }

    /// Sources for these suites.
    pub(super) fn sources(&self, suites: &[&str]) -> String {
        format!(
            "Types: deb\nURIs: file:{}\nSuites: {}\nComponents: main\nArchitectures: amd64\nTrusted: yes\nTargets: Packages\n",
            self.dir.display(),
            suites.join(" ")
        )
    }
}

fn deb(files: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut data = tar::Builder::new(Vec::new());
    for (path, contents, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(*mode);
        header.set_entry_type(tar::EntryType::Regular);
        data.append_data(&mut header, path, contents.as_bytes())
            .unwrap();
    }
    let data = data.into_inner().unwrap();
    let mut out = ar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar", b""),
        ("data.tar", &data),
    ] {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        out.append(&header, bytes).unwrap();
    }
    out.into_inner().unwrap()
}
