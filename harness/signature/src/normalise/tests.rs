//! Tests of the normalisation.

use super::*;

fn raw(lines: &str) -> Vec<Frame> {
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().unwrap()).collect()
}

fn check(lines: &str, expected: &[&str], syscall: Option<&str>) -> Normalised {
    let normalised = chain(&raw(lines));
    let frames: Vec<String> = normalised.frames.iter().map(ToString::to_string).collect();
    assert_eq!(frames, expected);
    assert_eq!(normalised.syscall.as_deref(), syscall);
    normalised
}

const CHAIN_4_18: &str = "machine_kexec
    __crash_kexec
    crash_kexec
    oops_end
    do_trap
    do_stack_segment
    stack_segment
    __kmalloc
    usb_hcd_submit_urb
    proc_do_submiturb
    usbdev_do_ioctl
    usbdev_ioctl
    do_vfs_ioctl
    ksys_ioctl
    __x64_sys_ioctl
    do_syscall_64
    entry_SYSCALL_64_after_hwframe";

#[test]
fn the_chain_of_the_2022_06_05_dump_keeps_five_functions_and_the_call() {
    let expected = [
        "__kmalloc",
        "usb_hcd_submit_urb",
        "proc_do_submiturb",
        "usbdev_do_ioctl",
        "usbdev_ioctl",
    ];
    let normalised = check(CHAIN_4_18, &expected, Some("ioctl"));
    let rules: Vec<_> = normalised.collapsed.iter().map(|c| c.rule).collect();
    assert_eq!(rules.iter().filter(|r| **r == "panic-machinery").count(), 7);
    assert_eq!(rules.iter().filter(|r| **r == "syscall-wrapper").count(), 5);
}

#[test]
fn the_chain_of_a_stock_6_1_crash_keeps_its_modules() {
    check(
        "exc_general_protection
         asm_exc_general_protection
         __kmem_cache_alloc_node
         __kmalloc
         usb_hcd_submit_urb [usbcore]
         proc_do_submiturb.isra.0 [usbcore]
         usbdev_ioctl [usbcore]
         __x64_sys_ioctl
         do_syscall_64
         entry_SYSCALL_64_after_hwframe",
        &[
            "__kmalloc",
            "usb_hcd_submit_urb [usbcore]",
            "proc_do_submiturb [usbcore]",
            "usbdev_ioctl [usbcore]",
        ],
        Some("ioctl"),
    );
}

#[test]
fn an_allocator_internal_without_its_entry_stands_for_it() {
    check(
        "__kmem_cache_alloc_node\nusb_hcd_submit_urb",
        &["__kmalloc", "usb_hcd_submit_urb"],
        None,
    );
}

#[test]
fn the_outermost_allocator_frame_names_the_entry() {
    check(
        "___slab_alloc\n__slab_alloc.constprop.0\nkmem_cache_alloc\nxfs_trans_alloc [xfs]",
        &["kmem_cache_alloc", "xfs_trans_alloc [xfs]"],
        None,
    );
}

#[test]
fn panic_machinery_deeper_in_the_chain_stays() {
    check("foo\npanic\nbar", &["foo", "panic", "bar"], None);
}

#[test]
fn a_chain_without_a_system_call_has_none() {
    check(
        "foo\nkthread\nret_from_fork",
        &["foo", "kthread", "ret_from_fork"],
        None,
    );
}

#[test]
fn suffixes_are_stripped_and_plain_dots_are_not() {
    for (from, to) in [
        ("foo.constprop.0", "foo"),
        ("foo.isra.12.part.3", "foo"),
        ("foo.part.0.cold", "foo"),
        ("foo.cold.17", "foo"),
        ("__kmalloc_noprof", "__kmalloc"),
        ("foo.bar", "foo.bar"),
        (".cold", ".cold"),
        ("", ""),
    ] {
        assert_eq!(function(from), to, "{from}");
    }
}

#[test]
fn a_wrapper_names_its_system_call() {
    for (from, to) in [
        ("__x64_sys_ioctl", "ioctl"),
        ("ksys_ioctl", "ioctl"),
        ("__ia32_compat_sys_ioctl", "ioctl"),
        ("ioctl", "ioctl"),
        ("sys_", "sys_"),
    ] {
        assert_eq!(syscall(from), to, "{from}");
    }
}

#[test]
fn a_randomised_cache_is_the_cache_of_its_size() {
    assert_eq!(cache("kmalloc-rnd-05-256"), "kmalloc-256");
    assert_eq!(cache("kmalloc-256"), "kmalloc-256");
    assert_eq!(cache("kmalloc-cg-256"), "kmalloc-cg-256");
}

#[test]
fn every_allocator_internal_is_reached_and_leads_to_an_entry() {
    for (internal, entry) in tables::ALLOCATOR_INTERNALS {
        assert_eq!(function(internal), internal);
        assert_eq!(allocator_entry(internal), Some(entry));
        assert_eq!(allocator_entry(entry), Some(entry));
        assert!(serves_entry(internal, entry));
    }
    let entries = tables::ALLOCATOR_ENTRIES;
    assert!(tables::FREEING_ENTRIES.iter().all(|e| entries.contains(e)));
}
