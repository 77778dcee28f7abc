//! Functions that a guilty frame is never one of: they report, check, lock, copy, allocate or free on behalf of their
//! caller, so the bug is the caller's. And the dispatchers below which a stalled CPU loops.
use regex::Regex;
use std::sync::OnceLock;

use super::rule;

/// Patterns of names, each group with what its functions do.
const HELPERS: &[(&str, &str)] = &[
    (
        "sanitizers",
        r"__sanitizer|__asan|kasan|hwasan|__msan|kmsan|kcsan_setup_watchpoint|check_memory_region|read_word_at_a_time|(?:read|write)_once_.*nocheck",
    ),
    (
        "hardened copies",
        r"check_heap_object|check_object|__fortify_report|__might_fault|might_fault|__phys_addr",
    ),
    (
        "reports",
        r"print_address_description|print_report|print_usage_bug|panic|report_bug|fixup_bug|invalid_op$|do_error|_trap$|do_trap|warn_slowpath|warn_alloc|warn_bogus|__warn|assertfail|print_tainted|^get_taint$",
    ),
    (
        "stack walks",
        r"show_stack|dump_stack|walk_stack|dump_backtrace|stack_trace_consume_entry|arch_stack_walk|stack_trace_save",
    ),
    (
        "faults of other machines",
        r"program_check_(?:exception|common)|do_(?:kernel|translation)_fault|do_mem_abort|el1_abort|el1h_64_sync(?:_handler)?",
    ),
    (
        "allocators",
        r"alloc_page|k?v?[mzc]alloc|krealloc|kmem_cache|allocate_slab|__alloc_frozen_pages_noprof|slab_|^kv?free$|kfree_skb",
    ),
    (
        "page cache",
        r"folio_(?:alloc|unlock)|filemap_alloc_folio|__filemap_get_folio|find_or_create_page|do_read_cache_folio|read_cache_page|pagecache_get_page|grab_cache_page_write_begin|find_lock_entries|truncate_inode_pages_range|xas_(?:start|load|find)|^(?:un)?lock_page",
    ),
    (
        "debug objects",
        r"debug_object|(?:timer|work)_is_static_object",
    ),
    (
        "lockdep",
        r"print_unlock|imbalance_bug|lockdep|lock_acquire|lock_release|lock_class|mark_lock|(?:reacquire|mark)_held_locks|(?:trace|lockdep)_(?:hard|soft)irq|perf_trace|seqprop_assert",
    ),
    ("might sleep", r"might_sleep|__might_resched"),
    (
        "spinning locks",
        r"raw_spin_rq|spin_(?:lock|trylock|unlock)|bh_(?:enable|disable)|(?:read|write)_(?:lock|trylock|unlock)",
    ),
    (
        "sleeping locks",
        r"^down$|down_(?:read|write|trylock)|up_(?:read|write)|^(?:__|rt_)?mutex_|owner_on_cpu|osq_(?:un)?lock",
    ),
    (
        "atomics and references",
        r"atomic(?:64)?_(?:dec|inc|read|set|or|xor|and|add|sub|fetch|xchg|cmpxchg|try)|(?:set|clear|change|test)_bit|^refcount_|^kref_|ref_tracker",
    ),
    (
        "memory and strings",
        r"mem(?:cpy|cmp|set|chr|move|dup)|str(?:cmp|ncmp|cpy|lcpy|ncpy|scpy|len|str|nstr|nlen|chr|dup|ndup)|string|pointer",
    ),
    (
        "copies to and from user space",
        r"copy_(?:to|from)_(?:user|iter)|copy_(?:page|folio)_(?:to|from)_iter|^copy(?:in|out)$|(?:put|get)_user|extract_(?:user|iter)_to_sg",
    ),
    (
        "containers",
        r"^_*[a-z]?list_(?:add|del|replace|move|splice)|^(?:__)?rb_|^klist_|rhashtable_lookup|ida_free",
    ),
    ("retpolines", r"_indirect_thunk_"),
    (
        "printing",
        r"sc?nprintf|kv?asprintf|printk|va_format|dev_(?:info|notice|warn|err|alert|crit|emerg)|hex_dump_to_buffer|print_hex_dump",
    ),
    (
        "timers",
        r"del_timer|lock_timer_base|__timer_delete_sync|sk_stop_timer_sync|__mod_timer",
    ),
    (
        "work",
        r"flush_work|__cancel_work_timer|cancel_work_sync|try_to_grab_pending|(?:drain|destroy)_workqueue|queue_(?:delayed_)?work|insert_work|__queue_delayed_work",
    ),
    (
        "waking and waiting",
        r"__wake_up|finish_wait|kthread_stop|^complete$|wait_for_completion|cleanup_srcu_struct",
    ),
    (
        "driver core",
        r"kobject_|add_uevent_var|get_device_parent|device_(?:add|del|unregister|destroy|release|for_each_child|remove_file)|devres_release_all|sysfs_remove|^put_device$",
    ),
    (
        "unregistering",
        r"hwrng_unregister|i2c_del_adapter|__unregister_client|rollback_registered|unregister_netdev|tty_unregister_device",
    ),
    (
        "USB requests",
        r"dummy_urb_enqueue|usb_kill_(?:anchored_)?urbs?|usb_control_msg|usb_(?:hcd_)?submit_urb",
    ),
    ("port access", r"(?:read|write)[bwlq]$|logic_(?:in|out)"),
    ("checksums", r"^crc\d+|crc_itu_t"),
    ("buffer heads", r"^mark_buffer_dirty"),
    (
        "inodes and dentries",
        r"^i(?:put(?:_final)?|hold)$|drop_nlink|dput",
    ),
];

