//! Programs of another release (a compiler, the kernel's build tools), run where they were unpacked: each gets a
//! wrapper that starts it with its own loader and libraries, so nothing of it is installed and the host's libraries
//! need not fit. Fetches nothing.
use super::{SetupError, closure};
use goblin::elf::Elf;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Environment variable: the tree with the compiler, the loader and the libraries.
pub const TOOLCHAIN: &str = "RECRASH_TOOLCHAIN";
/// Environment variable: the tree with the kernel's headers.
pub const KERNEL: &str = "RECRASH_KERNEL";
const LOADER: &str = "ld-linux-x86-64.so.2";
/// Below a toolchain's tree: programs, and the parts of gcc that they start (libexec since gcc 13).
pub const TOOLCHAIN_FOLDERS: &[&str] = &["usr/bin", "usr/lib/gcc", "usr/libexec/gcc"];
/// Below a kernel's tree: fixdep, modpost, objtool.
pub const KERNEL_FOLDERS: &[&str] = &["usr/src", "usr/lib"];
/// gcc 14's cc1 has 36 MB.
const MAX_PROGRAM: u64 = 256 << 20;
const MAX_DEPTH: u32 = 24;

/// Puts a wrapper in the place of every dynamically linked program below these folders of `tree`; the program is
/// beside it then, with `.real` behind its name. `variable` is the environment variable that says where the tree is
/// when they run. Returns how many there were.
///
/// # Errors
/// [`SetupError::Io`]; [`SetupError::Package`] for a program that is too large or no proper ELF file.
pub fn wrap(tree: &Path, folders: &[&str], variable: &str) -> Result<usize, SetupError> {
    let mut programs = Vec::new();
    for folder in folders.iter().map(|folder| tree.join(folder)) {
        if folder.is_dir() {
            find_programs(&folder, 0, &mut programs)?;
        }
    }
    for program in &programs {
        let inside = program.strip_prefix(tree).unwrap_or(program);
        let real = with_end(program);
        std::fs::rename(program, &real).map_err(SetupError::io("renaming", program))?;
        std::fs::write(program, script(variable, &with_end(inside)))
            .map_err(SetupError::io("writing", program))?;
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
            .map_err(SetupError::io("writing", program))?;
    }
    name_variants(&programs)?;
    Ok(programs.len())
}

/// Debian's modpost only looks which kind of object it is given, and starts the program with its own name and
/// `.real-lsb-64` (or the like) behind that (linux-kbuild 5.10 to 6.12). Its own name has become longer.
fn name_variants(programs: &[PathBuf]) -> Result<(), SetupError> {
    for program in programs {
        let begin = format!("{}.real-", program.display());
        let is_variant = |other: &&PathBuf| other.to_string_lossy().starts_with(&begin);
        for variant in programs.iter().filter(is_variant) {
            let variant = variant.file_name().unwrap_or_default().to_string_lossy();
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let end = variant.get(name.len()..).unwrap_or_default();
            let link = program.with_file_name(format!("{name}.real{end}"));
            symlink(&*variant, &link).map_err(SetupError::io("linking", &link))?;
        }
    }
    Ok(())
}

/// What wrapped programs need in their environment: where both trees are, and the compiler's programs before the
/// host's.
#[must_use]
pub fn environment(toolchain: &Path, kernel: &Path) -> Vec<(&'static str, OsString)> {
    let mut path = toolchain.join("usr/bin").into_os_string();
    if let Some(host) = std::env::var_os("PATH") {
        path.push(":");
        path.push(host);
    }
    vec![
        (TOOLCHAIN, toolchain.into()),
        (KERNEL, kernel.into()),
        ("PATH", path),
    ]
}

/// Whether the tree has what every wrapper starts.
#[must_use]
pub fn has_loader(toolchain: &Path) -> bool {
    loader_in(toolchain).is_some()
}

/// The loader's place in an unpacked tree (Debian 13 has it below usr/).
fn loader_in(tree: &Path) -> Option<PathBuf> {
    closure::find(tree, LOADER)
}

/// The folders are the same in every release that has merged /usr, and in those that have not; so both are given.
fn script(variable: &str, program: &Path) -> String {
    let program = program.display();
    format!(
        "#!/bin/sh\n\
         # Starts the program with the loader and the libraries of its own release.\n\
         root=\"${{{TOOLCHAIN}:?}}\"\n\
         for loader in \"$root\"/lib/x86_64-linux-gnu/{LOADER} \"$root\"/usr/lib/x86_64-linux-gnu/{LOADER}; do\n\
         \t[ -x \"$loader\" ] && break\n\
         done\n\
         exec \"$loader\" --library-path \"$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu\" \
         \"${{{variable}:?}}/{program}\" \"$@\"\n"
    )
}

