//! A private root of apt: the machine's own mirrors with other suites, in a folder of the cache. What the machine
//! itself is configured with, and its lists, stay as they are. Works without root.
//!
//! `apt.conf`, `sources.list.d/`, `preferences` are written by us; `state/` and `cache/` by apt. `updated` holds the
//! sources whose lists are whole.
use super::apt::Apt;
use super::apt_sources::Mirrors;
use super::cache::{self, Cache};
use super::{SetupError, SetupEvent, child, hash};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What apt says of a suite that the mirror has not (apt 2.6); 404 where an index is gone.
const NO_SUITE: &[&str] = &[
    "have a Release file",
    "has a Release file",
    "404  Not Found",
    "File not found",
];

/// A folder with lists of its own.
#[derive(Debug, Clone)]
pub struct AptRoot {
    dir: PathBuf,
    suites: Vec<String>,
}

impl AptRoot {
    /// The root for these suites, preferred first: a package that several of them have comes from the first.
    /// Asks no network; [`AptRoot::update`] does.
    ///
    /// # Errors
    /// [`SetupError::NoMirror`] when the machine's apt has no mirror of Debian; [`SetupError::Io`].
    pub fn for_suites(cache: &Cache, suites: &[String]) -> Result<Self, SetupError> {
        Self::with_sources(cache, suites, &Mirrors::find()?.sources(suites)?)
    }

    /// The same, with a sources file (deb822 format) that is given.
    ///
    /// # Errors
    /// [`SetupError::Io`].
    pub(super) fn with_sources(
        cache: &Cache,
        suites: &[String],
        sources: &str,
    ) -> Result<Self, SetupError> {
        let mut hasher = Sha256::new();
        for suite in suites {
            hash::part(&mut hasher, suite.as_bytes());
        }
        let mut key = hash::hex(&hasher.finalize());
        key.truncate(12);
        let name = format!("apt/{key}");
        let dir = cache.folder(&name)?;
        for folder in [
            "sources.list.d",
            "state/lists/partial",
            "cache/archives/partial",
        ] {
            cache.folder(&format!("{name}/{folder}"))?;
        }
        let write = |file: &str, text: &str| {
            let file = dir.join(file);
            if std::fs::read_to_string(&file).is_ok_and(|there| there == text) {
                return Ok(());
            }
            cache::write_whole(&dir, &file, text.as_bytes())
        };
        write("apt.conf", &configuration(&dir))?;
        write("preferences", &preferences(suites))?;
        write("state/status", "")?;
        // A mirror's address may have a password in it: write_whole makes files that only their owner reads.
        write("sources.list.d/recrash.sources", sources)?;
        Ok(Self {
            dir,
            suites: suites.into(),
        })
    }

    /// The suites, preferred first.
    #[must_use]
    pub fn suites(&self) -> &[String] {
        &self.suites
    }

    /// apt with this root: every question and download goes through it.
    #[must_use]
    pub fn apt(&self) -> Apt {
        Apt::with_config(self.dir.join("apt.conf"))
    }

    /// Whether the lists were fetched whole, from the mirrors that the machine has now.
    #[must_use]
    pub fn is_updated(&self) -> bool {
        let read = |file: &str| std::fs::read(self.dir.join(file)).ok();
        let fetched = read("updated");
        fetched.is_some() && fetched == read("sources.list.d/recrash.sources")
    }

    /// Fetches the suites' lists; apt checks their signatures.
    ///
    /// # Errors
    /// [`SetupError::NoSuite`] with apt's words when the mirror has no such suite, [`SetupError::Child`] when the
    /// network or a signature fails.
    pub fn update(&self, on: &mut dyn FnMut(SetupEvent)) -> Result<(), SetupError> {
        let updated = self.dir.join("updated");
        cache::remove(&updated)?;
        on(SetupEvent::Started {
            what: format!("fetching the lists of {}", self.suites.join(", ")),
        });
        let arguments = self.apt().arguments(&["-q", "update"]);
        let output = child::logged("apt-get", &arguments, &mut |line| {
            on(SetupEvent::Log { line: line.into() });
        })?;
        if !output.status.success() {
            return Err(self.failure(&arguments, &output));
        }
        let sources = self.dir.join("sources.list.d/recrash.sources");
        let text = std::fs::read(&sources).map_err(SetupError::io("reading", &sources))?;
        cache::write_whole(&self.dir, &updated, &text)?;
        on(SetupEvent::Done);
        Ok(())
    }

    fn failure(&self, arguments: &[String], output: &std::process::Output) -> SetupError {
        let text = String::from_utf8_lossy(&output.stdout);
        let errors: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(['E', 'W']) && line.get(1..2) == Some(":"))
            .collect();
        let is_absent = |line: &&str| NO_SUITE.iter().any(|words| line.contains(words));
        if errors.iter().any(is_absent) {
            return SetupError::NoSuite {
                suites: self.suites.join(", "),
                output: errors.join("\n"),
            };
        }
        child::failure(&format!("apt-get {}", arguments.join(" ")), output)
    }
}

