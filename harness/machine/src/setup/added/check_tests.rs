//! Configurations, images and modules with something wrong in them.
use super::*;
use crate::kmod::tests::elf_with_modinfo;

const GOOD: &str = "CONFIG_MODULES=y\nCONFIG_KPROBES=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_DEVTMPFS=y\nCONFIG_PROC_FS=y\n\
CONFIG_SYSFS=y\nCONFIG_SERIAL_8250_CONSOLE=y\nCONFIG_CRASH_DUMP=y\nCONFIG_PROC_VMCORE=y\nCONFIG_KEXEC_FILE=y\n\
CONFIG_SLUB=y\nCONFIG_KALLSYMS=y\nCONFIG_UNWINDER_ORC=y\nCONFIG_DEBUG_INFO_BTF=y\n";

fn check(config: &str, signed: bool) -> Result<Vec<String>, String> {
    match Config::parse(config).limits(signed, false) {
        Ok(limits) => Ok(limits.into_iter().map(|limit| limit.because).collect()),
        Err(error) => Err(error.to_string()),
    }
}

fn without(option: &str) -> String {
    GOOD.replace(&format!("CONFIG_{option}=y\n"), "")
}

#[test]
fn a_kernel_with_all_options_has_no_limits() {
    assert_eq!(check(GOOD, false).unwrap(), [""; 0]);
}

#[test]
fn every_option_that_a_rule_names_is_missed() {
    for rule in RULES {
        for name in rule.any {
            let found = check(&without(name), false);
            let text = match found {
                Ok(limits) => limits.join("; "),
                Err(error) => error,
            };
            assert!(text.contains(&format!("CONFIG_{name} is off")), "{text}");
        }
    }
}

#[test]
fn all_that_makes_runs_impossible_is_told_at_once() {
    let config = without("KPROBES").replace("CONFIG_MODULES=y\n", "# CONFIG_MODULES is not set\n");
    let error = check(&config, false).unwrap_err();
    assert!(
        error.contains("CONFIG_MODULES is off: repro.ko")
            && error.contains("CONFIG_KPROBES is off"),
        "{error}"
    );
}

#[test]
fn without_kdump_another_way_to_capture_is_named() {
    let limits = Config::parse(&without("KEXEC_FILE"))
        .limits(false, false)
        .unwrap();
    assert_eq!(limits.len(), 1);
    assert!(limits[0].hint.contains("--capture qemu"), "{limits:?}");
}

#[test]
fn a_kernel_that_wants_signed_modules_takes_a_signed_one_only() {
    let config = format!("{GOOD}CONFIG_MODULE_SIG_FORCE=y\n");
    let error = check(&config, false).unwrap_err();
    assert!(error.contains("loads signed modules only"), "{error}");
    assert_eq!(check(&config, true).unwrap(), [""; 0]);
}

#[test]
fn types_come_from_btf_or_from_debug_symbols() {
    let config = Config::parse(&without("DEBUG_INFO_BTF"));
    assert_eq!(config.limits(false, false).unwrap().len(), 1);
    assert_eq!(config.limits(false, true).unwrap().len(), 0);
}

fn bzimage(version: &str, flags: u16) -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x600_u16.to_le_bytes());
    image[0x236..0x238].copy_from_slice(&flags.to_le_bytes());
    image[0x800..0x800 + version.len()].copy_from_slice(version.as_bytes());
    image
}

fn check_image(bytes: &[u8]) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    image(file.path(), "6.1.0-56-amd64").map_err(|error| {
        error
            .to_string()
            .replace(&file.path().display().to_string(), "FILE")
    })
}

#[test]
fn an_image_is_held_against_the_release_of_the_modules() {
    check_image(&bzimage("6.1.0-56-amd64 (x@y) #1 SMP", 1)).unwrap();
    assert_eq!(
        check_image(&bzimage("6.1.0-55-amd64 (x@y) #1 SMP", 1)).unwrap_err(),
        "the image FILE is Linux 6.1.0-55-amd64, the modules are Linux 6.1.0-56-amd64"
    );
    for other in [
        bzimage("6.1.0-56-amd64", 0),
        b"\x7fELF".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(
            check_image(&other).unwrap_err(),
            "FILE is no x86-64 bzImage"
        );
    }
}

#[test]
fn missing_modules_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("modules.dep"),
        "kernel/xhci-pci.ko: kernel/xhci-hcd.ko\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("modules.builtin"), "kernel/virtio_pci.ko\n").unwrap();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let boot = names(&["virtio_pci", "virtio_console", "xhci-pci"]);
    let capture = names(&["virtio_console"]);
    let error = modules(dir.path(), &[&boot, &capture]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these modules are neither there nor built in: virtio_console, xhci_hcd (needed by xhci_pci)"
    );
}

#[test]
fn what_is_no_module_is_no_repro_module() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("repro.ko");
    std::fs::write(&file, "text").unwrap();
    let index = ModuleIndex::load(dir.path()).unwrap();
    let error = prebuilt(&file, "6.1", &index).unwrap_err().to_string();
    assert!(error.contains("repro.ko is no kernel module"), "{error}");
}

/// A kernel with one module, and a repro.ko beside it.
fn check_prebuilt(own: &str, name: &str, magic: &str, tail: &str) -> Result<bool, String> {
    let dir = tempfile::tempdir().unwrap();
    let module = |name: &str, magic: &str| {
        elf_with_modinfo(format!("name={name}\0vermagic={magic}\0").as_bytes())
    };
    std::fs::write(dir.path().join("usbcore.ko"), module("usbcore", own)).unwrap();
    let index = ModuleIndex::load(dir.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("repro.ko");
    let bytes = [module(name, magic), tail.into()].concat();
    std::fs::write(&file, bytes).unwrap();
    prebuilt(&file, "6.1.0-56-amd64", &index).map_err(|error| {
        error
            .to_string()
            .replace(&file.display().to_string(), "FILE")
    })
}

const MAGIC: &str = "6.1.0-56-amd64 SMP preempt mod_unload modversions ";

#[test]
fn a_prebuilt_module_of_this_kernel_is_taken_signed_or_not() {
    assert_eq!(check_prebuilt(MAGIC, "repro", MAGIC, ""), Ok(false));
    let signature = "~Module signature appended~\n";
    assert_eq!(check_prebuilt(MAGIC, "repro", MAGIC, signature), Ok(true));
}

#[test]
fn a_prebuilt_module_of_another_kernel_is_refused() {
    for (name, magic, expected) in [
        (
            "repro",
            MAGIC.replace("-56-", "-55-"),
            "FILE is built for Linux 6.1.0-55-amd64, the kernel is Linux 6.1.0-56-amd64",
        ),
        (
            "repro",
            MAGIC.replace(" preempt", ""),
            "FILE is built for a kernel of another configuration: its vermagic says \"SMP mod_unload modversions\", \
             the kernel's modules say \"SMP preempt mod_unload modversions\"",
        ),
        ("other", MAGIC.into(), "FILE is the module other, not repro"),
    ] {
        let error = check_prebuilt(MAGIC, name, &magic, "").unwrap_err();
        assert_eq!(error, expected);
    }
}

proptest::proptest! {
    #[test]
    fn no_image_panics(at in 0x200..0x240_usize, value: u8, length in 0..0x1000_usize) {
        let mut bytes = bzimage("6.1", 1);
        bytes[at] = value;
        bytes.truncate(length);
        let _ = image_version(&bytes);
    }
}
