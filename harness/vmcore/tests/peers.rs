//! Every page of real dumps against the readings of makedumpfile and libkdumpfile.
//!
//! `RECRASH_DUMPS=FOLDER cargo test -p recrash-vmcore --test peers -- --nocapture` reads every dump
//! below the folder; files `X.1`, `X.2`, … of a split dump are one. libkdumpfile is asked through
//! its Python module (Debian: python3-libkdumpfile), makedumpfile by its own program, which
//! unpacks a dump with its own code (`-d 0` without compression). Without the variable or without
//! a peer, that part is skipped and says so.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use recrash_vmcore::{FormatKind, PhysAddr, PhysMem, ReadError, Vmcore};

/// Gives every page frame in order: one byte (0 data, 1 none, 2 cannot be read), then the page.
const LIBKDUMPFILE: &str = r"
import sys
from kdumpfile import kdumpfile, KDUMP_MACHPHYSADDR
from kdumpfile.exceptions import NoDataException
dump = kdumpfile(file=sys.argv[1])
out = sys.stdout.buffer
for pfn in range(min(dump.attr['max_pfn'], int(sys.argv[2]))):
    try:
        page = dump.read(KDUMP_MACHPHYSADDR, pfn << 12, 4096)
        out.write(b'\0')
        out.write(page)
    except NoDataException:
        out.write(b'\1')
    except Exception:
        out.write(b'\2')
";

/// What a reader says of a page.
#[derive(PartialEq, Eq)]
enum Reading {
    Data(Box<[u8; 4096]>),
    None,
    Fails,
}

/// How two readers agree.
#[derive(Default)]
struct Tally {
    /// The peer's reading is a dump that it made, not every page that it can read.
    peer_filters: bool,
    /// Pages whose bytes both give, equal.
    equal: u64,
    /// Pages that neither has.
    absent: u64,
    /// Pages that the peer gives as zeros where the file has no bytes of them.
    zeros_there: u64,
    /// Pages that the peer left out: makedumpfile filters again when it unpacks, and leaves out
    /// what it takes for offline.
    filtered_there: u64,
    /// Pages that neither can restore.
    fails: u64,
    /// Pages that we give as zeros and the peer does not give: a sparse copy of ours left them
    /// out because they are zero, and says so in a way that peers do not know.
    zeros_here: u64,
    /// Page frames with the names of what was read here and there, the first few.
    different: Vec<String>,
}

impl Tally {
    fn add(&mut self, pfn: u64, ours: &Result<Reading, ReadError>, peer: &Reading) {
        let name = |reading: &Reading| match reading {
            Reading::Data(_) => "data",
            Reading::None => "none",
            Reading::Fails => "an error",
        };
        match (ours, peer) {
            (Ok(Reading::Data(a)), Reading::Data(b)) if a == b => self.equal += 1,
            (Err(ReadError::Excluded(_) | ReadError::NotInDump(_)), Reading::None) => {
                self.absent += 1;
            }
            (Err(ReadError::Excluded(_) | ReadError::NotInDump(_)), Reading::Data(b))
                if b.iter().all(|&byte| byte == 0) =>
            {
                self.zeros_there += 1;
            }
            (Ok(Reading::Data(_)), Reading::None) if self.peer_filters => {
                self.filtered_there += 1;
            }
            (Ok(Reading::Data(a)), Reading::None) if a.iter().all(|&byte| byte == 0) => {
                self.zeros_here += 1;
            }
            (Err(ReadError::Truncated { .. } | ReadError::Corrupt { .. }), Reading::Fails) => {
                self.fails += 1;
            }
            (ours, peer) => {
                let ours = match ours {
                    Ok(reading) => name(reading).to_owned(),
                    Err(error) => error.to_string(),
                };
                let peer = name(peer);
                self.different
                    .push(format!("{pfn:#x}: {ours}, there {peer}"));
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (equal, absent, different) = (self.equal, self.absent, self.different.len());
        let (here, there) = (self.zeros_here, self.zeros_there);
        let (fails, filtered) = (self.fails, self.filtered_there);
        write!(
            f,
            "{equal} | {absent} | {fails} | {there} | {here} | {filtered} | {different}"
        )
    }
}

fn read(vmcore: &Vmcore, pfn: u64) -> Result<Reading, ReadError> {
    let mut page = Box::new([0; 4096]);
    vmcore.read(PhysAddr(pfn << 12), page.as_mut_slice())?;
    Ok(Reading::Data(page))
}

/// One past the last page frame that is present.
fn end(vmcore: &Vmcore) -> u64 {
    let mut at = PhysAddr(0);
    while let Some(stretch) = vmcore.next_present(at) {
        at = PhysAddr(stretch.end);
    }
    at.0.div_ceil(4096)
}

/// libkdumpfile's reading of a file, or `None` where it or its module cannot.
fn against_libkdumpfile(vmcore: &Vmcore, file: &Path) -> Option<Tally> {
    let frames = end(vmcore);
    // Debian builds its module for its own interpreter.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let probe = Command::new(python)
            .args(["-c", "import kdumpfile"])
            .output();
        probe.is_ok_and(|probe| probe.status.success())
    })?;
    let mut child = Command::new(python)
        .args(["-c", LIBKDUMPFILE])
        .arg(file)
        .arg(frames.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut pages = std::io::BufReader::with_capacity(1 << 20, child.stdout.take()?);
    let mut tally = Tally::default();
    let mut seen = 0;
    for pfn in 0..frames {
        let mut kind = [0];
        if pages.read_exact(&mut kind).is_err() {
            break;
        }
        let peer = match kind {
            [0] => {
                let mut page = Box::new([0; 4096]);
                pages.read_exact(page.as_mut_slice()).ok()?;
                Reading::Data(page)
            }
            [1] => Reading::None,
            _ => Reading::Fails,
        };
        tally.add(pfn, &read(vmcore, pfn), &peer);
        seen += 1;
    }
    drop(pages);
    child.wait().ok()?;
    (seen > 0).then_some(tally)
}

/// Runs makedumpfile; whether it made the file.
fn makedumpfile(args: &[&str], files: &[&Path], out: &Path, input: Option<&Path>) -> bool {
    // The newest that is there: older ones refuse zstd.
    let program = std::env::var_os("RECRASH_MAKEDUMPFILE").unwrap_or("makedumpfile".into());
    let mut command = Command::new(program);
    command.args(args).args(files).arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input).unwrap());
    }
    command.status().is_ok_and(|status| status.success()) && out.exists()
}

