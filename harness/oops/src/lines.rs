//! Lines of a log without what consoles, daemons and tools put before them: levels, times, callers, dates, hosts.
//!
//! It knows prefixes only, not what the kernel says. Every line of the log gives exactly one [`Line`], in order.

/// Who printed a line, where the kernel says so (`CONFIG_PRINTK_CALLER`, kernel/printk/printk.c, `print_caller`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// `T123`: a thread in process context.
    Task(u64),
    /// `C0`: a CPU in interrupt context.
    Cpu(u64),
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// 0 the first line of the log.
    pub number: usize,
    /// The line as it stands, without its end.
    pub raw: &'a str,
    /// What the kernel printed; leading blanks of its own are kept, trailing ones are not.
    pub text: &'a str,
    /// Who printed it.
    pub caller: Option<Caller>,
    /// The digits of printk's time: `12.345678`.
    pub time: Option<&'a str>,
}

/// More prefixes than any chain of tools puts before one line; it bounds the work on hostile ones.
const MOST_PREFIXES: usize = 8;

/// What one prefix was.
#[derive(Default)]
struct Prefix<'a> {
    /// Bytes to drop.
    bytes: usize,
    time: Option<&'a str>,
    caller: Option<Caller>,
}

impl<'a> Prefix<'a> {
    fn plain(bytes: usize) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

/// The lines of `log`.
pub fn lines(log: &str) -> impl Iterator<Item = Line<'_>> {
    log.split_terminator('\n')
        .enumerate()
        .map(|(number, raw)| line(number, raw))
}

/// One line without its prefixes.
#[must_use]
pub fn line(number: usize, raw: &str) -> Line<'_> {
    let raw = raw.trim_end_matches('\r');
    let mut found = Line {
        number,
        raw,
        text: raw,
        caller: None,
        time: None,
    };
    if raw.is_empty() {
        return found;
    }
    for _ in 0..MOST_PREFIXES {
        let text = without_noise(found.text);
        let Some(prefix) = PREFIXES.iter().find_map(|read| read(text)) else {
            break;
        };
        found.text = text.get(prefix.bytes..).unwrap_or_default();
        found.time = found.time.or(prefix.time);
        found.caller = found.caller.or(prefix.caller);
    }
    found.text = found.text.trim_end();
    found
}

/// Every prefix that is known, each tried at the start of what is left.
const PREFIXES: &[for<'a> fn(&'a str) -> Option<Prefix<'a>>] = &[
    quote,
    level,
    bracket,
    android_caller,
    dropped,
    facility,
    syslog,
    iso_syslog,
    logcat,
    login,
];

/// Control characters and terminal sequences that a serial line leaves before the text.
fn without_noise(mut text: &str) -> &str {
    loop {
        let trimmed = text.trim_start_matches(|c: char| {
            (c.is_control() && c != '\t' && c != '\u{1b}') || c == '\u{feff}'
        });
        let next = match trimmed.strip_prefix("\u{1b}[") {
            Some(rest) => rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | '?'))
                .get(1..),
            None => trimmed.strip_prefix('\u{1b}'),
        };
        match next {
            Some(next) => text = next,
            None => return trimmed.trim_start_matches('\u{1b}'),
        }
    }
}

/// `> `, from mail and Markdown. KASAN's own `>` has no blank after it.
fn quote(text: &str) -> Option<Prefix<'_>> {
    text.starts_with("> ").then(|| Prefix::plain(2))
}

/// `<4>`, `<14>`: the level of a raw record.
fn level(text: &str) -> Option<Prefix<'_>> {
    let rest = text.strip_prefix('<')?;
    let digits = digits(rest);
    let closed = rest.get(digits..)?.starts_with('>');
    (matches!(digits, 1..=3) && closed).then(|| Prefix::plain(digits + 2))
}

/// `[   12.345678]`, `[   12.345678][  T123]`, `[C0]`, `[pid  123]`, `[Sun Jun  5 12:34:56 2022]`, `[  +0.000003]`.
fn bracket(text: &str) -> Option<Prefix<'_>> {
    let rest = text.strip_prefix('[')?;
    // 64: longer than any time or caller; what is longer is text.
    let end = rest.bytes().take(64).position(|byte| byte == b']')?;
    let inner = rest.get(..end)?.trim();
    let (time, caller) = inside(inner)?;
    let blank = usize::from(rest.get(end + 1..)?.starts_with(' '));
    Some(Prefix {
        bytes: end + 2 + blank,
        time,
        caller,
    })
}

/// What stands between brackets: a time, a caller, or both (`12.345678@1`, `12.345678,0`, `12.345678  T123`).
fn inside(inner: &str) -> Option<(Option<&str>, Option<Caller>)> {
    if let Some(caller) = caller(inner) {
        return Some((None, Some(caller)));
    }
    if let Some(time) = seconds(inner) {
        let rest = inner
            .get(time.len()..)?
            .trim_start_matches([',', '@', ' ', ':', '(', '|']);
        let short = rest.len() <= 40;
        return short.then(|| (Some(time), caller_first(rest)));
    }
    let delta = inner
        .strip_prefix('+')
        .and_then(seconds)
        .is_some_and(|time| time.len() + 1 == inner.len());
    (delta || is_pid(inner) || is_calendar(inner)).then_some((None, None))
}

