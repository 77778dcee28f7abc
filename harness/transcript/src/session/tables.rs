//! What stands in columns: the banner and `sys`, `vtop`, `kmem -s`. Objects and slabs of `kmem -S` are not read.
use super::numbers::{address, hex};
use crate::evidence::{Cache, System, Translation};

/// One line of the banner.
pub(super) struct Entry {
    key: &'static str,
    value: String,
}

/// Keys of the banner that are read, and those that only belong to it.
const KEYS: [&str; 20] = [
    "RELEASE",
    "PANIC",
    "CPUS",
    "COMMAND",
    "PID",
    "CPU",
    "DATE",
    "KERNEL",
    "DUMPFILE",
    "DUMPFILES",
    "UPTIME",
    "LOAD AVERAGE",
    "TASKS",
    "NODENAME",
    "VERSION",
    "MACHINE",
    "MEMORY",
    "STATE",
    "TASK",
    "DEBUG KERNEL",
];

/// `     RELEASE: 6.1.0-56-amd64`.
pub(super) fn entry(text: &str) -> Option<Entry> {
    let (key, value) = text.trim_start().split_once(": ")?;
    let key = KEYS.iter().find(|known| **known == key)?;
    let value = value.trim();
    // A line of the kernel's log begins like this too: `CPU: 1 PID: 87 Comm: …`.
    let number = !matches!(*key, "CPU" | "PID") || value.bytes().all(|b| b.is_ascii_digit());
    (!value.is_empty() && number).then(|| Entry {
        key,
        value: value.to_owned(),
    })
}

impl Entry {
    /// A quoted value whose end is missing goes on at a blank.
    pub(super) fn goes_on(&self) -> Option<bool> {
        let open = self.value.starts_with('"')
            && !self.value.get(1..).is_some_and(|rest| rest.ends_with('"'));
        open.then_some(false)
    }

    pub(super) fn into_system(self, system: &mut System, line: usize) {
        let plain = self.value.trim_matches('"').to_owned();
        // crash could not read it.
        if plain.is_empty() {
            return;
        }
        let number = plain.as_str();
        match self.key {
            "RELEASE" => set(&mut system.release, Some(plain), line),
            "PANIC" => set(&mut system.panic, Some(plain), line),
            "COMMAND" => set(&mut system.comm, Some(plain), line),
            "DATE" => set(&mut system.date, Some(plain), line),
            // `2 [OFFLINE: 1]`.
            "CPUS" => {
                let online = number.split(' ').next().unwrap_or_default();
                set(&mut system.cpus, online.parse().ok(), line);
            }
            "PID" => set(&mut system.pid, number.parse().ok(), line),
            "CPU" => set(&mut system.cpu, number.parse().ok(), line),
            _ => {}
        }
    }
}

/// The first one counts: a session begins with its banner.
fn set<T>(slot: &mut Option<(T, usize)>, value: Option<T>, line: usize) {
    if slot.is_none() {
        *slot = value.map(|value| (value, line));
    }
}

/// The head of `vtop`'s table, which its row stands below.
pub(super) fn heading(text: &str) -> bool {
    text.split_ascii_whitespace().eq(["VIRTUAL", "PHYSICAL"])
}

/// The head of `kmem -s`'s table. Its rows are known by themselves.
pub(super) fn caches_heading(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    words.next() == Some("CACHE") && words.any(|word| word == "OBJSIZE")
}

/// `ffff888012345678  12345678`, `ffffffffc0000000  (not mapped)`.
pub(super) fn translation(text: &str, line: usize) -> Option<Translation> {
    let (virt, rest) = text.trim().split_once(' ')?;
    let rest = rest.trim();
    let gone = matches!(rest, "(not mapped)" | "(not accessible)");
    (gone || hex(rest).is_some()).then_some(Translation {
        virt: address(virt)?,
        phys: hex(rest).filter(|_| !gone),
        line,
    })
}

/// `ffff888000042900      256       1201      1344     84     4k  kmalloc-256`: `kmem -s` and what opens `kmem -S`. Up to
/// crash 7.2.3 the name stands second.
pub(super) fn cache(text: &str, line: usize) -> Option<Cache> {
    let words: Vec<&str> = text.split_ascii_whitespace().take(8).collect();
    let (at, name, size, counts, pages) = match words.as_slice() {
        [at, size, a, b, c, pages, name] if pages.ends_with('k') => {
            (at, name, size, [a, b, c], pages)
        }
        [at, name, size, a, b, c, pages] => (at, name, size, [a, b, c], pages),
        _ => return None,
    };
    let number = |text: &str| text.parse::<u64>().ok();
    number(pages.strip_suffix('k')?)?;
    for count in counts {
        number(count)?;
    }
    Some(Cache {
        address: address(at)?,
        name: (*name).to_owned(),
        object_size: Some(number(size)?),
        line,
    })
}
