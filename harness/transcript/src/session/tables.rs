//! What stands in columns: the banner and `sys`, `vtop`, `kmem -s`.
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
    (!value.is_empty()).then(|| Entry {
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
        let number = plain.split_ascii_whitespace().next().unwrap_or_default();
        match self.key {
            "RELEASE" => set(&mut system.release, Some(plain), line),
            "PANIC" => set(&mut system.panic, Some(plain), line),
            "COMMAND" => set(&mut system.comm, Some(plain), line),
            "DATE" => set(&mut system.date, Some(plain), line),
            "CPUS" => set(&mut system.cpus, number.parse().ok(), line),
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

/// Which table's rows follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heading {
    /// `VIRTUAL PHYSICAL`.
    Translation,
    /// `CACHE … OBJSIZE … NAME`.
    Caches,
}

/// The head of a table.
pub(super) fn heading(text: &str) -> Option<Heading> {
    let words: Vec<&str> = text.split_ascii_whitespace().take(8).collect();
    match words.as_slice() {
        ["VIRTUAL", "PHYSICAL"] => Some(Heading::Translation),
        ["CACHE", rest @ ..] if rest.contains(&"OBJSIZE") && rest.contains(&"NAME") => {
            Some(Heading::Caches)
        }
        _ => None,
    }
}

/// One row of a table.
pub(super) enum Row {
    Translation(Translation),
    Cache(Cache),
}

/// A row of the table under this head.
pub(super) fn row(heading: Heading, text: &str, line: usize) -> Option<Row> {
    let mut words = text.split_ascii_whitespace();
    let at = address(words.next()?)?;
    match heading {
        Heading::Translation => {
            let phys = words.next()?;
            let gone = phys == "(not";
            (gone || hex(phys).is_some()).then(|| {
                Row::Translation(Translation {
                    virt: at,
                    phys: hex(phys).filter(|_| !gone),
                    line,
                })
            })
        }
        Heading::Caches => {
            let rest: Vec<&str> = words.take(8).collect();
            // crash 7.2.4 moved the name from the second column to the last.
            let (name, size) = match rest.as_slice() {
                [size, .., name] if size.parse::<u64>().is_ok() => (*name, *size),
                [name, size, ..] => (*name, *size),
                _ => return None,
            };
            let object_size = size.parse().ok();
            object_size?;
            Some(Row::Cache(Cache {
                address: at,
                name: name.to_owned(),
                object_size,
                line,
            }))
        }
    }
}
