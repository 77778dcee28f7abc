//! The command lines that make a kernel, as values. Whatever may differ between two machines and not between two
//! kernels is fixed here: names, dates, folders. Runs nothing.
use std::path::Path;

/// Changes whenever this file, or what is kept of a build, gives other bytes for the same source.
pub(super) const RECIPE: &str = "recrash kernel recipe 1";

/// All of the environment, beside where programs are found. The kernel puts date, user and host into its banner
/// (Linux, Documentation/kbuild/reproducible-builds.rst).
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("HOME", "/nonexistent"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "recrash"),
    ("KBUILD_BUILD_HOST", "recrash"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// Packages of the host that a build needs, beside make and the compiler: headers of the C library for the build's own
/// tools, flex and bison for the configuration's, bc for constants of time, libelf for objtool, pahole (dwarves) for
/// BTF.
pub(super) const HOST_PACKAGES: &[&str] = &[
    "bc",
    "bison",
    "dwarves",
    "flex",
    "libc6-dev",
    "libelf-dev",
    "patch",
];

/// Programs whose version shows in the bytes, beside the compiler.
pub(super) const TOOLS: &[&str] = &["ld", "pahole"];

/// A call of make in a source tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Make<'a> {
    /// The tree.
    pub(super) tree: &'a Path,
    /// Its name where a person would have it: in the debug information, as `/usr/src/<name>`.
    pub(super) name: &'a str,
    /// For example `gcc-12`.
    pub(super) compiler: &'a str,
    /// How many jobs at once.
    pub(super) jobs: usize,
}

impl Make<'_> {
    /// What follows `make` to have these made. Built in its own folder, so that names in it are relative; the one
    /// absolute name that gets in (DW_AT_comp_dir) is mapped.
    pub(super) fn arguments(&self, what: &[&str]) -> Vec<String> {
        let map = format!(
            "-ffile-prefix-map={}=/usr/src/{}",
            self.tree.display(),
            self.name
        );
        let mut out = vec![
            format!("--directory={}", self.tree.display()),
            format!("--jobs={}", self.jobs),
            "ARCH=x86_64".into(),
            format!("CC={}", self.compiler),
            format!("HOSTCC={}", self.compiler),
            // Without it a tree that lies in a git checkout is called changed.
            "LOCALVERSION=".into(),
            format!("KCFLAGS={map}"),
            format!("KAFLAGS={map}"),
        ];
        out.extend(what.iter().map(|word| (*word).to_owned()));
        out
    }

    /// What follows `make` to have the fragment made into a configuration: all that it does not name is off.
    pub(super) fn configure(&self, fragment: &Path) -> Vec<String> {
        let all = format!("KCONFIG_ALLCONFIG={}", fragment.display());
        self.arguments(&[&all, "allnoconfig"])
    }
}

/// What follows `patch`: a hunk may have moved, but must fit in every line.
pub(super) fn patch(tree: &Path, file: &Path) -> Vec<String> {
    vec![
        "--batch".into(),
        "--forward".into(),
        "--fuzz=0".into(),
        "--no-backup-if-mismatch".into(),
        "--strip=1".into(),
        format!("--directory={}", tree.display()),
        format!("--input={}", file.display()),
    ]
}

/// Whether make says by this line that it compiles a file of the kernel.
pub(super) fn compiles(line: &str) -> bool {
    ["  CC ", "  AS "].iter().any(|word| line.starts_with(word))
}

/// `uname -r` of a kernel from this version of Debian's source package: `5.10.262-1` and `-x` give `5.10.262-x`.
/// `None` for a version that is not of this form.
pub(super) fn release(version: &str, local: &str) -> Option<String> {
    let upstream = version.rsplit_once('-').map_or(version, |(head, _)| head);
    let upstream = upstream.split_once(':').map_or(upstream, |(_, tail)| tail);
    let numbers: Vec<&str> = upstream.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (numbers.len() == 3 && numbers.iter().all(is_number)).then(|| format!("{upstream}{local}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_build_is_mapped_for_c_and_for_assembler() {
        let make = Make {
            tree: Path::new("/scratch/x"),
            name: "linux-source-5.10",
            compiler: "gcc-12",
            jobs: 2,
        };
        let arguments = make.arguments(&["bzImage"]);
        for variable in ["KCFLAGS", "KAFLAGS"] {
            let map = format!("{variable}=-ffile-prefix-map=/scratch/x=/usr/src/linux-source-5.10");
            assert!(arguments.contains(&map), "{arguments:?}");
        }
        assert_eq!(arguments.last().map(String::as_str), Some("bzImage"));
    }

    #[test]
    fn only_files_of_the_kernel_count() {
        assert!(compiles("  CC      mm/slub.o"));
        assert!(compiles("  CC [M]  drivers/char/virtio_console.o"));
        assert!(compiles("  AS      arch/x86/entry/entry_64.o"));
        assert!(!compiles("  HOSTCC  scripts/kallsyms"));
        assert!(!compiles("  LD      vmlinux"));
    }

    #[test]
    fn the_release_is_the_upstream_version_and_the_fragments_end() {
        let of = |version| release(version, "-el8-layout");
        assert_eq!(of("5.10.262-1").as_deref(), Some("5.10.262-el8-layout"));
        assert_eq!(of("1:6.1.5-2~b1").as_deref(), Some("6.1.5-el8-layout"));
        assert_eq!(of("6.1~rc1-1"), None);
        assert_eq!(of(""), None);
    }
}
