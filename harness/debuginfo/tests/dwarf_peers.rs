//! Source lines and inlined functions against `addr2line`, at thousands of addresses all over a kernel's text.
//!
//! Runs where `RECRASH_VMLINUX` names a vmlinux with DWARF (`RECRASH_MODULE` a module) and addr2line is installed;
//! elsewhere it says why not. `RECRASH_ADDRESSES` sets how many addresses are compared.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use recrash_debuginfo::dwarf::{Dwarf, SourceFrame};

/// Function, path, line.
type Row = (String, String, u32);

/// The file that an environment variable names.
fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: {variable} is not set");
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

/// What `addr2line -a -f -i` or LLVM's says, innermost first; `None` where it is not installed.
fn peer(tool: &str, options: &[&str], path: &Path, addresses: &[u64]) -> Option<Vec<Vec<Row>>> {
    let mut child = Command::new(tool)
        .args(["-a", "-f", "-i"])
        .args(options)
        .arg("-e")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
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
    assert_eq!(all.len(), addresses.len(), "{tool} answers every address");
    Some(all)
}

/// A path without `.`, `..` and doubled slashes.
fn resolved(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
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
    // Assembly without a function: the others fall back on the symbol table.
    let named = ours.iter().all(|f| !f.function.is_empty());
    if ours.is_empty() {
        return (theirs.iter().any(|t| t.2 != 0)).then_some("nothing found");
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
        if our.line != 0 && resolved(&our.path) != resolved(&their.1) {
            return Some("file");
        }
    }
    None
}

/// Compares at `addresses` as the peers know them; `ours` answers for the same place.
///
/// addr2line sometimes names a unit's main file where the line is one of an included header (a tracepoint's
/// `__traceiter_*`); there gdb, LLVM and we agree. So a difference counts where LLVM differs too.
fn check(path: &Path, options: &[&str], addresses: &[u64], ours: impl Fn(u64) -> Vec<SourceFrame>) {
    let Some(binutils) = peer("addr2line", options, path, addresses) else {
        eprintln!("skipped: addr2line is not installed");
        return;
    };
    let begin = std::time::Instant::now();
    let answers: Vec<_> = addresses.iter().map(|address| ours(*address)).collect();
    let each = begin.elapsed() / u32::try_from(addresses.len()).unwrap();
    let mut rows = addresses.iter().zip(&answers).zip(&binutils);
    let doubtful: Vec<_> = rows
        .by_ref()
        .filter_map(|((a, ours), theirs)| Some((*a, ours, theirs, difference(ours, theirs)?)))
        .collect();
    let asked: Vec<u64> = doubtful.iter().map(|row| row.0).collect();
    let llvm = match &asked[..] {
        [] => Some(Vec::new()),
        asked if options.is_empty() => peer("llvm-addr2line", &[], path, asked),
        // LLVM's does not tell the sections of a relocatable file apart.
        _ => None,
    };
    let second = |n: usize| llvm.as_ref().map(|all| &all[n]);
    let open: Vec<_> = doubtful
        .iter()
        .enumerate()
        .filter(|(n, row)| second(*n).is_none_or(|llvm| difference(row.1, llvm).is_some()))
        .collect();
    eprintln!(
        "{}: {} addresses, {} found, {} with inlined functions; addr2line differs at {}, LLVM there too at {}; \
         {each:?} each",
        path.display(),
        addresses.len(),
        answers.iter().filter(|ours| !ours.is_empty()).count(),
        answers.iter().filter(|ours| ours.len() > 1).count(),
        doubtful.len(),
        open.len(),
    );
    for (n, (address, ours, theirs, what)) in &open {
        let llvm = second(*n);
        eprintln!("{address:#x}: {what}\n  ours {ours:?}\n  addr2line {theirs:?}\n  LLVM {llvm:?}");
    }
    let allowed = if llvm.is_some() { 1000 } else { 40 };
    assert!(open.len() * allowed <= addresses.len(), "too many differ");
}

#[test]
fn functions_lines_and_inline_chains_are_those_of_addr2line() {
    let Some(path) = named("RECRASH_VMLINUX") else {
        return;
    };
    let count = std::env::var("RECRASH_ADDRESSES").map_or(2000, |n| n.parse().unwrap());
    let dwarf = Dwarf::parse(map(&path)).unwrap();
    let begin = std::time::Instant::now();
    let index = dwarf.index().unwrap().len();
    eprintln!("index: {index} ranges, {:?}", begin.elapsed());
    let addresses = addresses(&path, count);
    check(&path, &[], &addresses, |at| dwarf.frames_at(at).unwrap());
}

#[test]
fn a_modules_sections_are_told_apart() {
    let Some(path) = named("RECRASH_MODULE") else {
        return;
    };
    let dwarf = Dwarf::parse(map(&path)).unwrap();
    for section in [".text", ".init.text"] {
        let Some(start) = dwarf.link_address(section, 0) else {
            continue;
        };
        let offsets: Vec<u64> = (0..0x20000)
            .step_by(37)
            .filter(|offset| dwarf.link_address(section, *offset).is_some())
            .collect();
        check(&path, &["-j", section], &offsets, |offset| {
            dwarf.frames_at(start + offset).unwrap()
        });
    }
}
