//! DWARF: functions and lines of addresses, and its types as BTF.

use std::process::Command;

use recrash_debuginfo::dwarf::{Dwarf, UnitIndex};

pub fn run(bytes: &[u8]) {
    let _ = UnitIndex::from_bytes(bytes);
    let Ok(dwarf) = Dwarf::parse(bytes) else {
        return;
    };
    let _ = dwarf.build_id();
    for address in [0, 1, 0x10, 0x40, 0x1010, u64::MAX] {
        let _ = dwarf.frames_at(address);
        let _ = dwarf.line_at(address);
    }
    if let Ok(index) = dwarf.index() {
        assert!(UnitIndex::from_bytes(&index.to_bytes()).is_some());
    }
    let _ = dwarf.to_btf(&|_, _| {});
}

const PROGRAM: &str = "
struct list { struct list *next; int bits : 3; union { long word; char bytes[8]; }; };
enum colour { RED, GREEN = 5 };
typedef int (*call)(struct list *, enum colour);
static inline int inner(struct list *list) { return list->bits + (int)list->word; }
int outer(struct list *list, enum colour colour, call call) {
    return colour == RED ? inner(list) : call(list, colour);
}
";

/// A small program by the C compiler of this machine, in three versions of DWARF; an ELF file
/// without DWARF where there is none.
pub fn seeds() -> Vec<Vec<u8>> {
    let compile = |version: &str, gz: &str| {
        let folder = tempfile::tempdir().ok()?;
        let (source, object) = (folder.path().join("a.c"), folder.path().join("a.o"));
        std::fs::write(&source, PROGRAM).ok()?;
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-g", version, gz, "-c", "-o"]);
        let status = cc.arg(&object).arg(&source).status().ok()?;
        status.success().then(|| std::fs::read(&object).ok())?
    };
    let versions = [
        ("-gdwarf-4", "-gz=none"),
        ("-gdwarf-5", "-gz=none"),
        ("-gdwarf-5", "-gz=zlib"),
    ];
    let objects = versions
        .iter()
        .filter_map(|(version, gz)| compile(version, gz));
    objects.chain(super::image::seeds()).collect()
}
