//! Whether a kernel can do what a run asks of it, told before anything boots: its image, its configuration, the
//! modules that the machine needs, a prebuilt repro.ko.
use super::record::Limit;
use super::refuse;
use crate::kmod::{self, ModuleIndex};
use crate::setup::SetupError;
use std::collections::BTreeSet;
use std::path::Path;

/// Linux, Documentation/arch/x86/boot.rst: the setup header's magic, the offset of the version string (counted from
/// 0x200), and the flags, of which the first says that the kernel has a 64-bit entry.
const HEADER_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
const VERSION_POINTER: usize = 0x20e;
const VERSION_BASE: usize = 0x200;
const XLOAD_FLAGS: usize = 0x236;
const XLF_KERNEL_64: u16 = 1;
const MAX_VERSION: usize = 512;
/// The setup part has at most 64 sectors.
const HEAD: u64 = 64 << 10;

/// Checks that the image is an x86-64 bzImage of this release.
///
/// # Errors
/// [`SetupError::Added`], [`SetupError::Io`].
pub(super) fn image(file: &Path, release: &str) -> Result<(), SetupError> {
    use std::io::Read;
    let opened = std::fs::File::open(file).map_err(SetupError::io("reading", file))?;
    let mut head = Vec::new();
    opened
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(SetupError::io("reading", file))?;
    let Some(version) = image_version(&head) else {
        return Err(refuse(
            format!("{} is no x86-64 bzImage", file.display()),
            "recrash boots x86-64 kernels, as arch/x86/boot/bzImage or a package's vmlinuz",
        ));
    };
    let found = version.split_whitespace().next().unwrap_or_default();
    if found == release {
        return Ok(());
    }
    Err(refuse(
        format!(
            "the image {} is Linux {found}, the modules are Linux {release}",
            file.display()
        ),
        "give image and modules of one build",
    ))
}

/// `6.1.0-56-amd64 (debian-kernel@…) #1 SMP …`.
fn image_version(head: &[u8]) -> Option<String> {
    let (at, magic) = HEADER_MAGIC;
    let half = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let is_64_bit = half(XLOAD_FLAGS)? & XLF_KERNEL_64 != 0;
    if !head.get(at..)?.starts_with(magic) || !is_64_bit {
        return None;
    }
    let text = head.get(VERSION_BASE + usize::from(half(VERSION_POINTER)?)..)?;
    let end = text.iter().take(MAX_VERSION).position(|&byte| byte == 0)?;
    String::from_utf8(text.get(..end)?.to_vec()).ok()
}

/// An option of the kernel's configuration that a run needs.
struct Rule {
    /// One of these has to be `y` or `m`.
    any: &'static [&'static str],
    /// What does not work without.
    what: &'static str,
    /// What to do then; none if nothing helps.
    hint: Option<&'static str>,
}

const KDUMP: &str = "recrash run --capture qemu has QEMU write the dump";
const KDUMP_IS_LOST: &str = "kdump cannot write the vmcore";

const RULES: &[Rule] = &[
    Rule {
        any: &["MODULES"],
        what: "repro.ko, which makes the fault, cannot be loaded",
        hint: None,
    },
    Rule {
        any: &["KPROBES"],
        what: "repro.ko cannot see USB transfers end, and refuses to load",
        hint: None,
    },
    Rule {
        any: &["BLK_DEV_INITRD"],
        what: "there is nothing to boot into",
        hint: None,
    },
    Rule {
        any: &["DEVTMPFS"],
        what: "init has no devices",
        hint: None,
    },
    Rule {
        any: &["PROC_FS"],
        what: "init cannot load modules in order",
        hint: None,
    },
    Rule {
        any: &["SYSFS"],
        what: "init cannot find the USB device",
        hint: None,
    },
    Rule {
        any: &["SERIAL_8250_CONSOLE"],
        what: "the console, which tells a crash, is not heard",
        hint: None,
    },
    Rule {
        any: &["CRASH_DUMP"],
        what: KDUMP_IS_LOST,
        hint: Some(KDUMP),
    },
    Rule {
        any: &["PROC_VMCORE"],
        what: KDUMP_IS_LOST,
        hint: Some(KDUMP),
    },
    Rule {
        any: &["KEXEC_FILE"],
        what: KDUMP_IS_LOST,
        hint: Some(KDUMP),
    },
    Rule {
        any: &["SLUB"],
        what: "the allocator is not SLUB, whose freelists are all that the analysis knows",
        hint: Some("verdicts of such a kernel are not comparable with the goldens"),
    },
    Rule {
        any: &["KALLSYMS"],
        what: "the dump brings no symbols",
        hint: Some("give the kernel's vmlinux with --vmlinux"),
    },
    Rule {
        any: &["UNWINDER_ORC"],
        what: "backtraces are guessed from the stack",
        hint: Some("frames marked ? in reports are such"),
    },
];

/// Options that must not be set, unless repro.ko is signed.
const NEEDS_SIGNATURE: &[&str] = &[
    "MODULE_SIG_FORCE",
    "LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
    "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
];

/// What a configuration says.
pub(super) struct Config {
    set: BTreeSet<String>,
}

