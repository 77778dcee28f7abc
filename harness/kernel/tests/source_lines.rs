//! What the kernel asks of debug information, and when: link addresses, build ids, types only where the dump has
//! none.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its own dump is wrong"
)]
mod world;

use std::sync::Mutex;

use recrash_debuginfo::dwarf::SourceFrame;
use recrash_kernel::source_lines::{CodeIn, DebugInfo};
use recrash_kernel::{Kernel, Missing, Sources};
use recrash_synth::btf::{BtfWriter, MemberSpec};
use recrash_vmcore::{VirtAddr, Vmcore};
use world::{TEXT, World};

/// Answers with what it is told to, and keeps what it was asked.
#[derive(Debug, Default)]
struct Files {
    frames: Vec<SourceFrame>,
    types: Option<Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl Files {
    fn note(&self, question: String) {
        self.asked.lock().unwrap().push(question);
    }
}

impl DebugInfo for Files {
    fn types(&self, build_id: Option<&[u8]>) -> Result<Vec<u8>, String> {
        self.note(format!("types {build_id:?}"));
        self.types.clone().ok_or_else(|| "no vmlinux".into())
    }

    fn module_types(&self, name: &str, _: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.note(format!("types of {name}"));
        Ok(None)
    }

    fn frames(&self, code: CodeIn<'_>) -> Result<Vec<SourceFrame>, String> {
        match code {
            CodeIn::Vmlinux { build_id, address } => {
                self.note(format!("{address:#x} {build_id:?}"));
                Ok(self.frames.clone())
            }
            CodeIn::Module { name, .. } => Err(format!("no file of {name}")),
        }
    }
}

fn frame(function: &str, inlined: bool) -> SourceFrame {
    SourceFrame {
        function: function.into(),
        file: "mm/slub.c".into(),
        path: "/build/mm/slub.c".into(),
        line: 7,
        inlined,
    }
}

/// The world's dump with some bytes of it replaced, and these files beside it.
fn check(from: &[u8], to: &[u8], files: &Files, look: impl FnOnce(&Kernel<'_>)) {
    assert_eq!(from.len(), to.len());
    let mut bytes = World::new(0, 0).file();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "the dump has what the test changes");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let dump = Vmcore::from_bytes("world", bytes).unwrap();
    let sources = Sources {
        debug: Some(files),
        ..Sources::default()
    };
    let info = dump.vmcoreinfo().unwrap();
    let kernel = Kernel::open_with(&dump, info, dump.prstatus(), &sources).unwrap();
    look(&kernel);
}

const OFFSET: &[u8] = b"KERNELOFFSET=0\n";

#[test]
fn an_address_is_asked_for_as_it_was_linked() {
    let files = Files {
        frames: vec![frame("inner", true), frame("__kmalloc", false)],
        ..Files::default()
    };
    // The dump is said to have been moved by eight bytes: the address asked for must be eight lower.
    check(OFFSET, b"KERNELOFFSET=8\n", &files, |kernel| {
        let frames = kernel.source_frames(VirtAddr(TEXT + 0x30)).unwrap();
        assert_eq!(frames, files.frames);
    });
    let asked = files.asked.lock().unwrap();
    assert_eq!(*asked, [format!("{:#x} None", TEXT + 0x28)]);
}

#[test]
fn the_build_id_of_the_dump_goes_with_the_question() {
    let files = Files {
        frames: vec![frame("f", false)],
        ..Files::default()
    };
    check(OFFSET, b"BUILD-ID=00fF7\n", &files, |kernel| {
        assert_eq!(kernel.build_id(), None, "an odd number of digits is none");
    });
    check(b"OSRELEASE=6.1", b"BUILD-ID=00fF", &files, |kernel| {
        // What follows in the line is no hexadecimal.
        assert_eq!(kernel.build_id(), None);
    });
    check(b"PAGESIZE=4096\n", b"BUILD-ID=00fF\n", &files, |kernel| {
        assert_eq!(kernel.build_id(), Some(vec![0, 0xff]));
        kernel.source_frames(VirtAddr(TEXT)).unwrap();
    });
    let asked = files.asked.lock().unwrap();
    assert_eq!(*asked, [format!("{TEXT:#x} Some([0, 255])")]);
}

#[test]
fn assembly_without_a_function_gets_the_symbols_name() {
    let files = Files {
        frames: vec![frame("", false)],
        ..Files::default()
    };
    check(OFFSET, OFFSET, &files, |kernel| {
        let frames = kernel.source_frames(VirtAddr(TEXT + 0x120)).unwrap();
        assert_eq!(frames, [frame("usb_hcd_submit_urb", false)]);
    });
}

#[test]
fn an_address_without_a_line_and_a_kernel_without_files_say_why() {
    let files = Files::default();
    check(OFFSET, OFFSET, &files, |kernel| {
        let missing = kernel.source_frames(VirtAddr(TEXT)).unwrap_err();
        assert!(matches!(missing, Missing::DebugInfo(why) if why.contains("no line for")));
    });
    let dump = World::new(0, 0).dump();
    let kernel = Kernel::open(&dump, dump.vmcoreinfo().unwrap(), dump.prstatus()).unwrap();
    let missing = kernel.source_frames(VirtAddr(TEXT)).unwrap_err();
    assert!(matches!(missing, Missing::DebugInfo(_)));
}

/// First bytes of the world's BTF: magic, version, flags, length of the header.
const BTF: &[u8] = &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0];

#[test]
fn types_are_asked_for_only_where_the_dump_has_none() {
    let mut writer = BtfWriter::new();
    let int = writer.int("int", 4, true);
    writer.structure("of_dwarf", 8, &[MemberSpec::at(4, "second", int)]);
    let files = Files {
        types: Some(writer.finish()),
        ..Files::default()
    };
    check(OFFSET, OFFSET, &files, |kernel| {
        assert!(kernel.types().find_struct("list_head").is_some());
    });
    assert!(files.asked.lock().unwrap().is_empty());
    check(BTF, &[0; 8], &files, |kernel| {
        assert_eq!(kernel.types().offset_of("of_dwarf", "second"), Some(4));
        assert!(kernel.types().find_struct("list_head").is_none());
    });
    assert_eq!(*files.asked.lock().unwrap(), ["types None"]);
}
