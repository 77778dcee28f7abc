//! `struct NAME ADDRESS` and gdb's `p *(struct NAME *)ADDRESS`: members by path, whole or cut off.
use super::numbers::{loose_address, value};
use crate::evidence::{Member, Struct};

/// Structures within structures that are followed.
const MAX_DEPTH: usize = 32;
/// Members of one structure that are kept; task_struct has some thousand with all that is in it.
const MAX_MEMBERS: usize = 1 << 16;
/// Elements of an array printed in one line that are kept one by one.
const MAX_ELEMENTS: usize = 256;

/// The structure that a command asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its type; empty where any will do.
    pub(super) name: String,
    pub(super) address: Option<u64>,
}

impl Asked {
    /// Whether the answer can be to this question.
    pub(super) fn fits(&self, name: &str) -> bool {
        self.name.is_empty() || self.name == name
    }
}

/// `struct kmem_cache ffff8ef487c0e9c0`, `kmem_cache.offset ffff…`, `p *(struct kmem_cache *)0xffff…`.
pub(super) fn asked(command: &str) -> Option<Asked> {
    let mut words = command
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with('-'))
        .peekable();
    let first = words.next()?;
    if matches!(first, "p" | "px" | "print") {
        return printed(command);
    }
    let name = match first {
        "struct" | "union" | "*" => words.next()?,
        name => name,
    };
    let name = name.split('.').next().unwrap_or_default();
    let address = words.find_map(loose_address);
    let asks = first == "struct" || first == "union" || first == "*" || address.is_some();
    (asks && is_name(name)).then(|| Asked {
        name: name.to_owned(),
        address,
    })
}

/// `struct kmem_cache ffff8ef487c0e9c0` and nothing else, as people write it without its prompt.
pub(super) fn is_command(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    words.next() == Some("struct")
        && words
            .next()
            .is_some_and(|name| name.split('.').all(is_name))
        && words.next().and_then(super::numbers::address).is_some()
        && words.next().is_none()
}

/// gdb's form: a cast and an address.
fn printed(command: &str) -> Option<Asked> {
    let (_, rest) = command.split_once("(struct ")?;
    let (name, rest) = rest.split_once('*')?;
    let address = rest
        .trim_start_matches([' ', ')', '('])
        .split_ascii_whitespace()
        .next();
    let name = name.trim();
    is_name(name).then(|| Asked {
        name: name.to_owned(),
        address: address.and_then(|word| loose_address(word.trim_end_matches(')'))),
    })
}

fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && text.len() <= 256
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The name in `struct kmem_cache_cpu {`; of `$1 = {` and `{` it is the one that was asked for.
pub(super) fn header(text: &str, asked: Option<&Asked>) -> Option<String> {
    let text = text.trim();
    let named = text
        .strip_prefix("struct ")
        .or_else(|| text.strip_prefix("union "));
    if let Some(name) = named.and_then(|rest| rest.strip_suffix('{')) {
        let name = name.trim();
        return is_name(name).then(|| name.to_owned());
    }
    let number = text
        .strip_prefix('$')
        .and_then(|rest| rest.strip_suffix("= {"));
    let digits = |number: &str| number.trim().bytes().all(|b| b.is_ascii_digit());
    if number.is_some_and(digits) {
        return asked.map(|asked| asked.name.clone());
    }
    // `p init_uts_ns` names the variable and not its type: no type may be taken for it.
    let (variable, rest) = text.split_once(" = $")?;
    let number = rest.strip_suffix(" = {")?;
    (is_name(variable) && digits(number)).then(|| format!("variable {variable}"))
}

/// Whether a line is `name = value` with a value as gdb prints it; C code has such lines too, and ends them otherwise.
pub(super) fn is_member(text: &str) -> bool {
    let parts = text.trim().split_once(" = ");
    let printed = |text: &str| {
        text.starts_with(['{', '"', '\'', '(']) || value(text).is_some() || text.starts_with("0x")
    };
    text.starts_with(' ')
        && !text.trim_end().ends_with(';')
        && parts.is_some_and(|(name, value)| is_name(name) && printed(value))
}

/// How many elements one text stands for: `0x0 <repeats 15 times>`.
fn repeats(element: &str) -> usize {
    let times = element.split_once("<repeats ").map(|(_, rest)| rest);
    let times = times.and_then(|rest| rest.split_once(" times>")?.0.parse().ok());
    times.unwrap_or(1).max(1)
}

