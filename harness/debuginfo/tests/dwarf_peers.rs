//! Source lines and inlined functions against `addr2line`, at thousands of addresses all over a kernel's text.
//!
//! Runs where `RECRASH_VMLINUX` names a vmlinux with DWARF and addr2line is installed; elsewhere it says why not.
//! `RECRASH_ADDRESSES` sets how many addresses are compared.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use recrash_debuginfo::dwarf::{Dwarf, SourceFrame};

/// Function, path, line.
type Row = (String, String, u32);

fn vmlinux() -> Option<PathBuf> {
    let path = std::env::var_os("RECRASH_VMLINUX").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: RECRASH_VMLINUX is not set");
    }
    path
}

fn map(path: &Path) -> memmap2::Mmap {
    let file = std::fs::File::open(path).unwrap();
    #[expect(unsafe_code, reason = "the file is not written to while the test runs")]
    // SAFETY: as the reason says.
    unsafe {
        memmap2::Mmap::map(&file).unwrap()
    }
}

/// Addresses spread over the functions that `nm` lists.
fn addresses(path: &Path, count: usize) -> Vec<u64> {
    let nm = Command::new("nm").arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&nm.stdout);
    let functions: Vec<u64> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            matches!(words.next()?, "t" | "T").then_some(address)
        })
        .collect();
    // A fixed sequence (Knuth's multiplier), so that a difference can be looked at again.
    let mut state = 20_261_124_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let mut random = || functions[next() % functions.len()] + (next() % 160) as u64;
    (0..count).map(|_| random()).collect()
}

/// What `addr2line -a -f -i` says, innermost first.
fn peer(path: &Path, addresses: &[u64]) -> Vec<Vec<Row>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-e"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = addresses.iter().map(|a| format!("{a:#x}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut all: Vec<Vec<Row>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(Vec::new());
            continue;
        }
        let (file, number) = lines.next().unwrap().rsplit_once(':').unwrap();
        let number = number.split(' ').next().unwrap().parse().unwrap_or(0);
        let row = (line.to_owned(), file.to_owned(), number);
        all.last_mut().unwrap().push(row);
    }
    all
}

fn resolved(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if !parts.is_empty() => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What differs, if anything does.
fn difference(ours: &[SourceFrame], theirs: &[Row]) -> Option<&'static str> {
    // Assembly without a function: addr2line falls back on the symbol table.
    let named = ours.iter().all(|f| !f.function.is_empty());
    if ours.is_empty() {
        return (theirs.iter().any(|t| t.1 != "??")).then_some("nothing found");
    }
    if ours.len() != theirs.len() {
        return Some("length of the inline chain");
    }
    for (our, their) in ours.iter().zip(theirs) {
        if named && our.function != their.0 {
            return Some("function");
        }
        if our.line != their.2 {
            return Some("line");
        }
        if our.line != 0 && our.path != resolved(&their.1) {
            return Some("file");
        }
    }
    None
}

#[test]
fn functions_lines_and_inline_chains_are_those_of_addr2line() {
    let Some(path) = vmlinux() else { return };
    let count = std::env::var("RECRASH_ADDRESSES").map_or(2000, |n| n.parse().unwrap());
    let addresses = addresses(&path, count);
    let theirs = peer(&path, &addresses);
    assert_eq!(theirs.len(), addresses.len());
    let dwarf = Dwarf::parse(map(&path)).unwrap();
    let begin = std::time::Instant::now();
    let index = dwarf.index().unwrap().len();
    eprintln!("index: {index} ranges, {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    let mut found = 0;
    let mut inlined = 0;
    let mut differences = Vec::new();
    for (address, theirs) in addresses.iter().zip(&theirs) {
        let ours = dwarf.frames_at(*address).unwrap();
        found += usize::from(!ours.is_empty());
        inlined += usize::from(ours.len() > 1);
        if let Some(what) = difference(&ours, theirs) {
            differences.push((*address, what, ours, theirs));
        }
    }
    eprintln!(
        "{count} addresses, {found} found, {inlined} with inlined functions, {} differ, {:?} each",
        differences.len(),
        begin.elapsed() / u32::try_from(count).unwrap()
    );
    for (address, what, ours, theirs) in &differences {
        eprintln!("{address:#x}: {what}\n  ours   {ours:?}\n  theirs {theirs:?}");
    }
    assert!(differences.len() * 200 <= count, "more than 0.5 % differ");
}
