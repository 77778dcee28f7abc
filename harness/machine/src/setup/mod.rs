//! Provides what a run needs: host packages, the target's kernel, headers and tools, the built module.
//! Everything lies in the cache ([`cache`]) and is found again by [`load`]. Prints nothing: whoever calls
//! draws the [`SetupEvent`]s. Boots nothing.
pub mod added;
mod alternatives;
pub mod apt;
pub mod apt_root;
mod apt_sources;
pub mod built;
pub mod cache;
mod child;
pub mod closure;
pub mod deb;
pub mod decompress;
pub mod doctor;
pub mod error;
pub mod foreign;
pub mod hash;
pub mod host;
pub mod kernel;
pub mod kernel_config;
pub mod module;
mod provide;
pub mod root;
pub mod status;
#[cfg(test)]
mod test_repository;
mod tools;
mod unpack;

pub use error::SetupError;
pub use provide::{ensure, load};

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What [`ensure`] may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetupOptions {
    /// Install missing host packages with apt-get, if root.
    pub install_host_packages: bool,
    /// Ask apt for newer packages than those in the lock file.
    pub update: bool,
    /// Hash all that is cached, even if size and time of change are as recorded.
    pub verify: bool,
}

/// What set-up is doing, for whoever draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupEvent {
    /// A step begins.
    Started {
        /// For people, for example `fetching linux-image-6.1.0-56-amd64`.
        what: String,
    },
    /// How far the step is.
    Progress {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// How far a build is.
    Files {
        /// Files compiled so far.
        done: u32,
        /// About how many in all.
        about: u32,
    },
    /// The step that began last has ended well.
    Done,
    /// A line that a child wrote (apt-get, make).
    Log {
        /// Without the line end.
        line: String,
    },
}

/// What a run needs, in place.
#[derive(Debug, Clone)]
pub struct Provisioned {
    /// `uname -r` of the target.
    pub kernel_release: String,
    /// The kernel to boot, as the package brings it.
    pub bzimage: PathBuf,
    /// The kernel's configuration; `None` where what it came from has none.
    pub config: Option<PathBuf>,
    /// `lib/modules/<release>`, with `modules.dep`.
    pub modules_dir: PathBuf,
    /// The built repro-module.
    pub module_ko: PathBuf,
    /// makedumpfile and all it needs to run; `None` if the target brings none.
    pub makedumpfile: Option<Vec<InitramfsFile>>,
    /// Where vmlinux and modules with DWARF lie, as debug packages would have them; `None` if the target brings none.
    pub debug_dir: Option<PathBuf>,
    /// The packages all of it came from.
    pub packages: Vec<LockedPackage>,
    /// `qemu-system-x86_64`.
    pub qemu: PathBuf,
    /// The cache's folder.
    pub cache: PathBuf,
}

/// A file of the host and its place in an initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitramfsFile {
    /// Absolute path inside the initramfs.
    pub path: String,
    /// Where its bytes are.
    pub source: PathBuf,
    /// Permission bits.
    pub mode: u32,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Kernel image and modules.
    Image,
    /// Headers and build tools for the module.
    Headers,
    /// makedumpfile and its libraries.
    Tools,
    /// A source tree that set-up builds the kernel from.
    Source,
    /// A compiler of another release, the libraries of its build tools, all run from the cache.
    Toolchain,
}

/// A package in the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Debian version, with epoch.
    pub version: String,
    /// What it is for.
    pub role: Role,
    /// SHA-256 of the .deb, in hex, as apt's signed metadata state it.
    pub sha256: String,
    /// Size of the .deb in bytes.
    pub size: u64,
}
