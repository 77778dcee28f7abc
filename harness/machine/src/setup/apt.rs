//! Asks apt which packages a target needs, and has it download them. Works without root as long
//! as apt has its lists. Installs nothing ([`super::host`] does).
use super::{LockedPackage, Role, SetupError, SetupEvent, child};
use crate::target::is_package_name;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What apt knows about one version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name.
    pub name: String,
    /// Version with epoch.
    pub version: String,
    /// For each dependency, the names of its alternatives.
    pub depends: Vec<Vec<String>>,
    /// In hex; `None` if no archive has this version any more.
    pub sha256: Option<String>,
    /// Of the .deb, in bytes.
    pub size: u64,
}

impl Record {
    /// The first alternative of each dependency.
    fn first_depends(&self) -> impl Iterator<Item = &str> {
        self.depends
            .iter()
            .filter_map(|names| names.first())
            .map(String::as_str)
    }

    pub(super) fn lock(&self, role: Role) -> Result<LockedPackage, SetupError> {
        Ok(LockedPackage {
            name: self.name.clone(),
            version: self.version.clone(),
            role,
            sha256: self.sha256.clone().ok_or_else(|| SetupError::Metadata {
                package: self.name.clone(),
                what: "no SHA256: no archive has this version; apt-get update may help".into(),
            })?,
            size: self.size,
        })
    }
}

/// Reads the stanzas that `apt-cache show` prints (deb822(5)); those that are not usable are left out.
#[must_use]
pub fn parse_records(text: &str) -> Vec<Record> {
    text.split("\n\n").filter_map(parse_record).collect()
}

fn parse_record(stanza: &str) -> Option<Record> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    // Lines that begin with a space continue a field; none of those read here has such.
    for line in stanza.lines().filter(|line| !line.starts_with([' ', '\t'])) {
        if let Some((name, value)) = line.split_once(':') {
            fields.entry(name).or_insert(value.trim());
        }
    }
    let name = fields.get("Package").filter(|name| is_package_name(name))?;
    let version = fields
        .get("Version")
        .filter(|version| is_version(version))?;
    let is_hash =
        |text: &&&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(Record {
        name: (*name).into(),
        version: (*version).into(),
        depends: fields
            .get("Depends")
            .map(|text| parse_depends(text))
            .unwrap_or_default(),
        sha256: fields
            .get("SHA256")
            .filter(is_hash)
            .map(|hash| hash.to_ascii_lowercase()),
        size: fields
            .get("Size")
            .and_then(|size| size.parse().ok())
            .unwrap_or(0),
    })
}

/// `a (>= 1), b:any | c` → `[[a], [b, c]]`.
fn parse_depends(text: &str) -> Vec<Vec<String>> {
    let name = |alternative: &str| {
        let name = alternative
            .split([' ', '(', ':'])
            .find(|part| !part.is_empty())?;
        is_package_name(name).then(|| name.to_owned())
    };
    text.split(',')
        .map(|dependency| dependency.split('|').filter_map(name).collect::<Vec<_>>())
        .filter(|names| !names.is_empty())
        .collect()
}

/// Debian policy 5.6.12, so that a version can stand in a file name and on a command line.
pub(super) fn is_version(version: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".+-~:".contains(c);
    version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(allowed)
}

/// Where records come from; tests have their own.
pub trait Source {
    /// The candidate version's record of each package that is known; unknown ones are left out.
    ///
    /// # Errors
    /// When apt cannot be run.
    fn records(&self, names: &[String]) -> Result<Vec<Record>, SetupError>;
}

/// The machine's apt, or one with a root of its own ([`super::apt_root`]).
#[derive(Debug, Clone, Default)]
pub struct Apt {
    config: Option<PathBuf>,
}

impl Apt {
    /// As the machine is configured.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// With this configuration file, which apt reads last.
    pub(super) fn with_config(file: PathBuf) -> Self {
        Self { config: Some(file) }
    }

    /// What follows `apt-get` or `apt-cache`.
    pub(super) fn arguments(&self, words: &[&str]) -> Vec<String> {
        let config = self.config.iter();
        let config = config.flat_map(|file| ["-c".to_owned(), file.display().to_string()]);
        config
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect()
    }
}

impl Source for Apt {
    fn records(&self, names: &[String]) -> Result<Vec<Record>, SetupError> {
        // Fails when it knows none of them, which is no failure here.
        let arguments = self.arguments(&["show", "--no-all-versions", "--"]);
        let output = child::quiet(
            "apt-cache",
            arguments.into_iter().chain(names.iter().cloned()),
        )?;
        Ok(parse_records(&output))
    }
}

