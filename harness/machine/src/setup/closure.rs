//! A dynamically linked program and all that its loader will look for, from an unpacked tree of packages: never
//! from the host, whose libraries may be others.
use super::{InitramfsFile, SetupError};
use goblin::elf::Elf;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where Debian's loader looks without a configuration (its multiarch folder comes first).
const LIBRARY_DIR: &str = "/lib/x86_64-linux-gnu";
const SEARCH: &[&str] = &[
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib",
    "usr/lib",
];
/// A program of so many libraries is no dump tool.
const MAX_FILES: usize = 200;
const MAX_SIZE: u64 = 256 << 20;

/// The program at `path` (absolute, as in the package), its ELF interpreter and its libraries (`DT_NEEDED`, of
/// the libraries too).
///
/// # Errors
/// [`SetupError::Package`] names the library that no package in the tree brings, and who needs it.
pub fn collect(tree: &Path, path: &str) -> Result<Vec<InitramfsFile>, SetupError> {
    let program = tree.join(path.trim_start_matches('/'));
    let mut out = BTreeMap::from([(path.to_owned(), program.clone())]);
    let mut queue = vec![program];
    while let Some(file) = queue.pop() {
        let size = file
            .metadata()
            .map_err(SetupError::io("reading", &file))?
            .len();
        if size > MAX_SIZE || out.len() > MAX_FILES {
            return Err(refuse(&file, "too large a program".into()));
        }
        let bytes = std::fs::read(&file).map_err(SetupError::io("reading", &file))?;
        let elf = Elf::parse(&bytes).map_err(|error| refuse(&file, error.to_string()))?;
        if let Some(interpreter) = elf.interpreter {
            let found = find(tree, interpreter.rsplit('/').next().unwrap_or_default());
            let found = found.ok_or_else(|| {
                refuse(
                    &file,
                    format!("its interpreter {interpreter} is in no package"),
                )
            })?;
            out.insert(interpreter.into(), found);
        }
        for library in &elf.libraries {
            if !is_soname(library) {
                return Err(refuse(
                    &file,
                    format!("needs a library with the name {library:?}"),
                ));
            }
            let inside = format!("{LIBRARY_DIR}/{library}");
            if out.contains_key(&inside) {
                continue;
            }
            let found = find(tree, library);
            let found = found
                .ok_or_else(|| refuse(&file, format!("needs {library}, which is in no package")))?;
            out.insert(inside, found.clone());
            queue.push(found);
        }
    }
    let file = |(path, source)| InitramfsFile {
        path,
        source,
        mode: 0o755,
    };
    Ok(out.into_iter().map(file).collect())
}

fn is_soname(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
}

/// A library or the loader in an unpacked tree.
pub(super) fn find(tree: &Path, name: &str) -> Option<PathBuf> {
    let mut paths = SEARCH.iter().map(|dir| tree.join(dir).join(name));
    paths.find(|path| path.is_file() && is_soname(name))
}

fn refuse(file: &Path, what: String) -> SetupError {
    SetupError::Package {
        file: file.into(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test's own program stands for makedumpfile, and what the host's `ldd` says for the truth.
    fn tree_with_libraries(
        leave_out: &str,
    ) -> (tempfile::TempDir, Result<Vec<InitramfsFile>, String>) {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("lib/x86_64-linux-gnu");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), dir.path().join("tool")).unwrap();
        let listed = duct::cmd!("ldd", dir.path().join("tool")).read().unwrap();
        for path in listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            let name = Path::new(path).file_name().unwrap();
            if name != leave_out {
                std::fs::copy(path, lib.join(name)).unwrap();
            }
        }
        let result = collect(dir.path(), "/tool").map_err(|error| error.to_string());
        (dir, result)
    }

    #[test]
    fn a_programs_libraries_and_interpreter_are_found() {
        let (_dir, files) = tree_with_libraries("");
        let paths: Vec<String> = files.unwrap().into_iter().map(|file| file.path).collect();
        for wanted in [
            "/tool",
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/libc.so.6",
        ] {
            assert!(
                paths.iter().any(|path| path == wanted),
                "{wanted} in {paths:?}"
            );
        }
    }

    #[test]
    fn a_library_that_no_package_brings_is_named() {
        let (_dir, files) = tree_with_libraries("libc.so.6");
        let error = files.unwrap_err();
        assert!(
            error.contains("needs libc.so.6, which is in no package"),
            "{error}"
        );
    }

    #[test]
    fn a_library_name_that_is_a_path_is_refused() {
        assert!(!is_soname("../../etc/passwd"));
        assert!(is_soname("libbz2.so.1.0") && is_soname("libstdc++.so.6"));
    }
}