/// `T123`, `C0`; vendors print `T123@C0`.
fn caller(text: &str) -> Option<Caller> {
    let number = |digits: &str| {
        let own = digits.split('@').next().unwrap_or(digits);
        own.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| own.parse().ok())
            .flatten()
    };
    match text.split_at_checked(1)? {
        ("T", digits) => number(digits).map(Caller::Task),
        ("C", digits) => number(digits).map(Caller::Cpu),
        _ => None,
    }
}

fn caller_first(text: &str) -> Option<Caller> {
    text.split([' ', ',', ']', '[']).find_map(caller)
}

/// `12.345678` at the start of `text`.
fn seconds(text: &str) -> Option<&str> {
    let whole = digits(text);
    let rest = text.get(whole..)?.strip_prefix('.')?;
    let part = digits(rest);
    (whole > 0 && part > 0)
        .then(|| text.get(..whole + 1 + part))
        .flatten()
}

/// `pid  123` (strace), `pid:123,cpu0,name` (vendor kernels).
fn is_pid(inner: &str) -> bool {
    let Some(rest) = inner.strip_prefix("pid") else {
        return false;
    };
    let rest = rest.trim_start_matches([' ', ':']);
    digits(rest) > 0
}

/// `Sun Jun  5 12:34:56 2022` (dmesg -T), `Jun 5 12:34` (dmesg -H).
fn is_calendar(inner: &str) -> bool {
    let mut words = inner.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let named = WEEKDAYS.contains(&first) || MONTHS.contains(&first);
    named && words.any(|word| clock(word).is_some())
}

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `c1   1234 ` after the time, as old Android kernels print CPU and process.
fn android_caller(text: &str) -> Option<Prefix<'_>> {
    let rest = text.strip_prefix('c')?;
    let cpu = digits(rest);
    let after = rest.get(cpu..)?.strip_prefix(' ')?;
    let blanks = after.len() - after.trim_start_matches(' ').len();
    let pid = digits(after.get(blanks..)?);
    let ends = after.get(blanks + pid..)?.starts_with(' ');
    (matches!(cpu, 1..=3) && pid > 0 && ends).then(|| Prefix::plain(cpu + blanks + pid + 3))
}

/// `** 12 printk messages dropped ** ` before the record that follows.
fn dropped(text: &str) -> Option<Prefix<'_>> {
    let rest = text.strip_prefix("** ")?;
    let count = digits(rest);
    let rest = rest
        .get(count..)?
        .strip_prefix(" printk messages dropped **")?;
    let blank = usize::from(rest.starts_with(' '));
    (count > 0).then(|| Prefix::plain(text.len() - rest.len() + blank))
}

/// `kern  :warn  : ` (dmesg -x).
fn facility(text: &str) -> Option<Prefix<'_>> {
    let rest = text
        .strip_prefix("kern")?
        .trim_start_matches(' ')
        .strip_prefix(':')?;
    let word = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let rest = rest
        .get(word..)?
        .trim_start_matches(' ')
        .strip_prefix(':')?;
    let blank = usize::from(rest.starts_with(' '));
    (word > 0).then(|| Prefix::plain(text.len() - rest.len() + blank))
}

/// `Jun  5 12:34:56 host kernel: ` (syslog, journalctl).
fn syslog(text: &str) -> Option<Prefix<'_>> {
    let rest = MONTHS
        .iter()
        .find_map(|month| text.strip_prefix(month))?
        .strip_prefix(' ')?
        .trim_start_matches(' ');
    let rest = rest.get(digits(rest)..)?.strip_prefix(' ')?;
    let rest = rest.get(clock(rest)?..)?.strip_prefix(' ')?;
    host_and_tag(text, rest)
}

/// `2022-06-05T12:34:56.123456+08:00 host kernel: `.
fn iso_syslog(text: &str) -> Option<Prefix<'_>> {
    let rest = text.get(calendar_day(text)?..)?;
    let rest = rest.strip_prefix(['T', ' '])?;
    let rest = rest.get(clock(rest)?..)?;
    let zone = rest
        .bytes()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b':' | b'Z'))
        .count();
    host_and_tag(text, rest.get(zone..)?.strip_prefix(' ')?)
}

/// `host kernel: `, `host kernel[0]: `; daemons other than the kernel's are no prefix.
fn host_and_tag<'a>(text: &'a str, rest: &'a str) -> Option<Prefix<'a>> {
    let after_host = match rest.strip_prefix("kernel") {
        Some(_) => rest,
        None => rest.split_once(' ')?.1,
    };
    let tag = after_host.strip_prefix("kernel")?;
    let tag = match tag.strip_prefix('[') {
        Some(numbered) => numbered.get(digits(numbered)..)?.strip_prefix(']')?,
        None => tag,
    };
    let tag = tag.strip_prefix(':')?;
    let blank = usize::from(tag.starts_with(' '));
    Some(Prefix::plain(text.len() - tag.len() + blank))
}