/// What calls handlers: entry code, interrupts, work, timers, file and socket operations.
pub(crate) const DISPATCHERS: &str = concat!(
    // work, threads, idle
    r"process_one_work|run_ksoftirqd|smpboot_thread_fn|^kthread$|start_secondary|cpu_startup_entry|ret_from_fork",
    // system calls
    r"|do_syscall_|do_fast_syscall_|sysenter_dispatch|tracesys_phase2|el0_svc_handler|invoke_syscall|ret_fast_syscall",
    // interrupts and timers
    r"|netif_receive_skb|do_softirq|call_timer_fn|_run_timers|run_timer_softirq|hrtimer_run|tasklet_(?:hi_)?action|smp_call_function",
    // files: what matters is whose operation was called
    r"|vfs_(?:iter_)?(?:read|write)|do_iter_(?:read|write)|call_(?:read|write)_iter|new_sync_(?:read|write)|do_dentry_open|vfs_open",
    r"|vfs_ioctl|ksys_ioctl|compat_(?:sys_)?ioctl|blkdev_(?:driver_)?ioctl|^call_mmap|mmap_region|do_mmap",
    // sockets: likewise
    r"|^sock_(?:sendmsg|recvmsg|release|mmap|do_ioctl|ioctl)|^__sock_release|^compat_sock_ioctl|sk_common_release",
    r"|^(?:setsockopt|listen|accept)$|kernel_(?:setsockopt|listen|accept)|sock_common_setsockopt",
    r"|^nfnetlink_rcv_msg|^rtnetlink_rcv_msg|^netlink_dump|^(?:sys_)?(?:socketpair|connect|ioctl)",
    // page faults
    r"|__do_fault|do_page_fault|^page_fault$",
    // on the way back to user space
    r"|__fput|task_work_run|exit_to_usermode",
);

/// It only ever acts for its caller, or `more` says so.
pub(crate) fn is_helper(function: &str, more: &'static [&'static str]) -> bool {
    static ALL: OnceLock<Option<Regex>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let patterns: Vec<&str> = HELPERS.iter().map(|(_, pattern)| *pattern).collect();
        Regex::new(&patterns.join("|")).ok()
    });
    let general = all.as_ref().is_some_and(|regex| regex.is_match(function));
    general
        || more
            .iter()
            .any(|pattern| rule::regex(pattern).is_some_and(|regex| regex.is_match(function)))
}