/// What a target needs, as apt knows it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `uname -r`.
    pub release: String,
    /// The compiler that the kernel's headers name, for example `gcc-12`.
    pub compiler: String,
    /// Libraries that the headers' build tools (objtool, modpost) need on the host.
    pub host_libraries: Vec<String>,
    /// What to download.
    pub packages: Vec<LockedPackage>,
}

/// Which packages to work out.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Meta package of the image.
    pub image: &'a str,
    /// Meta package of the headers.
    pub headers: &'a str,
    /// Package of makedumpfile.
    pub makedumpfile: Option<&'a str>,
    /// Take the compiler and the build tools' libraries too, instead of the host's.
    pub toolchain: bool,
}

/// Works out the packages: from the meta packages, because point releases disappear from the archive.
///
/// # Errors
/// [`SetupError::UnknownPackage`], [`SetupError::Metadata`].
pub fn resolve(source: &dyn Source, wanted: Wanted<'_>) -> Result<Plan, SetupError> {
    let Wanted {
        image: image_meta,
        headers: headers_meta,
        makedumpfile,
        toolchain,
    } = wanted;
    let image_name = dependency(&one(source, image_meta)?, "linux-image-")?;
    let headers_name = dependency(&one(source, headers_meta)?, "linux-headers-")?;
    let release = image_name.trim_start_matches("linux-image-").to_owned();
    if headers_name != format!("linux-headers-{release}") {
        return Err(SetupError::Metadata {
            package: headers_meta.into(),
            what: format!(
                "depends on {headers_name}, but the image is {image_name}; apt-get update may help"
            ),
        });
    }
    let headers = one(source, &headers_name)?;
    let mut packages = vec![
        one(source, &image_name)?.lock(Role::Image)?,
        headers.lock(Role::Headers)?,
    ];
    let mut host_libraries = Vec::new();
    for name in headers.first_depends().filter(|name| is_build_part(name)) {
        let part = one(source, name)?;
        packages.push(part.lock(Role::Headers)?);
        host_libraries.extend(
            part.first_depends()
                .filter(|name| is_library(name))
                .map(String::from),
        );
    }
    let compiler = headers
        .depends
        .iter()
        .flatten()
        .find_map(|name| compiler_in(name));
    let compiler = compiler.ok_or_else(|| SetupError::Metadata {
        package: headers_name,
        what: "depends on no compiler (gcc-N)".into(),
    })?;
    host_libraries.sort();
    host_libraries.dedup();
    if let Some(tool) = makedumpfile {
        packages.extend(tool_closure(source, tool)?);
    }
    if toolchain {
        let mut roots = std::mem::take(&mut host_libraries);
        roots.push(compiler.clone());
        packages.extend(closure(source, &roots, Role::Toolchain, is_of_a_toolchain)?);
    }
    Ok(Plan {
        release,
        compiler,
        host_libraries,
        packages,
    })
}

/// The record of one package.
///
/// # Errors
/// [`SetupError::UnknownPackage`].
pub(super) fn one(source: &dyn Source, name: &str) -> Result<Record, SetupError> {
    let records = source.records(&[name.to_owned()])?;
    records
        .into_iter()
        .find(|record| record.name == name)
        .ok_or_else(|| SetupError::UnknownPackage {
            package: name.into(),
            hint: String::new(),
        })
}

fn dependency(record: &Record, prefix: &str) -> Result<String, SetupError> {
    let found = record.first_depends().find(|name| name.starts_with(prefix));
    found.map(String::from).ok_or_else(|| SetupError::Metadata {
        package: record.name.clone(),
        what: format!("depends on no {prefix}*"),
    })
}

/// linux-headers-6.1.0-56-common, linux-kbuild-6.1. Not the image: trixie's headers depend on that too.
fn is_build_part(name: &str) -> bool {
    name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-")
}

/// Bookworm: linux-compiler-gcc-12-x86. Trixie: gcc-14.
fn compiler_in(name: &str) -> Option<String> {
    let (_, rest) = name
        .rsplit_once("gcc-")
        .filter(|(before, _)| before.is_empty() || before.ends_with('-'))?;
    let version: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!version.is_empty()).then(|| format!("gcc-{version}"))
}

/// Shared libraries by Debian's naming. `libgcc-s1` needs `gcc-12-base`, which holds no library.
fn is_library(name: &str) -> bool {
    name.starts_with("lib") || name.starts_with("zlib1g")
}

/// A tool and the library packages that it depends on.
pub(super) fn tool_closure(
    source: &dyn Source,
    tool: &str,
) -> Result<Vec<LockedPackage>, SetupError> {
    closure(source, &[tool.to_owned()], Role::Tools, is_library)
}

