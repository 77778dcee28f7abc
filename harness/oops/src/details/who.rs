//! The lines that say which CPU and process it was, and on which kernel and machine.
use super::place::is_module;
use super::{At, Details};

/// More modules than a kernel of a distribution has files for.
const MOST_MODULES: usize = 8192;

/// `CPU: 1 UID: 0 PID: 76 Comm: name Not tainted 6.1.0 #1` (lib/dump_stack.c, `dump_stack_print_info`), and 3.x's
/// `Pid: 76, comm: name Not tainted 3.2.0 #1`. False where `text` is no such line.
pub(super) fn task(text: &str, line: usize, details: &mut Details) -> bool {
    let text = text.trim_start();
    let old = text.starts_with("Pid: ");
    if !old && !text.starts_with("CPU: ") {
        return false;
    }
    let number = |key: &str| {
        text.split_once(key)
            .and_then(|(_, rest)| leading_number(rest))
    };
    let put = |slot: &mut Option<At<u64>>, value: Option<u64>| {
        if slot.is_none() {
            *slot = value.map(|value| At { value, line });
        }
    };
    if details.cpu.is_none() {
        let cpu = number("CPU: ").and_then(|cpu| u32::try_from(cpu).ok());
        details.cpu = cpu.map(|value| At { value, line });
    }
    put(
        &mut details.pid,
        number(if old { "Pid: " } else { " PID: " }),
    );
    let Some((_, rest)) = text.split_once(if old { " comm: " } else { " Comm: " }) else {
        details
            .lost
            .push(format!("line {line}: the process's name is cut off"));
        return true;
    };
    named(rest, line, details);
    true
}

/// `name Kdump: loaded Tainted: G  OE  5.10.0 #1`: a name may hold blanks, and ends before the words that follow it.
fn named(rest: &str, line: usize, details: &mut Details) {
    const AFTER: [&str; 3] = [" Kdump: loaded", " Not tainted", " Tainted: "];
    let end = AFTER.iter().filter_map(|words| rest.find(words)).min();
    let (name, after) = rest
        .split_at_checked(end.unwrap_or(rest.len()))
        .unwrap_or_default();
    if details.comm.is_none() && !name.is_empty() {
        details.comm = Some(At {
            value: name.to_owned(),
            line,
        });
    }
    if details.release.is_some() {
        return;
    }
    match release(after) {
        Some(value) => details.release = Some(At { value, line }),
        None => details
            .lost
            .push(format!("line {line}: the kernel's release is cut off")),
    }
}

/// The word after the letters of the taint. RHEL's kernels print a dash for each flag of their own that is not set
/// (`Tainted: G OE --------- - - 4.18.0-147.5.1.el8_1.x86_64 #1`).
fn release(after: &str) -> Option<String> {
    let rest = match after.split_once("Not tainted ") {
        Some((_, rest)) => rest,
        None => after.split_once("Tainted: ")?.1,
    };
    let mut words = rest.split_ascii_whitespace();
    let is_flags = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    let found = words.find(|word| !is_flags(word))?;
    // `#1` must follow, or the release itself may be cut off.
    words
        .next()
        .is_some_and(|word| word.starts_with('#'))
        .then(|| found.to_owned())
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// `Modules linked in: a(OE) b [last unloaded: c]` (kernel/module/main.c, `print_modules`). False where it is none, or
/// nothing that goes on with one.
pub(super) fn modules(text: &str, goes_on: bool, details: &mut Details) -> bool {
    let rest = match text.trim_start().strip_prefix("Modules linked in:") {
        Some(rest) => rest,
        None if goes_on => text,
        None => return false,
    };
    let rest = rest.split("[last unloaded").next().unwrap_or_default();
    let names = rest.split_ascii_whitespace().map(|word| {
        let (name, flags) = word.split_once('(').unwrap_or((word, ")"));
        (is_module(name) && flags.ends_with(')')).then_some(name)
    });
    let Some(names) = names.collect::<Option<Vec<_>>>() else {
        if !goes_on {
            details
                .lost
                .push("the list of modules is cut off or overwritten".to_owned());
        }
        return !goes_on;
    };
    if details.modules.len() + names.len() > MOST_MODULES {
        details
            .lost
            .push(format!("only {MOST_MODULES} modules are read"));
        return true;
    }
    details.modules.extend(names.into_iter().map(str::to_owned));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(after: &str, expected: Option<&str>) {
        assert_eq!(release(after).as_deref(), expected, "{after}");
    }

    #[test]
    fn the_release_is_the_word_after_the_flags_of_the_taint() {
        check(
            " Not tainted 6.1.0-56-amd64 #1 Debian",
            Some("6.1.0-56-amd64"),
        );
        check(
            " Tainted: G           OE      6.1.0-56-amd64 #1",
            Some("6.1.0-56-amd64"),
        );
        check(
            " Kdump: loaded Tainted: G           OE    --------- -  - 4.18.0-147.5.1.el8_1.x86_64 #1",
            Some("4.18.0-147.5.1.el8_1.x86_64"),
        );
        check(
            " Not tainted --------- -  - 4.18.0-147.5.1.el8_1.x86_64 #1",
            Some("4.18.0-147.5.1.el8_1.x86_64"),
        );
    }

    #[test]
    fn a_release_that_may_be_cut_off_is_none() {
        check(" Tainted: G OE --------- -  - 4.18.0-147.5", None);
        check(" Tainted: G OE --------- -", None);
    }
}