/// Read after the machine's own configuration (`-c`), so proxies and the like stay.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
// Written by recrash: lists of their own, nothing of the machine's.
Dir::State \"{dir}/state\";
Dir::State::lists \"lists/\";
Dir::State::status \"{dir}/state/status\";
Dir::Cache \"{dir}/cache\";
Dir::Cache::archives \"archives/\";
Dir::Cache::pkgcache \"pkgcache.bin\";
Dir::Cache::srcpkgcache \"\";
Dir::Etc::sourcelist \"/dev/null\";
Dir::Etc::sourceparts \"{dir}/sources.list.d\";
Dir::Etc::preferences \"{dir}/preferences\";
Dir::Etc::preferencesparts \"{dir}/none\";
// _apt cannot write below a home folder.
APT::Sandbox::User \"root\";
APT::Default-Release \"\";
APT::Update::Error-Mode \"any\";
Acquire::GzipIndexes \"true\";
// They look after the system's lists.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"
    )
}

/// apt_preferences(5): the higher priority wins, whatever the versions. Backports would have 100 otherwise.
fn preferences(suites: &[String]) -> String {
    let stanzas = suites
        .iter()
        .zip((500..1000).rev())
        .map(|(suite, priority)| {
            format!("Package: *\nPin: release n={suite}\nPin-Priority: {priority}\n")
        });
    stanzas.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::apt::{self, Source};
    use super::super::test_repository::{Repository, has_apt};
    use super::super::{LockedPackage, Role};
    use super::*;

    /// An archive with two suites, and the root for `suites`, preferred first.
    fn root_of(
        suites: &[&str],
        change: impl Fn(String) -> String,
    ) -> (tempfile::TempDir, Cache, AptRoot) {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = Repository::at(dir.path());
        archive
            .package(
                "kernel",
                "5.10-1",
                "lib1 (>= 1)",
                &[("boot/k", "old", 0o644)],
            )
            .publish("old")
            .package("kernel", "6.12-1", "", &[("boot/k", "new", 0o644)])
            .package("other", "1", "", &[])
            .publish("new");
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let sources = change(archive.sources(suites));
        let suites: Vec<String> = suites.iter().map(|suite| (*suite).to_owned()).collect();
        let root = AptRoot::with_sources(&cache, &suites, &sources).unwrap();
        (dir, cache, root)
    }

    fn version_of(root: &AptRoot, name: &str) -> String {
        let records = root.apt().records(&[name.to_owned()]).unwrap();
        records
            .first()
            .map(|record| record.version.clone())
            .unwrap_or_default()
    }

    #[test]
    fn packages_come_from_the_suites_asked_for_and_the_first_is_preferred() {
        if !has_apt() {
            return;
        }
        for (suites, kernel, other) in [
            (vec!["old", "new"], "5.10-1", "1"),
            (vec!["new", "old"], "6.12-1", "1"),
            (vec!["old"], "5.10-1", ""),
        ] {
            let (_dir, _cache, root) = root_of(&suites, |text| text);
            assert!(!root.is_updated());
            root.update(&mut |_| {}).unwrap();
            assert!(root.is_updated());
            assert_eq!(version_of(&root, "kernel"), kernel, "{suites:?}");
            assert_eq!(version_of(&root, "other"), other, "{suites:?}");
            // The machine's own packages are none of it.
            assert_eq!(version_of(&root, "dpkg"), "");
        }
    }

    #[test]
    fn a_package_is_downloaded_as_the_lists_promise_it() {
        if !has_apt() {
            return;
        }
        let (dir, _cache, root) = root_of(&["old"], |text| text);
        root.update(&mut |_| {}).unwrap();
        let package: LockedPackage = apt::one(&root.apt(), "kernel")
            .unwrap()
            .lock(Role::Image)
            .unwrap();
        let into = dir.path().join("into");
        std::fs::create_dir(&into).unwrap();
        apt::download(&root.apt(), &[&package], &into, &mut |_| {}).unwrap();
        let file = into.join("kernel_5.10-1_amd64.deb");
        assert_eq!(hash::file(&file).unwrap(), package.sha256);
    }

    #[test]
    fn a_suite_that_the_mirror_has_not_is_named_with_apts_words() {
        if !has_apt() {
            return;
        }
        // Without a Release file apt still tries a mirror that it is told to trust.
        for (trusted, words) in [
            ("yes", "dists/absent/main/binary-amd64/Packages"),
            ("no", "absent Release' does not have a Release file"),
        ] {
            let trust = |text: String| text.replace("Trusted: yes", &format!("Trusted: {trusted}"));
            let (_dir, _cache, root) = root_of(&["absent"], trust);
            let error = root.update(&mut |_| {}).unwrap_err();
            assert!(matches!(error, SetupError::NoSuite { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("does not serve absent"), "{text}");
            assert!(text.contains(words), "{text}");
            assert!(!root.is_updated());
        }
    }

    #[test]
    fn a_mirror_without_a_signature_is_refused_unless_the_machine_trusts_it() {
        if !has_apt() {
            return;
        }
        let (_dir, _cache, root) = root_of(&["old"], |text| text.replace("Trusted: yes\n", ""));
        let error = root.update(&mut |_| {}).unwrap_err();
        assert!(matches!(error, SetupError::Child { .. }), "{error:?}");
        assert!(error.to_string().contains("is not signed"), "{error}");
        assert_eq!(version_of(&root, "kernel"), "");
    }

    #[test]
    fn lists_of_other_mirrors_are_not_used() {
        if !has_apt() {
            return;
        }
        let (_dir, cache, root) = root_of(&["old"], |text| text);
        root.update(&mut |_| {}).unwrap();
        let other = "Types: deb\nURIs: file:/no/such\nSuites: old\nComponents: main\n";
        let same = AptRoot::with_sources(&cache, root.suites(), other).unwrap();
        assert!(!same.is_updated());
    }
}