/// Of what a compiler depends on: its parts, the assembler and the linker, libraries. Packages without a program or
/// a library are left out.
fn is_of_a_toolchain(name: &str) -> bool {
    let part = ["cpp-", "gcc-", "binutils"]
        .iter()
        .any(|begin| name.starts_with(begin));
    is_library(name) || (part && !name.ends_with("-base") && !name.ends_with("-common"))
}

/// Packages and those that they depend on and `wanted` picks, however indirectly. perl is never wanted: only
/// makedumpfile-R.pl needs it. What libgcc-N-dev depends on are sanitizers and the like, which no kernel has.
fn closure(
    source: &dyn Source,
    roots: &[String],
    role: Role,
    wanted: fn(&str) -> bool,
) -> Result<Vec<LockedPackage>, SetupError> {
    let mut packages = Vec::new();
    let mut seen: BTreeSet<String> = roots.iter().cloned().collect();
    let mut level: Vec<String> = seen.iter().cloned().collect();
    while !level.is_empty() {
        let records = source.records(&level)?;
        if let Some(unknown) = level
            .iter()
            .find(|name| !records.iter().any(|record| record.name == **name))
        {
            return Err(SetupError::UnknownPackage {
                package: unknown.clone(),
                hint: format!(" ({} needs it)", roots.join(", ")),
            });
        }
        level.clear();
        for record in records {
            packages.push(record.lock(role)?);
            if record.name.ends_with("-dev") {
                continue;
            }
            let needs = record.first_depends().filter(|name| wanted(name));
            level.extend(
                needs
                    .filter(|name| seen.insert((*name).to_owned()))
                    .map(String::from),
            );
        }
    }
    Ok(packages)
}

