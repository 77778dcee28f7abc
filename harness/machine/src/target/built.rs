//! The part of a target's file that says how set-up builds its kernel: `[kernel] kind = "built"`. Builds nothing.
use super::{is_package_name, is_suite};
use serde::{Deserialize, Serialize};

/// A kernel that set-up builds from a packaged source tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuiltKernel {
    /// What it may be built from, preferred first; the others are for the day when the mirror has it no more.
    #[serde(rename = "source")]
    pub sources: Vec<BuiltSource>,
    /// The compiler, for example `gcc-12`: a package of the machine's own release.
    pub compiler: String,
    /// How many files are compiled, about: for the progress that is shown, nothing else.
    #[serde(skip_serializing)]
    pub compiled_files: u32,
}

/// A packaged source tree, and what is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuiltSource {
    /// Debian package, `linux-source-<version>`.
    pub package: String,
    /// Suites of the machine's own mirror that have it, preferred first.
    pub suites: Vec<String>,
    /// Fragments of a configuration on top of allnoconfig: files in `qemu/kconfig/`. A later one overrides.
    pub config: Vec<String>,
    /// Patches in their order: files in `qemu/kconfig/`.
    #[serde(default)]
    pub patches: Vec<String>,
}

impl BuiltKernel {
    /// What cannot be used, in words for the target's author.
    pub(super) fn problem(&self) -> Option<String> {
        if self.sources.is_empty() {
            return Some("kernel.source names no package".into());
        }
        if !is_package_name(&self.compiler) {
            return Some(not_a_package(&self.compiler));
        }
        self.sources.iter().find_map(BuiltSource::problem)
    }
}

impl BuiltSource {
    fn problem(&self) -> Option<String> {
        let package = &self.package;
        if !package.starts_with("linux-source-") {
            return Some(format!(
                "kernel.source.package is {package:?}, expected linux-source-…"
            ));
        }
        if !is_package_name(package) {
            return Some(not_a_package(package));
        }
        if self.suites.is_empty() {
            return Some(format!("kernel.source {package} names no suite"));
        }
        if self.config.is_empty() {
            return Some(format!("kernel.source {package} names no configuration"));
        }
        if let Some(suite) = self.suites.iter().find(|name| !is_suite(name)) {
            return Some(format!("{suite:?} is not the name of a suite"));
        }
        let mut files = self.config.iter().chain(&self.patches);
        let is_file_name = |name: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
            !name.starts_with(['.', '-']) && !name.is_empty() && name.chars().all(plain)
        };
        files
            .find(|name| !is_file_name(name))
            .map(|name| format!("{name:?} is not the name of a file in qemu/kconfig"))
    }
}

fn not_a_package(name: &str) -> String {
    format!("{name:?} is not the name of a Debian package")
}

#[cfg(test)]
mod tests {
    use super::super::{KernelSource, Target};
    use std::path::Path;

    fn check(change: impl Fn(String) -> String) -> Result<Target, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join("qemu/targets/el8-layout.toml")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("el8-layout.toml");
        std::fs::write(&file, change(text)).unwrap();
        Target::load(&file).map_err(|error| error.to_string())
    }

    fn refused(from: &str, to: &str, why: &str) {
        let error = check(|text| text.replace(from, to)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn the_target_that_is_built_here_is_read() {
        let target = check(|text| text).unwrap();
        let KernelSource::Built(kernel) = target.kernel else {
            panic!("{target:?}")
        };
        let [preferred, other] = &kernel.sources[..] else {
            panic!("{kernel:?}")
        };
        assert_eq!(preferred.package, "linux-source-5.10");
        assert_eq!(preferred.patches, ["el8-layout.patch"]);
        assert_eq!(other.package, "linux-source-6.1");
    }

    #[test]
    fn a_source_that_is_none_and_a_file_elsewhere_are_refused() {
        refused("linux-source-5.10", "linux-image-amd64", "linux-source-…");
        refused("\"el8-layout.config\"", "\"../x\"", "qemu/kconfig");
        refused("\"el8-layout.patch\"", "\"--help\"", "qemu/kconfig");
        refused("\"gcc-12\"", "\"-c\"", "Debian package");
        refused("\"bullseye\"]", "\"a/b\"]", "name of a suite");
        refused(
            "config = [\"el8-layout.config\"]",
            "config = []",
            "no configuration",
        );
        refused("[\"bullseye-security\", \"bullseye\"]", "[]", "no suite");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        refused("compiler =", "compilr =", "compilr");
    }
}
