//! The line table of one unit: which row an address belongs to, and how its file is called.

use gimli::{AttributeValue, Dwarf, LineProgramHeader, Unit};

use super::budget::Budget;
use super::{DwarfError, Reader};

/// Folders that two paths must share before what they share is taken for where the source was built; `/usr` alone
/// is no such place.
const ROOT_DEPTH: usize = 2;

/// A place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// Relative to the source's root, where that can be told.
    pub(super) file: String,
    /// With the folder of the build.
    pub(super) path: String,
    /// From 1; 0 for unknown.
    pub(super) line: u32,
}

/// A unit's line table.
pub(super) struct Lines<'d, 'r> {
    dwarf: &'d Dwarf<Reader<'r>>,
    unit: &'d Unit<Reader<'r>>,
}

impl<'d, 'r> Lines<'d, 'r> {
    pub(super) fn new(dwarf: &'d Dwarf<Reader<'r>>, unit: &'d Unit<Reader<'r>>) -> Self {
        Self { dwarf, unit }
    }

    /// The row that `address` belongs to: the last one at or below it within its sequence.
    pub(super) fn at(
        &self,
        address: u64,
        budget: &mut Budget,
    ) -> Result<Option<Location>, DwarfError> {
        let Some(program) = self.unit.line_program.clone() else {
            return Ok(None);
        };
        let mut rows = program.rows();
        let mut below: Option<(u64, u32)> = None;
        while let Some((header, row)) = rows.next_row()? {
            budget.step()?;
            if row.address() > address {
                if let Some((file, line)) = below {
                    return Ok(Some(self.location(header, file, line)));
                }
                continue;
            }
            let line = row.line().map_or(0, |line| line.get());
            let line = u32::try_from(line).unwrap_or(0);
            below = (!row.end_sequence()).then(|| (row.file_index(), line));
        }
        Ok(None)
    }

    /// Where an inlined function was called. `file` is an index into the unit's table of files.
    pub(super) fn call(&self, file: u64, line: u32) -> Option<Location> {
        let program = self.unit.line_program.as_ref()?;
        Some(self.location(program.header(), file, line))
    }

    fn location(&self, header: &LineProgramHeader<Reader<'r>>, file: u64, line: u32) -> Location {
        let (file, path) = self.file(header, file).unwrap_or_default();
        Location { file, path, line }
    }

    /// Short and full name of a file.
    fn file(&self, header: &LineProgramHeader<Reader<'r>>, file: u64) -> Option<(String, String)> {
        let entry = header.file(file)?;
        let name = self.text(entry.path_name())?;
        let build = self.unit.comp_dir.as_ref();
        let build = build.map_or_else(String::new, |dir| dir.to_string_lossy().into_owned());
        // Folder 0 is that of the build: named in the table since version 5, left out before.
        let folder = match entry.directory_index() {
            0 => None,
            _ => self.text(entry.directory(header)?),
        };
        let relative = join(folder.as_deref().unwrap_or(""), &name);
        let path = tidy(&join(&build, &relative));
        let short = tidy(&relative);
        if !short.starts_with(['/', '.']) {
            return Some((short, path));
        }
        Some((below_root(&tidy(&build), &path).to_owned(), path))
    }

    fn text(&self, value: AttributeValue<Reader<'r>>) -> Option<String> {
        let text = self.dwarf.attr_string(self.unit, value).ok()?;
        Some(text.to_string_lossy().into_owned())
    }
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        _ if name.starts_with('/') => name.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}

/// Without `.`, empty parts, and the `..` that have something to go back from.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", Some(&last)) if last != ".." => {
                parts.pop();
            }
            ("..", None) if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// `path` without the folders that it shares with the folder of the build.
fn below_root<'p>(build: &str, path: &'p str) -> &'p str {
    let mut rest = path;
    let mut shared = 0;
    for part in build.split('/') {
        match rest.strip_prefix(part).and_then(|r| r.strip_prefix('/')) {
            Some(after) => rest = after,
            None => break,
        }
        shared += usize::from(!part.is_empty());
    }
    if shared >= ROOT_DEPTH { rest } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_and_no_path_leaves_the_root() {
        for (path, tidied) in [
            ("a/./b//c", "a/b/c"),
            ("/x/build/../mm/slub.c", "/x/mm/slub.c"),
            ("../../mm/slub.c", "../../mm/slub.c"),
            ("/../etc", "/etc"),
            ("a/../../b", "../b"),
            ("", ""),
        ] {
            assert_eq!(tidy(path), tidied);
        }
    }

    #[test]
    fn what_build_and_source_share_is_cut() {
        for (build, path, short) in [
            (
                "/build/linux-6.1",
                "/build/linux-6.1/mm/slub.c",
                "mm/slub.c",
            ),
            (
                "/build/linux/out/amd64",
                "/build/linux/arch/x86/a.S",
                "arch/x86/a.S",
            ),
            ("/usr/src/linux", "/usr/include/x.h", "/usr/include/x.h"),
            ("debian/build", "/build/linux/a.S", "/build/linux/a.S"),
            ("", "/a/b", "/a/b"),
        ] {
            assert_eq!(below_root(build, path), short);
        }
    }
}
