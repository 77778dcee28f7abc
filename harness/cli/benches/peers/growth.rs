//! How the cost grows: with the size of the dump, and with the number of tasks. Makes the large dumps itself, as
//! sparse files out of the small one.
use crate::measure::Contender;
use crate::several;
use recrash_vmcore::{Note, PhysAddr, PhysMem, Vmcore};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const GIB: u64 = 1 << 30;
const PAGE: u64 = 4096;
const SIZES: [u64; 3] = [GIB, 8 * GIB, 64 * GIB];
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// The same memory in ELF files of ever more memory, all but the first of it holes.
pub(crate) fn by_size(dump: &Path, scratch: &Path) {
    println!("\nthe same kernel in a sparse ELF of …");
    let small = match Vmcore::open(dump) {
        Ok(small) => small,
        Err(error) => {
            println!("not measured: {error}");
            return;
        }
    };
    for size in SIZES {
        let file = scratch.join("large");
        if let Err(error) = write_elf(&small, &file, size) {
            println!("{:4} GiB: not measured: {error}", size / GIB);
            continue;
        }
        let run = Contender::recrash(scratch).arg("analyze").arg(&file);
        let result = several(&run);
        println!(
            "{:4} GiB: {:.3} s, {:.1} MiB{}",
            size / GIB,
            result.seconds,
            result.mib,
            if result.failed { "  FAILED" } else { "" }
        );
        let _ = std::fs::remove_file(&file);
    }
}

/// One note segment and one segment of memory from 0 to `size`, of which only the pages of `from` are written.
fn write_elf(from: &Vmcore, to: &Path, size: u64) -> std::io::Result<()> {
    let notes: Vec<u8> = from.notes().iter().flat_map(note_bytes).collect();
    let notes_at = HEADER + 2 * PROGRAM_HEADER;
    let notes_len = notes.len() as u64;
    let memory_at = (notes_at + notes_len).next_multiple_of(PAGE);
    let file = File::create(to)?;
    file.set_len(memory_at + size)?;
    let mut head = elf_header();
    head.extend(program_header(PT_NOTE, notes_at, notes_len));
    head.extend(program_header(PT_LOAD, memory_at, size));
    file.write_all_at(&head, 0)?;
    file.write_all_at(&notes, notes_at)?;

    let mut at = PhysAddr(0);
    let mut page = [0; PAGE as usize];
    while let Some(stretch) = from.next_present(at).filter(|range| range.start < size) {
        for place in stretch.clone().step_by(PAGE as usize) {
            if from.read(PhysAddr(place), &mut page).is_ok() {
                file.write_all_at(&page, memory_at + place)?;
            }
        }
        at = PhysAddr(stretch.end);
    }
    Ok(())
}

fn note_bytes(note: &Note) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name_length = note.name.len() as u32 + 1;
    for word in [name_length, note.desc.len() as u32, note.kind] {
        bytes.extend(word.to_le_bytes());
    }
    for part in [format!("{}\0", note.name).as_bytes(), &note.desc] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// ELF64, little-endian, core file for x86-64 (System V ABI, "ELF Header").
fn elf_header() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    for half in [4u16, 62] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1u32.to_le_bytes());
    for word in [0, HEADER, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [HEADER as u16, PROGRAM_HEADER as u16, 2, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn program_header(kind: u32, at: u64, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(7u32.to_le_bytes());
    for word in [at, 0, 0, size, size, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// Lists the tasks, and unwinds all of them, of a usual dump and of one with many.
pub(crate) fn by_tasks(dump: &Path, many: Option<&Path>) {
    println!("\ntasks …");
    if many.is_none() {
        println!("RECRASH_BENCH_MANY_TASKS names no dump with many tasks");
    }
    for dump in [Some(dump), many].into_iter().flatten() {
        let Some(tasks) = tasks(dump) else {
            println!("{}: its tasks cannot be listed", dump.display());
            continue;
        };
        for command in [&["ps"][..], &["bt", "--all"]] {
            let run = Contender::recrash(Path::new("/nonexistent"));
            let run = command
                .iter()
                .fold(run.arg("inspect").arg(dump), |run, word| run.arg(word));
            let result = several(&run);
            println!(
                "{tasks:6} tasks, {:8}: {:.3} s, {:.1} MiB{}",
                command.join(" "),
                result.seconds,
                result.mib,
                if result.failed { "  FAILED" } else { "" }
            );
        }
    }
}

fn tasks(dump: &Path) -> Option<usize> {
    let output = Command::new(env!("CARGO_BIN_EXE_recrash"))
        .arg("inspect")
        .arg(dump)
        .args(["ps", "--json"])
        .output()
        .ok()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(said["tasks"].as_array()?.len())
}