impl Config {
    /// Options that are `y` or `m`.
    pub(super) fn parse(text: &str) -> Self {
        let set = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            matches!(value.trim(), "y" | "m").then(|| name.to_owned())
        });
        Self { set: set.collect() }
    }

    fn has(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    /// What does not work. `signed`: repro.ko has a signature.
    ///
    /// # Errors
    /// [`SetupError::Added`] with all that makes any run impossible.
    pub(super) fn limits(&self, signed: bool, has_types: bool) -> Result<Vec<Limit>, SetupError> {
        let mut fatal = Vec::new();
        let mut limits = Vec::new();
        for rule in RULES {
            if rule.any.iter().any(|name| self.has(name)) {
                continue;
            }
            let because = format!("CONFIG_{} is off", rule.any.join(" and CONFIG_"));
            match rule.hint {
                None => fatal.push(format!("{because}: {}", rule.what)),
                Some(hint) => limits.push(Limit {
                    because,
                    what: rule.what.into(),
                    hint: hint.into(),
                }),
            }
        }
        if let Some(name) = NEEDS_SIGNATURE
            .iter()
            .find(|name| self.has(name) && !signed)
        {
            fatal.push(format!(
                "CONFIG_{name} is on: the kernel loads signed modules only, and repro.ko is not signed \
                 (sign it with the kernel's key, scripts/sign-file, and give it with --module)"
            ));
        }
        if self.has("KEXEC_SIG_FORCE") {
            limits.push(Limit {
                because: "CONFIG_KEXEC_SIG_FORCE is on".into(),
                what: "kdump loads the kernel only if its image is signed with a key that it knows"
                    .into(),
                hint: format!("if it is not, {KDUMP}"),
            });
        }
        if !self.has("DEBUG_INFO_BTF") && !has_types {
            limits.push(Limit {
                because: "CONFIG_DEBUG_INFO_BTF is off, and there is no vmlinux with debug symbols".into(),
                what: "the dump does not tell its types, so that what was corrupted may not be found".into(),
                hint: "add the package with debug symbols (…-dbg, kernel-debuginfo), or give --vmlinux".into(),
            });
        }
        if fatal.is_empty() {
            return Ok(limits);
        }
        Err(refuse(
            format!("no run is possible on this kernel: {}", fatal.join("; ")),
            "recrash needs a kernel with these options set otherwise",
        ))
    }
}

/// Checks that all of these modules, and what they need, are there or built in.
///
/// # Errors
/// [`SetupError::Added`] naming all that are missing.
pub(super) fn modules(dir: &Path, wanted: &[&[String]]) -> Result<ModuleIndex, SetupError> {
    let failed = |error: kmod::KmodError| SetupError::Package {
        file: dir.into(),
        what: error.to_string(),
    };
    let index = ModuleIndex::load(dir).map_err(failed)?;
    let mut missing = BTreeSet::new();
    for name in wanted.iter().copied().flatten() {
        match index.in_order(std::slice::from_ref(name)) {
            Ok(_) => {}
            Err(kmod::KmodError::Missing {
                name, wanted_by, ..
            }) => {
                missing.insert(match wanted_by {
                    Some(by) => format!("{name} (needed by {by})"),
                    None => name,
                });
            }
            Err(other) => return Err(failed(other)),
        }
    }
    if missing.is_empty() {
        return Ok(index);
    }
    let names: Vec<String> = missing.into_iter().collect();
    Err(refuse(
        format!(
            "these modules are neither there nor built in: {}",
            names.join(", ")
        ),
        "add the package that has them (linux-modules-extra-…; kernel-modules, kernel-modules-core, kernel-modules-extra), \
         or build the kernel with CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_CONSOLE and CONFIG_USB_XHCI_PCI",
    ))
}

/// Checks a prebuilt repro.ko against the kernel; returns whether it is signed.
///
/// # Errors
/// [`SetupError::Added`] when it is no repro.ko, or one for another kernel.
pub(super) fn prebuilt(
    file: &Path,
    release: &str,
    index: &ModuleIndex,
) -> Result<bool, SetupError> {
    let module = read(file)?;
    let name = entry(file, &module, "name")?;
    if name.as_deref().is_some_and(|name| name != "repro") {
        return Err(refuse(
            format!(
                "{} is the module {}, not repro",
                file.display(),
                name.unwrap_or_default()
            ),
            "build repro-module, and give its repro.ko",
        ));
    }
    let magic = entry(file, &module, "vermagic")?.unwrap_or_default();
    let (found, flags) = split(&magic);
    let own = index.any().map(read).transpose()?;
    let expected = match (index.any(), &own) {
        (Some(other), Some(bytes)) => entry(other, bytes, "vermagic")?.unwrap_or_default(),
        _ => String::new(),
    };
    let (_, expected_flags) = split(&expected);
    let hint = "build it against this kernel's headers: make -C HEADERS M=$PWD/repro-module";
    if found != release {
        return Err(refuse(
            format!(
                "{} is built for Linux {found}, the kernel is Linux {release}",
                file.display()
            ),
            hint,
        ));
    }
    if own.is_some() && flags != expected_flags {
        return Err(refuse(
            format!(
                "{} is built for a kernel of another configuration: its vermagic says {flags:?}, the kernel's modules say {expected_flags:?}",
                file.display()
            ),
            hint,
        ));
    }
    // include/linux/module_signature.h: MODULE_SIG_STRING at the end.
    Ok(module.ends_with(b"~Module signature appended~\n"))
}

/// `6.1.0-56-amd64 SMP preempt mod_unload modversions ` → release and the rest.
fn split(magic: &str) -> (&str, String) {
    let mut words = magic.split_whitespace();
    let release = words.next().unwrap_or_default();
    (release, words.collect::<Vec<_>>().join(" "))
}

fn read(file: &Path) -> Result<Vec<u8>, SetupError> {
    kmod::read_module(file).map_err(|error| SetupError::Package {
        file: file.into(),
        what: error.to_string(),
    })
}

fn entry(file: &Path, module: &[u8], key: &str) -> Result<Option<String>, SetupError> {
    kmod::modinfo(module, key).map_err(|what| {
        refuse(
            format!("{} is no kernel module: {what}", file.display()),
            "give repro.ko as kbuild makes it",
        )
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