/// `06-05 12:34:56.789  1234  1234 E kernel  : ` (Android's logcat).
fn logcat(text: &str) -> Option<Prefix<'_>> {
    let (month, rest) = text.split_at_checked(digits(text))?;
    let rest = rest.strip_prefix('-')?;
    let (day, rest) = rest.split_at_checked(digits(rest))?;
    let rest = rest.strip_prefix(' ')?;
    let rest = rest.get(clock(rest)?..)?;
    let (head, tail) = rest.split_once(": ")?;
    let named = head.split_ascii_whitespace().any(|word| word == "kernel");
    (month.len() == 2 && day.len() == 2 && named).then(|| Prefix::plain(text.len() - tail.len()))
}

/// `debian login: ` on a serial line, when a record of the kernel follows.
fn login(text: &str) -> Option<Prefix<'_>> {
    let (host, rest) = text.split_once(" login: ")?;
    let follows = bracket(rest).is_some_and(|prefix| prefix.time.is_some());
    (follows && host.len() < 64).then(|| Prefix::plain(text.len() - rest.len()))
}

/// Length of `12:34:56.789` or `12:34` at the start of `text`.
fn clock(text: &str) -> Option<usize> {
    let length = text
        .bytes()
        .take_while(|byte| matches!(byte, b'0'..=b'9' | b':' | b'.' | b','))
        .count();
    let inner = text.get(..length)?;
    let fields = inner.split(':').count();
    let first = digits(inner);
    (matches!(fields, 2 | 3) && matches!(first, 1 | 2) && length >= 4).then_some(length)
}

/// Length of `2022-06-05` at the start of `text`.
fn calendar_day(text: &str) -> Option<usize> {
    let day = text.get(..10)?;
    let shape = day.bytes().enumerate().all(|(at, byte)| {
        if matches!(at, 4 | 7) {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    });
    shape.then_some(10)
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(raw: &str, text: &str, caller: Option<Caller>) {
        let line = line(0, raw);
        assert_eq!((line.text, line.caller), (text, caller), "{raw:?}");
    }

    #[test]
    fn times_levels_and_callers_are_dropped() {
        check("<4>[   12.345678] Oops", "Oops", None);
        check(
            "[   12.345678][ T123] Oops",
            "Oops",
            Some(Caller::Task(123)),
        );
        check(
            "[   12.345678][    C0]  foo+0x1/0x2",
            " foo+0x1/0x2",
            Some(Caller::Cpu(0)),
        );
        check("[    C1] Oops", "Oops", Some(Caller::Cpu(1)));
        check("[   12.345678]  <IRQ>", " <IRQ>", None);
        check("[pid   123] Oops", "Oops", None);
        check("[  +0.000003] Oops", "Oops", None);
        check("[Sun Jun  5 12:34:56 2022] Oops", "Oops", None);
        check("[  196.250000] c1   1234 Oops", "Oops", None);
    }

    #[test]
    fn what_daemons_and_tools_add_is_dropped() {
        check("Jun  5 12:34:56 host kernel: [   12.3] Oops", "Oops", None);
        check("Jun 05 12:34:56 kernel: Oops", "Oops", None);
        check(
            "2022-06-05T12:34:56.123456+08:00 host kernel: [ 1.0] Oops",
            "Oops",
            None,
        );
        check(
            "06-05 12:34:56.789  1234  1234 E kernel  : [ 1.0] Oops",
            "Oops",
            None,
        );
        check("kern  :warn  : [   12.345678] Oops", "Oops", None);
        check(
            "** 12 printk messages dropped ** [  12.3] Oops",
            "Oops",
            None,
        );
        check("debian login: [  12.3] Oops", "Oops", None);
        check("> [  12.3] Oops\r", "Oops", None);
        check("\u{1b}[0;31m\0[  12.3] Oops", "Oops", None);
    }

    #[test]
    fn what_is_the_kernel_s_own_stays() {
        for text in [
            "[<ffffffff81234567>] foo+0x1/0x2",
            "[ end trace 123 ]",
            ">ffff8880: fb fb fb",
            "<IRQ>",
            "** replaying previous printk message **",
            "CPU: 1 PID: 2",
            "c0 is up",
            "2019/08/01 12:34:56 executing program",
        ] {
            check(text, text, None);
        }
    }

    #[test]
    fn every_line_is_counted_once() {
        let numbers: Vec<usize> = lines("a\n\nb\r\nc").map(|line| line.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn any_text_gives_its_own_lines(log in "(?s)[\\[\\]<>*: a-zA-Z0-9.\\x00-\\x1f\u{e9}\n]{0,200}") {
            for line in lines(&log) {
                prop_assert!(line.raw.contains(line.text));
            }
        }
    }
}
