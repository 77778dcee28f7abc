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
    pub(super) name: String,
    pub(super) address: Option<u64>,
}

impl Asked {
    /// Whether the answer can be to this question.
    pub(super) fn fits(&self, name: &str) -> bool {
        self.name == name
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
    let gdb = number.is_some_and(|number| number.trim().bytes().all(|b| b.is_ascii_digit()));
    gdb.then(|| asked.map(|asked| asked.name.clone()))?
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

/// A structure that is being read.
#[derive(Debug)]
pub(super) struct Open {
    found: Struct,
    /// Names of the levels below the structure itself, and how many elements an array had so far.
    levels: Vec<(String, usize)>,
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
            let name = self.element();
            self.levels.push((name, 0));
            return true;
        }
        let Some((name, rest)) = text.split_once(" = ") else {
            return false;
        };
        if !is_name(name) {
            return false;
        }
        match rest.trim() {
            "{" => self.levels.push((name.to_owned(), 0)),
            "{{" => {
                self.levels.push((name.to_owned(), 0));
                let element = self.element();
                self.levels.push((element, 0));
            }
            rest => self.member(name, rest, number),
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
                    self.levels.push((name, 0));
                }
                _ => {}
            }
        }
    }

    /// The name of the next element of the array that is open.
    fn element(&mut self) -> String {
        match self.levels.last_mut() {
            Some((_, count)) => {
                *count += 1;
                format!("[{}]", *count - 1)
            }
            None => "[0]".to_owned(),
        }
    }

    fn member(&mut self, name: &str, rest: &str, line: usize) {
        let text = rest.strip_suffix(',').unwrap_or(rest);
        let path = self.path(name);
        if let Some(inside) = text.strip_prefix('{') {
            let elements = inside.trim_end_matches('}').split(',').take(MAX_ELEMENTS);
            for (index, element) in elements.enumerate() {
                self.push(format!("{path}[{index}]"), element.trim(), line);
            }
            return;
        }
        self.push(path, text, line);
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
        let levels = self.levels.iter().map(|(level, _)| level.as_str());
        for part in levels.chain([name]) {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        path
    }
}