/// `[3]: ffff88803fb28120`: where the copy of a CPU lies, as crash says above each.
pub(super) fn cpu_address(text: &str) -> Option<u64> {
    let (cpu, at) = text.trim().strip_prefix('[')?.split_once("]: ")?;
    let cpu = !cpu.is_empty() && cpu.bytes().all(|b| b.is_ascii_digit());
    cpu.then(|| super::numbers::address(at))?
}

/// A structure that is being read.
#[derive(Debug)]
pub(super) struct Open {
    found: Struct,
    /// Names of the levels below the structure itself, and how many elements an array had so far.
    levels: Vec<Level>,
}

/// One level below the structure itself.
#[derive(Debug)]
struct Level {
    /// Its part of the path; empty for a structure or union without a name.
    name: String,
    /// Elements begun so far, where it is an array.
    elements: Option<usize>,
}

impl Level {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            elements: None,
        }
    }
}

impl Open {
    pub(super) fn new(name: String, address: Option<u64>, line: usize) -> Self {
        Self {
            found: Struct {
                name,
                address,
                members: Vec::new(),
                line,
                whole: false,
            },
            levels: Vec::new(),
        }
    }

    /// Nothing of it was read: a definition in C begins with the same line.
    pub(super) fn is_empty(&self) -> bool {
        self.found.members.is_empty() && !self.found.whole
    }

    /// Its last line was seen.
    pub(super) fn is_whole(&self) -> bool {
        self.found.whole
    }

    pub(super) fn close(self) -> Struct {
        self.found
    }

    /// Takes a line; false where it is none of a structure's.
    pub(super) fn line(&mut self, text: &str, number: usize) -> bool {
        let text = text.split("//").next().unwrap_or_default().trim();
        if self.found.whole
            || self.levels.len() > MAX_DEPTH
            || self.found.members.len() >= MAX_MEMBERS
        {
            return false;
        }
        if text.starts_with('}') {
            self.closing(text);
            return true;
        }
        if text == "{" {
            let array = self
                .levels
                .last()
                .is_some_and(|level| level.elements.is_some());
            let name = if array { self.element() } else { String::new() };
            self.levels.push(Level::of(&name));
            return true;
        }
        let Some((name, rest)) = text.split_once(" = ") else {
            return false;
        };
        if !is_name(name) {
            return false;
        }
        let rest = rest.trim();
        if rest.is_empty() || rest.bytes().any(|b| b != b'{') {
            self.member(name, rest, number);
            return true;
        }
        // `list = {` opens a structure, `list = {{` an array of them.
        self.levels.push(Level::of(name));
        for _ in 1..rest.len().min(MAX_DEPTH) {
            let element = self.element();
            self.levels.push(Level::of(&element));
        }
        true
    }

    /// Closing braces, and `}, {` between the elements of an array.
    fn closing(&mut self, text: &str) {
        for brace in text.chars() {
            match brace {
                '}' if self.levels.pop().is_none() => self.found.whole = true,
                '{' => {
                    let name = self.element();
                    self.levels.push(Level::of(&name));
                }
                _ => {}
            }
        }
    }

    /// The name of the next element of the array that is open.
    fn element(&mut self) -> String {
        match self.levels.last_mut() {
            Some(level) => {
                let index = level.elements.unwrap_or(0);
                level.elements = Some(index.saturating_add(1));
                format!("[{index}]")
            }
            None => "[0]".to_owned(),
        }
    }

    fn member(&mut self, name: &str, rest: &str, line: usize) {
        let text = rest.strip_suffix(',').unwrap_or(rest);
        let path = self.path(name);
        let plain = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        // Arrays of arrays and of strings stay one text.
        let Some(inside) = plain.filter(|inside| !inside.contains(['{', '"', '\''])) else {
            self.push(path, text, line);
            return;
        };
        let mut index = 0usize;
        for element in inside.split(',').take(MAX_ELEMENTS) {
            self.push(format!("{path}[{index}]"), element.trim(), line);
            index = index.saturating_add(repeats(element));
        }
    }

    fn push(&mut self, path: String, text: &str, line: usize) {
        if self.found.members.len() < MAX_MEMBERS {
            self.found.members.push(Member {
                path,
                text: text.to_owned(),
                number: value(text),
                line,
            });
        }
    }

    fn path(&self, name: &str) -> String {
        let mut path = String::new();
        let levels = self.levels.iter().map(|level| level.name.as_str());
        for part in levels.chain([name]).filter(|part| !part.is_empty()) {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        path
    }
}
