//! Runs drgn, crash and makedumpfile, and keeps what they said: crash takes half a minute for one dump. Compares
//! nothing.
use crate::dumps::Dump;
use serde::Deserialize;
use serde_json::Value;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DRGN_FACTS: &str = include_str!("drgn_facts.py");

/// A peer's answer, or why it gave none.
pub(crate) type Answer<T> = Result<T, String>;

/// The peer's program: what the variable names, else the one that is on the path.
fn program(variable: &str, name: &str) -> Answer<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not installed ({variable} may name it)"))
}

/// One stack frame as drgn has it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DrgnFrame {
    pub(crate) pc: u64,
    /// From DWARF; for code that has none, the symbol, or the address.
    pub(crate) name: String,
    /// The nearest symbol, by all its names: a function, or a label inside one.
    pub(crate) labels: Vec<String>,
    pub(crate) inlined: bool,
}

/// An object whose every member drgn read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DrgnStruct {
    /// For people.
    pub(crate) what: String,
    /// Name of the type, without `struct`.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) address: u64,
    pub(crate) value: Value,
}

/// What `drgn_facts.py` prints.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DrgnFacts {
    pub(crate) frames: Vec<DrgnFrame>,
    pub(crate) structs: Vec<DrgnStruct>,
    /// What drgn could not say.
    pub(crate) failed: Vec<String>,
}

/// Frames and structs by drgn.
pub(crate) fn drgn(dump: &Dump) -> Answer<DrgnFacts> {
    let drgn = program("RECRASH_DRGN", "drgn")?;
    let script = kept_folder().join("drgn_facts.py");
    fs::write(&script, DRGN_FACTS).map_err(|error| error.to_string())?;
    let text = first_that_answers(dump, |file| {
        let mut command = Command::new(&drgn);
        command
            .arg("-q")
            .arg("-c")
            .arg(file)
            .arg("-s")
            .arg(&dump.vmlinux);
        for module in dump.modules() {
            command.arg("-s").arg(module);
        }
        command.arg(&script);
        asked("drgn", file, &mut command, DRGN_FACTS)
    })?;
    // Messages may come before it.
    let object = text.find('{').map_or("", |at| &text[at..]);
    serde_json::from_str(object).map_err(|error| format!("drgn: {error}: {text:.200}"))
}

/// What crash prints for `bt` and leaves. Asked of the twin first: all forms of the same memory then share the answer.
pub(crate) fn crash_backtrace(dump: &Dump) -> Answer<String> {
    let crash = program("RECRASH_CRASH", "crash")?;
    let twin = dump.same_memory.iter();
    let mut files = twin.map(PathBuf::as_path).chain([dump.file()]);
    first_answer(&mut files, |file| {
        let mut command = Command::new(&crash);
        command.arg("-s").arg(&dump.vmlinux).arg(file);
        asked("crash", file, &mut command, "bt\nquit\n")
    })
}

/// The kernel log as `makedumpfile --dump-dmesg` writes it.
pub(crate) fn kernel_log(dump: &Dump) -> Answer<String> {
    let makedumpfile = program("RECRASH_MAKEDUMPFILE", "makedumpfile")?;
    first_that_answers(dump, |file| {
        let out = kept_folder().join(format!("dmesg-{}", std::process::id()));
        let _ = fs::remove_file(&out);
        let mut command = Command::new(&makedumpfile);
        // Without mmap: it reads past the file's end where a segment's zeros are left out of the file.
        command
            .args(["--non-mmap", "--dump-dmesg"])
            .arg(file)
            .arg(&out);
        let said = asked("makedumpfile", file, &mut command, "")?;
        // Kept by `asked` is only what went to the terminal.
        match fs::read(&out) {
            Ok(log) => Ok(String::from_utf8_lossy(&log).into_owned()),
            Err(_) => Err(format!("makedumpfile: {}", last_line(&said))),
        }
    })
}

/// Of the dump's file, else of its twin.
fn first_that_answers(dump: &Dump, ask: impl Fn(&Path) -> Answer<String>) -> Answer<String> {
    let twin = dump.same_memory.as_deref();
    first_answer(&mut std::iter::once(dump.file()).chain(twin), ask)
}

/// The first answer there is, else the first refusal.
fn first_answer<'f>(
    files: &mut dyn Iterator<Item = &'f Path>,
    ask: impl Fn(&Path) -> Answer<String>,
) -> Answer<String> {
    let mut refusal = Err("no file".to_owned());
    for file in files {
        match (ask(file), &refusal) {
            (Ok(answer), _) => return Ok(answer),
            (Err(why), Err(none)) if none == "no file" => refusal = Err(why),
            _ => {}
        }
    }
    refusal
}

/// Runs it with this input, or takes what it said the last time. An answer is kept as long as the dump is older.
fn asked(peer: &str, file: &Path, command: &mut Command, input: &str) -> Answer<String> {
    let writes_a_file = peer == "makedumpfile";
    let mut hasher = DefaultHasher::new();
    (file, input, format!("{command:?}")).hash(&mut hasher);
    let kept = kept_folder().join(format!("{peer}-{:016x}", hasher.finish()));
    let age = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if !writes_a_file && age(&kept).is_some_and(|kept| Some(kept) > age(file)) {
        return fs::read_to_string(&kept).map_err(|error| error.to_string());
    }
    let failed = |error: std::io::Error| format!("{peer}: {error}");
    let mut child = command
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // drgn reads its script from a file and may be gone already.
        let _ = stdin.write_all(if peer == "drgn" {
            b""
        } else {
            input.as_bytes()
        });
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{peer}: {}", last_line(&format!("{said}\n{why}"))));
    }
    fs::write(&kept, &said).map_err(failed)?;
    Ok(said)
}

fn last_line(text: &str) -> &str {
    let lines = text.lines().rev().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.ends_with("Failed."))
        .next()
        .unwrap_or("said nothing")
}

fn kept_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}
