//! A kernel to boot: where it comes from, its command lines, its machine. Reads `qemu/targets/*.toml`;
//! fetches and builds nothing (that is [`crate::setup`]).
mod built;

pub use built::{BuiltKernel, BuiltSource};

use crate::capture::{Capture, CaptureMode, StopBy, Wanted};
use crate::config::{self, ConfigError};
use crate::controller::Controller;
use recrash_agent::plan::{Compression, Property};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// A target as written in `qemu/targets/<name>.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Target {
    /// File name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// What the kernel is like, as far as scenarios ask for it (their `needs`).
    #[serde(default)]
    pub provides: Vec<Property>,
    /// Why this kernel cannot be used, for those that people would look for and that lack something.
    pub left_out: Option<String>,
    /// Where the kernel comes from.
    pub kernel: KernelSource,
    /// The virtual machine.
    pub machine: MachineSettings,
    /// The boot that crashes.
    pub boot: BootSettings,
    /// The boot that writes the vmcore.
    pub capture: CaptureSettings,
    /// What is run unless the command line names another.
    pub default: Defaults,
    /// How long each stage may take.
    pub deadlines: Deadlines,
}

/// Where a kernel, its modules and its headers come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum KernelSource {
    /// A stock kernel of Debian, through apt.
    Debian {
        /// Meta package that depends on the current image.
        image: String,
        /// Meta package that depends on the current headers.
        headers: String,
        /// Suites to take all of it from; without them the machine's own release. The first alternative that the
        /// machine's mirror serves is taken; within one, the suite that is preferred comes first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        suites: Vec<Vec<String>>,
    },
    /// A kernel that a person has added; its parts are in the record beside the target's file.
    Added,
    /// Built by set-up from a packaged source tree.
    Built(BuiltKernel),
}

/// The virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineSettings {
    /// QEMU's `-machine`.
    #[serde(rename = "type")]
    pub machine_type: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Number of CPUs.
    pub cpus: u32,
    /// QEMU's `-cpu`.
    pub cpu: String,
    /// The USB host controller.
    pub usb_controller: Controller,
}

/// The boot that crashes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootSettings {
    /// Kernel command line.
    pub cmdline: String,
    /// Modules wanted by name; what they depend on is found in `modules.dep`.
    #[serde(default)]
    pub modules: Vec<String>,
}

/// The boot that writes the vmcore.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CaptureSettings {
    /// Kernel command line; the kernel itself appends `elfcorehdr=`.
    pub cmdline: String,
    /// Modules wanted by name.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Debian package that brings `/usr/bin/makedumpfile`; without it the agent copies the vmcore itself.
    pub makedumpfile: Option<String>,
    /// Who writes the vmcore, unless the command line says otherwise.
    pub mode: Option<CaptureMode>,
    /// By what QEMU learns of the death, where it writes.
    pub stop_by: Option<StopBy>,
    /// How pages are compressed.
    pub compression: Option<Compression>,
    /// Which pages makedumpfile leaves out.
    pub level: Option<u8>,
}

impl CaptureSettings {
    /// What the target wants.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            mode: self.mode,
            stop_by: self.stop_by,
            compression: self.compression,
            level: self.level,
        }
    }
}

/// What is run unless the command line names another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Defaults {
    /// Name of a file in `qemu/devices/`.
    pub device: String,
    /// Name of a file in `qemu/scenarios/`.
    pub scenario: String,
    /// Name of a case in `golden/`.
    pub golden: String,
}

/// How long each stage may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deadlines {
    boot: u32,
    scenario: u32,
    capture_boot: u32,
    capture: u32,
}

