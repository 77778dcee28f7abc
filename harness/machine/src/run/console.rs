//! Reads the guest's console: which lines say that the kernel dies, and what repro-module reports there.
//! Everything on it is untrusted. Cuts no lines (that is [`super::lines`]).
use recrash_agent::MODULE_LINE;
use serde_json::Value;

/// What a line means to the harness.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// The kernel dies; the text is the message without its time stamp.
    Crash(String),
    /// A panic is over: the kernel stays where it is (`panic()` in kernel/panic.c, 4.18 to 6.12).
    Halted,
    /// repro-module reports.
    Module(Value),
    /// The kernel has given up on a USB device; the message.
    NotEnumerated(String),
    /// Anything else.
    Other,
}

/// Begin of the message with which x86 kernels announce an oops or a panic: `arch/x86/kernel/traps.c`,
/// `arch/x86/mm/fault.c`, `arch/x86/kernel/dumpstack.c`, `lib/bug.c`, `kernel/panic.c`, 4.18 to 6.12.
const DEATHS: &[&str] = &[
    "BUG: kernel NULL pointer dereference",
    "BUG: unable to handle",
    "BUG: stack guard page was hit",
    "BUG: KASAN: ",
    "Corrupted page table at",
    "Kernel panic - not syncing",
    "Oops: ",
    "PANIC: ",
    "alignment check: ",
    "bounds: ",
    "control protection fault: ",
    "coprocessor segment overrun: ",
    "divide error: ",
    "double fault: ",
    "general protection fault",
    "int3: ",
    "invalid TSS: ",
    "invalid opcode: ",
    "kernel BUG at ",
    "kernel tried to execute NX-protected page",
    "segment not present: ",
    "stack segment: ",
    "traps: PANIC",
];

/// Begin of a panic's last line.
const HALTED: &str = "---[ end Kernel panic - not syncing";

/// End of the message with which `hub_port_connect()` (drivers/usb/core/hub.c, 4.18 to 6.12) gives up, for as long as
/// the device stays plugged. Before it another controller's port may be tried, and nothing is said.
const NOT_ENUMERATED: &str = ": unable to enumerate USB device";

/// What this line means.
#[must_use]
pub fn read(line: &str) -> Line {
    let message = without_prefix(line);
    if let Some(json) = message.strip_prefix(MODULE_LINE) {
        return match serde_json::from_str(json) {
            Ok(value) => Line::Module(value),
            // Another CPU's message may have been printed into it: keep what there is.
            Err(_) => Line::Module(Value::String(json.into())),
        };
    }
    if DEATHS.iter().any(|begin| message.starts_with(begin)) {
        return Line::Crash(message.trim_end().to_owned());
    }
    if message.starts_with(HALTED) {
        return Line::Halted;
    }
    if message.starts_with("usb ") && message.trim_end().ends_with(NOT_ENUMERATED) {
        return Line::NotEnumerated(message.trim_end().to_owned());
    }
    Line::Other
}

/// The message behind `[    1.234567]` and, with CONFIG_PRINTK_CALLER, `[   T12]`.
fn without_prefix(line: &str) -> &str {
    let mut rest = line.trim_start();
    while let Some(inside) = rest.strip_prefix('[') {
        let Some((tag, after)) = inside.split_once(']') else {
            break;
        };
        let known = |c: char| c.is_ascii_digit() || " .TC".contains(c);
        if tag.len() > 24 || !tag.chars().all(known) {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(line: &str, expected: &Line) {
        assert_eq!(read(line), *expected, "{line:?}");
    }

    fn crash(text: &str) -> Line {
        Line::Crash(text.into())
    }

    #[test]
    fn an_oops_is_a_crash() {
        check(
            "[    3.141592] general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP PTI",
            &crash(
                "general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP PTI",
            ),
        );
        check(
            "[ 9.5][  T312] stack segment: 0000 [#1] SMP NOPTI",
            &crash("stack segment: 0000 [#1] SMP NOPTI"),
        );
        check(
            "[    1.0] Kernel panic - not syncing: No working init found.",
            &crash("Kernel panic - not syncing: No working init found."),
        );
    }

    #[test]
    fn the_last_line_of_a_panic_ends_it() {
        check(
            "[    3.2] ---[ end Kernel panic - not syncing: Fatal exception ]---",
            &Line::Halted,
        );
        check(
            "[    3.2] ---[ end trace 0000000000000000 ]---",
            &Line::Other,
        );
    }

    #[test]
    fn a_line_about_a_crash_is_no_crash() {
        check("[ 1.0] usb 1-1: Product: kernel BUG at home", &Line::Other);
        check("[ 1.0] BUG: sleeping function called", &Line::Other);
        check("", &Line::Other);
        check("[", &Line::Other);
    }

    #[test]
    fn a_device_that_the_kernel_gives_up_on_is_told() {
        let text = "usb usb1-port1: unable to enumerate USB device";
        check(
            &format!("[    2.5] {text}\r"),
            &Line::NotEnumerated(text.into()),
        );
        check(
            "[ 2.5] usb 1-1: Product: unable to enumerate USB device x",
            &Line::Other,
        );
    }

    #[test]
    fn the_module_reports_json() {
        check(
            r#"[    2.5] recrash-module: {"event":"fired","len":54}"#,
            &Line::Module(json!({"event": "fired", "len": 54})),
        );
    }

    #[test]
    fn a_broken_report_is_kept_as_text() {
        check(
            r#"recrash-module: {"event": [ 1.0] usb"#,
            &Line::Module(json!("{\"event\": [ 1.0] usb")),
        );
    }

    #[test]
    fn deeply_nested_json_does_no_harm() {
        let line = format!("{MODULE_LINE}{}", "[".repeat(60_000));
        assert!(matches!(read(&line), Line::Module(Value::String(_))));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: String) {
            let _ = read(&line);
        }
    }
}