/// Downloads packages into a folder. apt itself checks them against its signed lists; the caller does so
/// again.
///
/// # Errors
/// [`SetupError::Child`] with apt's own words.
pub fn download(
    apt: &Apt,
    packages: &[&LockedPackage],
    into: &Path,
    on: &mut dyn FnMut(SetupEvent),
) -> Result<(), SetupError> {
    // As root, apt downloads as user _apt, who cannot write here, and warns.
    let options = apt.arguments(&["-q", "-o", "APT::Sandbox::User=root", "download", "--"]);
    let wanted = packages
        .iter()
        .map(|package| format!("{}={}", package.name, package.version));
    let total = packages.iter().map(|package| package.size).sum();
    let running = child::start("apt-get", options.into_iter().chain(wanted), into)?;
    loop {
        let ended = running.wait_timeout(Duration::from_millis(100))?;
        on(SetupEvent::Progress {
            bytes: bytes_in(into).min(total),
            total,
        });
        if ended {
            return running.finish();
        }
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|found| found.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str = "\
Package: linux-image-amd64\nVersion: 6.1.192-2\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\n\n\
Package: linux-headers-amd64\nVersion: 6.1.192-2\nDepends: linux-headers-6.1.0-56-amd64 (= 6.1.192-2)\n\n\
Package: linux-image-6.1.0-56-amd64\nVersion: 6.1.192-2\nSize: 7\nSHA256: HASH\nDepends: kmod, linux-base (>= 4.3~)\n\n\
Package: linux-headers-6.1.0-56-amd64\nVersion: 6.1.192-2\nSHA256: HASH\n\
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86\n\
Description: Header files\n Depends: nothing\n\n\
Package: linux-headers-6.1.0-56-common\nVersion: 6.1.192-2\nSHA256: HASH\n\n\
Package: linux-kbuild-6.1\nVersion: 6.1.192-2\nSHA256: HASH\nDepends: libc6 (>= 2.36), libelf1 (>= 0.131), libssl3\n\n\
Package: makedumpfile\nVersion: 1:1.7.2-1\nSHA256: HASH\nDepends: perl:any, libc6 (>= 2.34), zlib1g | libz\n\n\
Package: libc6\nVersion: 2.36-9\nSHA256: HASH\nDepends: libgcc-s1\n\n\
Package: libgcc-s1\nVersion: 12.2.0-14\nSHA256: HASH\nDepends: gcc-12-base (= 12.2.0-14), libc6 (>= 2.35)\n\n\
Package: zlib1g\nVersion: 1:1.2.13\nSHA256: HASH\nDepends: libc6 (>= 2.14)\n";

    struct Lists(String);
    impl Source for Lists {
        fn records(&self, names: &[String]) -> Result<Vec<Record>, SetupError> {
            let all = parse_records(&self.0.replace("HASH", &"aB".repeat(32)));
            Ok(all
                .into_iter()
                .filter(|record| names.contains(&record.name))
                .collect())
        }
    }

    fn check(change: impl Fn(String) -> String) -> Result<Plan, String> {
        plan(change, false)
    }

    fn plan(change: impl Fn(String) -> String, toolchain: bool) -> Result<Plan, String> {
        let lists = Lists(change(LISTS.to_owned()));
        let wanted = Wanted {
            image: "linux-image-amd64",
            headers: "linux-headers-amd64",
            makedumpfile: Some("makedumpfile"),
            toolchain,
        };
        resolve(&lists, wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn a_toolchain_of_its_own_is_the_compiler_its_parts_and_all_their_libraries() {
        const COMPILER: &str = "\n\
Package: gcc-12\nVersion: 12.2.0-14\nSHA256: HASH\nDepends: cpp-12 (= 12.2.0-14), gcc-12-base, binutils (>= 2.38), \
libgcc-12-dev, libc6, perl\n\n\
Package: cpp-12\nVersion: 12.2.0-14\nSHA256: HASH\nDepends: libc6\n\n\
Package: binutils\nVersion: 2.40-2\nSHA256: HASH\nDepends: binutils-common, zlib1g\n\n\
Package: libgcc-12-dev\nVersion: 12.2.0-14\nSHA256: HASH\nDepends: libasan8\n\n\
Package: libelf1\nVersion: 0.188\nSHA256: HASH\nDepends: libc6, zlib1g\n\n\
Package: libssl3\nVersion: 3.0\nSHA256: HASH\nDepends: libc6\n";
        let plan = plan(|text| text + COMPILER, true).unwrap();
        assert_eq!(plan.host_libraries, [""; 0]);
        let mut names: Vec<_> = plan
            .packages
            .iter()
            .filter(|package| package.role == Role::Toolchain)
            .map(|package| package.name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "binutils",
                "cpp-12",
                "gcc-12",
                "libc6",
                "libelf1",
                "libgcc-12-dev",
                "libgcc-s1",
                "libssl3",
                "zlib1g"
            ]
        );
    }

    #[test]
    fn the_meta_packages_lead_to_everything() {
        let plan = check(|text| text).unwrap();
        assert_eq!(
            (plan.release.as_str(), plan.compiler.as_str()),
            ("6.1.0-56-amd64", "gcc-12")
        );
        assert_eq!(plan.host_libraries, ["libc6", "libelf1", "libssl3"]);
        let names: Vec<_> = plan
            .packages
            .iter()
            .map(|package| (package.name.as_str(), package.role))
            .collect();
        assert_eq!(
            names,
            [
                ("linux-image-6.1.0-56-amd64", Role::Image),
                ("linux-headers-6.1.0-56-amd64", Role::Headers),
                ("linux-headers-6.1.0-56-common", Role::Headers),
                ("linux-kbuild-6.1", Role::Headers),
                ("makedumpfile", Role::Tools),
                ("libc6", Role::Tools),
                ("zlib1g", Role::Tools),
                ("libgcc-s1", Role::Tools),
            ]
        );
        assert_eq!(plan.packages[0].size, 7);
        assert_eq!(plan.packages[0].sha256, "ab".repeat(32));
    }

    #[test]
    fn a_later_release_names_its_compiler_as_a_package() {
        let plan = check(|text| text.replace("linux-compiler-gcc-12-x86", "gcc-14")).unwrap();
        assert_eq!(plan.compiler, "gcc-14");
    }

    #[test]
    fn an_unknown_package_is_named() {
        let error =
            check(|text| text.replace("Package: linux-kbuild-6.1", "Package: other")).unwrap_err();
        assert_eq!(
            error,
            "apt knows no package linux-kbuild-6.1 on this machine"
        );
        let error = check(|text| text.replace("Package: libgcc-s1", "Package: other")).unwrap_err();
        assert!(error.contains("libgcc-s1"), "{error}");
    }

    #[test]
    fn headers_of_another_kernel_are_refused() {
        let error = check(|text| {
            text.replace(
                "linux-headers-6.1.0-56-amd64 (=",
                "linux-headers-6.1.0-55-amd64 (=",
            )
        });
        assert!(
            error
                .unwrap_err()
                .contains("the image is linux-image-6.1.0-56-amd64")
        );
    }

    #[test]
    fn a_package_without_a_hash_is_refused() {
        let error =
            check(|text| text.replace("SHA256: HASH\nDepends: kmod", "SHA256: abc\nDepends: kmod"));
        assert!(error.unwrap_err().contains("no SHA256"));
    }

    #[test]
    fn names_and_versions_that_could_be_options_or_paths_are_left_out() {
        assert_eq!(parse_records("Package: --x\nVersion: 1\n"), []);
        assert_eq!(parse_records("Package: ok\nVersion: ../1\n"), []);
        assert_eq!(
            parse_depends("--x, ../y, good (>= 1) | perl:any"),
            [["good", "perl"]]
        );
    }
}