impl Deadlines {
    /// From QEMU's start until the agent reports that the capture kernel is loaded.
    #[must_use]
    pub fn boot(&self) -> Duration {
        seconds(self.boot)
    }
    /// From the scenario's start until its end, or until the kernel says that it died.
    #[must_use]
    pub fn scenario(&self) -> Duration {
        seconds(self.scenario)
    }
    /// From the crash until the capture kernel's init reports.
    #[must_use]
    pub fn capture_boot(&self) -> Duration {
        seconds(self.capture_boot)
    }
    /// From the dump's begin until its trailer is there.
    #[must_use]
    pub fn capture(&self) -> Duration {
        seconds(self.capture)
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

impl Target {
    /// Reads a target file and checks that its values can be used.
    ///
    /// # Errors
    /// [`ConfigError`] naming file and line.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let mut target: Self = config::load(file)?;
        target.name = file
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        match target.problem() {
            None => Ok(target),
            Some(message) => Err(ConfigError::Invalid {
                file: file.into(),
                message,
            }),
        }
    }

    fn problem(&self) -> Option<String> {
        let machine = &self.machine;
        if !(128..=1 << 20).contains(&machine.memory_mib) {
            return Some(format!(
                "machine.memory-mib is {}, expected 128 to 1048576",
                machine.memory_mib
            ));
        }
        if !(1..=255).contains(&machine.cpus) {
            return Some(format!(
                "machine.cpus is {}, expected 1 to 255",
                machine.cpus
            ));
        }
        let mut packages = vec![self.capture.makedumpfile.as_ref()];
        match &self.kernel {
            KernelSource::Debian {
                image,
                headers,
                suites,
            } => {
                if suites.iter().any(Vec::is_empty) {
                    return Some("kernel.suites has an alternative without a suite".into());
                }
                if let Some(suite) = suites.iter().flatten().find(|name| !is_suite(name)) {
                    return Some(format!("{suite:?} is not the name of a suite"));
                }
                packages.extend([Some(image), Some(headers)]);
            }
            KernelSource::Built(kernel) => {
                if let Some(problem) = kernel.problem() {
                    return Some(problem);
                }
            }
            KernelSource::Added => {}
        }
        if let Some(name) = packages
            .into_iter()
            .flatten()
            .find(|name| !is_package_name(name))
        {
            return Some(format!("{name:?} is not the name of a Debian package"));
        }
        let capture = &self.capture;
        let brings = capture.makedumpfile.is_some();
        if let Err(problem) = Capture::settle(Wanted::default(), capture.wanted(), brings) {
            return Some(format!("capture: {problem}"));
        }
        let d = &self.deadlines;
        if [d.boot, d.scenario, d.capture_boot, d.capture].contains(&0) {
            return Some("a deadline of 0 seconds cannot be met".into());
        }
        None
    }
}

/// Debian policy 5.6.1: lower case letters, digits, `+`, `-`, `.`; begins with a letter or digit. So it is
/// never taken for an option of apt.
pub(crate) fn is_package_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    name.len() >= 2
        && name.chars().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The names of the targets in a folder, sorted.
///
/// # Errors
/// [`ConfigError::Read`] when the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>, ConfigError> {
    let entries = std::fs::read_dir(folder).map_err(|source| ConfigError::Read {
        file: folder.into(),
        source,
    })?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".toml")?;
            (!name.starts_with('.')).then(|| name.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// A name in `dists/` of an archive, such as `bookworm-backports`.
pub(crate) fn is_suite(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.chars().all(allowed) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(String) -> String) -> Result<Target, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join("qemu/targets/debian.toml")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("debian.toml");
        std::fs::write(&file, change(text)).unwrap();
        Target::load(&file).map_err(|error| {
            error
                .to_string()
                .replace(&dir.path().display().to_string(), "")
        })
    }

    #[test]
    fn the_debian_target_is_read() {
        let target = check(|text| text).unwrap();
        assert_eq!(target.name, "debian");
        assert_eq!(target.machine.memory_mib, 512);
        assert!(target.boot.cmdline.contains("crashkernel="));
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_and_line() {
        let error = check(|text| format!("sumary = 1\n{text}")).unwrap_err();
        assert!(error.starts_with("/debian.toml:1:1: "), "{error}");
        assert!(error.contains("sumary"), "{error}");
    }

    #[test]
    fn an_unknown_key_of_the_kernel_source_is_refused() {
        let error = check(|text| text.replace("headers =", "heders =")).unwrap_err();
        assert!(error.contains("heders"), "{error}");
    }

    #[test]
    fn a_package_name_that_apt_would_take_for_an_option_is_refused() {
        let error =
            check(|text| text.replace("\"linux-image-amd64\"", "\"--assume-yes\"")).unwrap_err();
        assert!(error.contains("--assume-yes"), "{error}");
    }

    #[test]
    fn a_target_may_say_how_it_is_captured() {
        let with =
            |text: &str| check(|all| all.replace("[capture]\n", &format!("[capture]\n{text}\n")));
        let target = with("mode = \"qemu\"\ncompression = \"none\"").unwrap();
        assert_eq!(target.capture.mode, Some(CaptureMode::Qemu));
        assert_eq!(target.capture.compression, Some(Compression::None));
        let error = with("level = 32").unwrap_err();
        assert!(error.contains("dump level 32"), "{error}");
        assert!(with("mode = \"qmeu\"").is_err());
        assert!(with("mode = \"both\"\nstop-by = \"console\"").is_err());
    }

    #[test]
    fn no_memory_and_no_time_are_refused() {
        assert!(check(|text| text.replace("= 512", "= 0")).is_err());
        assert!(check(|text| text.replace("scenario = 60", "scenario = 0")).is_err());
    }

    #[test]
    fn suites_that_are_paths_or_options_are_refused() {
        let with = |suites: &str| {
            check(|text| text.replace("[machine]", &format!("suites = {suites}\n\n[machine]")))
        };
        assert!(with("[[\"bullseye-security\", \"bullseye\"]]").is_ok());
        for bad in ["[[\"../x\"]]", "[[\"-o\"]]", "[[\"\"]]"] {
            assert!(
                with(bad).unwrap_err().contains("not the name of a suite"),
                "{bad}"
            );
        }
        assert!(with("[[]]").unwrap_err().contains("without a suite"));
    }

    #[test]
    fn every_target_of_the_checkout_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../qemu/targets");
        let names = names(&folder).unwrap();
        assert!(names.contains(&"debian".to_owned()));
        for name in names {
            let target = Target::load(&folder.join(format!("{name}.toml"))).unwrap();
            assert_eq!(target.name, name);
        }
    }
}