fn with_end(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".real");
    name.into()
}

fn find_programs(dir: &Path, depth: u32, out: &mut Vec<PathBuf>) -> Result<(), SetupError> {
    let entries = std::fs::read_dir(dir).map_err(SetupError::io("reading", dir))?;
    for entry in entries {
        let path = entry.map_err(SetupError::io("reading", dir))?.path();
        let found = path
            .symlink_metadata()
            .map_err(SetupError::io("reading", &path))?;
        if found.is_dir() && depth < MAX_DEPTH {
            find_programs(&path, depth + 1, out)?;
        } else if found.is_file()
            && found.permissions().mode() & 0o111 != 0
            && is_program(&path, found.len())?
        {
            out.push(path);
        }
    }
    Ok(())
}

/// An ELF file that names a loader. Libraries such as libc.so.6 may do so too, to tell their version.
fn is_program(path: &Path, size: u64) -> Result<bool, SetupError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut magic = [0; 4];
    let mut file = File::open(path).map_err(SetupError::io("reading", path))?;
    if name.contains(".so") || size < 64 || file.read_exact(&mut magic).is_err() {
        return Ok(false);
    }
    if magic != *b"\x7fELF" {
        return Ok(false);
    }
    let refuse = |what: String| SetupError::Package {
        file: path.into(),
        what,
    };
    if size > MAX_PROGRAM {
        return Err(refuse("too large a program".into()));
    }
    let bytes = std::fs::read(path).map_err(SetupError::io("reading", path))?;
    let elf = Elf::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
    Ok(elf.interpreter.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A tree with a copy of a program of the host and its libraries; what wrapping made of it.
    fn wrapped() -> (tempfile::TempDir, usize) {
        let dir = tempfile::tempdir().unwrap();
        let lib = dir.path().join("lib/x86_64-linux-gnu");
        let bin = dir.path().join("usr/bin");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy("/usr/bin/env", bin.join("tool")).unwrap();
        std::fs::write(bin.join("script"), "#!/bin/sh\n".repeat(9)).unwrap();
        std::fs::copy("/usr/bin/env", bin.join("tool.real-lsb-64")).unwrap();
        symlink("tool", bin.join("link")).unwrap();
        let listed = duct::cmd!("ldd", "/usr/bin/env").read().unwrap();
        for path in listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
        {
            std::fs::copy(path, lib.join(Path::new(path).file_name().unwrap())).unwrap();
        }
        let count = wrap(dir.path(), TOOLCHAIN_FOLDERS, TOOLCHAIN).unwrap();
        (dir, count)
    }

    #[test]
    fn a_program_runs_with_the_loader_and_the_libraries_of_its_tree() {
        let (dir, count) = wrapped();
        assert_eq!(count, 2, "neither the script nor the link");
        assert!(has_loader(dir.path()));
        let output = Command::new(dir.path().join("usr/bin/link"))
            .args(["sh", "-c", "echo one two"])
            .env("LC_ALL", "C")
            .envs(environment(dir.path(), Path::new("/none")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one two\n");
    }

    #[test]
    fn a_program_that_starts_one_named_after_itself_finds_its_wrapper() {
        let (dir, _) = wrapped();
        let bin = dir.path().join("usr/bin");
        let link = std::fs::read_link(bin.join("tool.real.real-lsb-64")).unwrap();
        assert_eq!(link, Path::new("tool.real-lsb-64"));
        assert!(
            std::fs::read(bin.join(link))
                .unwrap()
                .starts_with(b"#!/bin/sh")
        );
    }

    #[test]
    fn without_the_tree_the_wrapper_says_what_is_missing() {
        let (dir, _) = wrapped();
        let output = Command::new(dir.path().join("usr/bin/tool"))
            .env_remove(TOOLCHAIN)
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains(TOOLCHAIN));
    }

    #[test]
    fn without_its_own_loader_no_program_falls_back_to_the_hosts() {
        let (dir, _) = wrapped();
        std::fs::remove_file(dir.path().join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")).unwrap();
        let output = Command::new(dir.path().join("usr/bin/tool"))
            .envs(environment(dir.path(), Path::new("/none")))
            .output()
            .unwrap();
        assert!(!output.status.success());
    }
}