/// makedumpfile's own unpacking of the dump: a file of raw pages with the same page frames.
fn against_makedumpfile(vmcore: &Vmcore, file: &Path, scratch: &Path) -> Option<Tally> {
    let raw = scratch.join("raw");
    // Where it maps an ELF file whose segments hold less than they stand for, makedumpfile 1.7.6
    // takes the next segment's bytes for their last pages.
    let args = ["--non-mmap", "-d", "0"];
    let made = makedumpfile(&args, &[file], &raw, None).then(|| Vmcore::open(&raw).unwrap());
    let mut tally = Tally {
        peer_filters: true,
        ..Tally::default()
    };
    if let Some(peer) = made {
        for pfn in 0..end(vmcore).max(end(&peer)) {
            let theirs = read(&peer, pfn).unwrap_or_else(|error| match error {
                ReadError::Excluded(_) | ReadError::NotInDump(_) => Reading::None,
                _ => Reading::Fails,
            });
            tally.add(pfn, &read(vmcore, pfn), &theirs);
        }
        std::fs::remove_file(&raw).unwrap();
        return Some(tally);
    }
    std::fs::remove_file(&raw).unwrap_or_default();
    None
}

/// The file that the peers can read: flattened streams and split sets are put together by
/// makedumpfile first.
fn for_peers(vmcore: &Vmcore, files: &[PathBuf], scratch: &Path) -> Option<PathBuf> {
    let whole = scratch.join("whole");
    let _ = std::fs::remove_file(&whole);
    let [file] = files else {
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        return makedumpfile(&["--reassemble"], &files, &whole, None).then_some(whole);
    };
    if !vmcore.format().flattened {
        return Some(file.clone());
    }
    makedumpfile(&["-R"], &[], &whole, Some(file)).then_some(whole)
}

/// Compares one dump with both peers, and prints its line of the table.
fn check(files: &[PathBuf], scratch: &Path, failures: &mut Vec<String>) {
    let vmcore = Vmcore::open_set(files).unwrap();
    let name = files.iter().map(|file| file.display().to_string());
    let name = name.collect::<Vec<_>>().join(" + ");
    let format = vmcore.format();
    let Some(whole) = for_peers(&vmcore, files, scratch) else {
        println!("| {name} | {format} | makedumpfile cannot put it together |");
        return;
    };
    let peers = [
        ("libkdumpfile", against_libkdumpfile(&vmcore, &whole)),
        (
            "makedumpfile",
            against_makedumpfile(&vmcore, &whole, scratch),
        ),
    ];
    for (peer, tally) in peers {
        let Some(tally) = tally else {
            println!("| {name} | {format} | {peer} | not read by it |");
            continue;
        };
        println!("| {name} | {format} | {peer} | {tally} |");
        let first: Vec<_> = tally.different.iter().take(5).collect();
        if !tally.different.is_empty() {
            failures.push(format!("{name}, {peer}: {first:?}"));
        }
        if tally.zeros_here > 0 && !is_sparse_copy(&whole) {
            failures.push(format!("{name}, {peer}: zeros that the peer does not give"));
        }
    }
}

/// Whether the file is marked as a copy that leaves zeros out.
fn is_sparse_copy(file: &Path) -> bool {
    let mut start = [0; 16];
    let read = std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start.ends_with(b"recrash")
}

/// Dumps below the folder: files that open, those of a split dump together.
fn dumps(folder: &Path, out: &mut Vec<Vec<PathBuf>>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    for path in entries {
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() && !path.ends_with("debug") && !path.ends_with("venv") {
            dumps(&path, out);
        }
        let Some(vmcore) = kind.is_file().then(|| Vmcore::open(&path).ok()).flatten() else {
            continue;
        };
        let is_split = matches!(vmcore.format().kind, FormatKind::Kdump { split: true, .. });
        match out
            .last_mut()
            .filter(|last| is_split && last[0].with_extension("") == path.with_extension(""))
        {
            Some(set) => set.push(path),
            None => out.push(vec![path]),
        }
    }
}

#[test]
fn every_page_of_every_dump_is_what_the_peers_read() {
    let Some(folder) = std::env::var_os("RECRASH_DUMPS") else {
        println!("skipped: RECRASH_DUMPS names no folder of dumps");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    dumps(Path::new(&folder), &mut found);
    assert!(!found.is_empty(), "no dump in {}", folder.display());
    let columns = [
        "dump",
        "format",
        "peer",
        "equal",
        "in neither",
        "fail in both",
        "zeros there",
        "zeros here",
        "filtered there",
        "different",
    ];
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
    let mut failures = Vec::new();
    for files in &found {
        check(files, scratch.path(), &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
