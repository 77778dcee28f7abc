//! Programs compiled here, in every form that debug information takes: DWARF 3 to 5, each compression, objects
//! with relocations, separate debug files. The compiler is the judge: the program itself prints its layouts.
//!
//! Where gcc or objcopy cannot make a form, that form is skipped and said so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use recrash_debuginfo::btf::Btf;
use recrash_debuginfo::dwarf::{Dwarf, DwarfError};
use recrash_debuginfo::types::{Shape, Types};
use recrash_debuginfo::vmlinux::Vmlinux;

/// `PROBE` marks the innermost line; the calls inlined around it are marked by their comments.
const SOURCE: &str = r#"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef unsigned int u32;
struct hidden;
typedef struct hidden hidden_t;
typedef struct { int counter; } atomic_t;
enum color { RED, GREEN = 5, BLUE = -2 };
enum { LONELY = 77 };
enum wide { WIDE = 0x123456789abLL };
union number { u32 word; unsigned char bytes[4]; };
struct list { struct list *next, *prev; };
struct sample {
    struct list link;
    char name[3][5];
    u32 low : 3, mid : 7, high : 6;
    unsigned long long far : 33;
    union { long whole; struct { int left, right; }; };
    const volatile char *text;
    int (*call)(struct sample *, hidden_t *, ...);
    enum color color;
    enum wide wide;
    atomic_t refs;
    union number number;
    _Bool flag;
    double real;
    short tail[];
};

static inline __attribute__((always_inline)) int inner(volatile int *at)
{
    __asm__ volatile(".globl probe\nprobe: nop\n"); /* PROBE */
    return *at;
}

static inline __attribute__((always_inline)) int middle(volatile int *at)
{
    return inner(at) + 1; /* CALL inner */
}

__attribute__((noinline, section(".text.outer"))) int outer(volatile int *at)
{
    return middle(at) * 2; /* CALL middle */
}

#define FIELD(field) printf("field %s %zu %zu\n", #field, offsetof(struct sample, field), sizeof(s.field))
#define BITS(field) do { \
    memset(&s, 0, sizeof s); s.field = ~0ULL; printf("bits %s", #field); \
    for (size_t n = 0; n < sizeof s * 8; n++) \
        if (((unsigned char *)&s)[n / 8] >> (n % 8) & 1) printf(" %zu", n); \
    printf("\n"); } while (0)

int main(int argc, char **argv)
{
    static struct sample s;
    volatile int one = argc;
    enum color color = BLUE;
    (void)argv;
    printf("size %zu\n", sizeof s);
    FIELD(link); FIELD(link.prev); FIELD(name); FIELD(whole); FIELD(right); FIELD(text); FIELD(call);
    FIELD(color); FIELD(wide); FIELD(refs); FIELD(refs.counter); FIELD(number); FIELD(number.bytes);
    FIELD(flag); FIELD(real);
    BITS(low); BITS(mid); BITS(high); BITS(far);
    return outer(&one) + color == LONELY;
}
"#;

/// Options of gcc, and of objcopy afterwards.
const FORMS: [(&[&str], &[&str]); 10] = [
    (&["-gdwarf-5"], &[]),
    (&["-gdwarf-4"], &[]),
    (&["-gdwarf-3", "-gstrict-dwarf"], &[]),
    (
        &["-gdwarf-4", "-gstrict-dwarf", "-fdebug-types-section"],
        &[],
    ),
    (&["-gdwarf-5", "-gno-as-loc-support"], &[]),
    (&["-gdwarf-5", "-gz=zlib"], &[]),
    (&["-gdwarf-5"], &["--compress-debug-sections=zstd"]),
    (&["-gdwarf-4"], &["--compress-debug-sections=zlib-gnu"]),
    (&["-gdwarf-5"], &["--only-keep-debug"]),
    (&["-gdwarf-5"], &["--remove-section=.debug_aranges"]),
];

/// Makes one form; `None`, with a word about it, where the tools cannot.
fn make(dir: &Path, gcc: &[&str], objcopy: &[&str], link: bool) -> Option<PathBuf> {
    let (source, program) = (dir.join("source.c"), dir.join("program"));
    std::fs::write(&source, SOURCE).unwrap();
    let run = |tool: &str, args: &[&str]| {
        let ran = Command::new(tool).args(args).current_dir(dir).output();
        let worked = ran.is_ok_and(|out| out.status.success());
        if !worked {
            eprintln!("skipped: {tool} {args:?} does not work here");
        }
        worked
    };
    let mut args = vec!["-O2", "-no-pie", "-fno-pie", "-o", "program", "source.c"];
    args.extend(gcc);
    args.push(if link { "-Wl,--build-id=sha1" } else { "-c" });
    if !run("gcc", &args) {
        return None;
    }
    if objcopy.is_empty() {
        return Some(program);
    }
    let mut args = objcopy.to_vec();
    args.extend(["program", "changed"]);
    run("objcopy", &args).then(|| dir.join("changed"))
}

/// Line of the source with this mark.
fn line(mark: &str) -> u32 {
    let at = SOURCE.lines().position(|line| line.contains(mark)).unwrap();
    u32::try_from(at + 1).unwrap()
}

fn check_frames(dwarf: &Dwarf<'_>, address: u64) {
    let frames = dwarf.frames_at(address).unwrap();
    let found: Vec<_> = frames
        .iter()
        .map(|f| (&*f.function, &*f.file, f.line, f.inlined))
        .collect();
    let expected = [
        ("inner", "source.c", line("/* PROBE */"), true),
        ("middle", "source.c", line("/* CALL inner */"), true),
        ("outer", "source.c", line("/* CALL middle */"), false),
    ];
    assert_eq!(found, expected);
    assert!(frames.iter().all(|f| f.path.ends_with("/source.c")));
    let line = dwarf.line_at(address).unwrap().unwrap();
    assert_eq!((line.line, line.function), (frames[0].line, String::new()));
}

/// The types against what the program says of itself.
fn check_types(types: &Types, program: &Path) {
    let output = Command::new(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 15, "the program printed its layouts");
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        match words[0] {
            "size" => assert_eq!(types.size_of("sample"), Some(numbers[0])),
            "field" => {
                let field = types.field("sample", words[1]).unwrap();
                assert_eq!(
                    (field.offset, field.size),
                    (numbers[0], numbers[1]),
                    "{line}"
                );
            }
            _ => {
                let field = types.field("sample", words[1]).unwrap();
                let (shift, width) = field.bits.unwrap();
                let first = field.offset * 8 + u64::from(shift);
                let bits: Vec<u64> = (first..first + u64::from(width)).collect();
                assert_eq!(bits, numbers, "{line}");
            }
        }
    }
    let spelt = |field: &str| types.field("sample", field).unwrap().type_name;
    assert_eq!(spelt("name"), "char[3][5]");
    assert_eq!(spelt("call"), "int (*)(struct sample *, hidden_t *, ...)");
    assert_eq!(spelt("color"), "enum color");
    assert_eq!(types.field("sample", "tail").unwrap().size, 0);
    assert_eq!(types.field("sample", "flag").unwrap().shape, Shape::Bool);
    assert_eq!(types.enum_value("BLUE"), Some(-2));
    assert_eq!(types.enum_value("LONELY"), Some(77));
    assert_eq!(types.enum_value("WIDE"), Some(0x0123_4567_89ab));
    assert!(types.find_struct("hidden").is_none());
    let proto = types.func_proto("outer").unwrap();
    assert_eq!((&*proto.params[0].name, &*proto.return_type), ("at", "int"));
    assert!(types.func_proto("inner").is_none(), "inlined everywhere");
}

fn types(dwarf: &Dwarf<'_>) -> Types {
    let converted = dwarf.to_btf(&|_, _| {}).unwrap();
    assert_eq!((converted.skipped, converted.omitted), ((0, None), 0));
    Types::new(Arc::new(Btf::parse(converted.btf, None).unwrap()))
}

#[test]
fn every_form_gives_the_same_frames_and_types() {
    for (gcc, objcopy) in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let Some(file) = make(dir.path(), gcc, objcopy, true) else {
            continue;
        };
        eprintln!("{gcc:?} {objcopy:?}");
        let bytes = std::fs::read(&file).unwrap();
        let dwarf = Dwarf::parse(&bytes[..]).unwrap();
        let vmlinux = Vmlinux::parse(&bytes).unwrap();
        assert_eq!(dwarf.build_id().map(<[u8]>::len), Some(20));
        assert!(!dwarf.is_relocatable());
        let probe = vmlinux.symbols().address_of("probe").unwrap();
        check_frames(&dwarf, probe);
        // What gcc puts into type units is referred to by signature, which is not followed.
        if !gcc.contains(&"-fdebug-types-section") {
            check_types(&types(&dwarf), &dir.path().join("program"));
        }
    }
}

#[test]
fn an_objects_sections_are_relocated_compressed_or_not() {
    for (gcc, objcopy) in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let Some(file) = make(dir.path(), gcc, objcopy, false) else {
            continue;
        };
        eprintln!("-c {gcc:?} {objcopy:?}");
        let bytes = std::fs::read(&file).unwrap();
        let dwarf = Dwarf::parse(&bytes[..]).unwrap();
        assert!(dwarf.is_relocatable());
        // The symbol's value is an offset in its section.
        let offset = Vmlinux::parse(&bytes)
            .unwrap()
            .symbols()
            .address_of("probe")
            .unwrap();
        let address = dwarf.link_address(".text.outer", offset).unwrap();
        check_frames(&dwarf, address);
        // The same offset in another section is another place.
        let other = dwarf.link_address(".text.startup", offset).unwrap();
        let frames = dwarf.frames_at(other).unwrap();
        assert!(frames.iter().all(|f| f.function != "outer"));
        assert_eq!(dwarf.link_address(".text.outer", 1 << 20), None);
        if !gcc.contains(&"-fdebug-types-section") {
            assert!(types(&dwarf).size_of("sample").is_some());
        }
    }
}

#[test]
fn a_stripped_program_has_no_debug_information() {
    let dir = tempfile::tempdir().unwrap();
    let Some(file) = make(dir.path(), &["-g"], &["--strip-debug"], true) else {
        return;
    };
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(
        Dwarf::parse(&bytes[..]).err(),
        Some(DwarfError::NoDebugInfo)
    );
}

/// Whatever can be asked of a damaged file.
fn ask(bytes: &[u8], addresses: &[u64]) {
    let Ok(dwarf) = Dwarf::parse(bytes) else {
        return;
    };
    for address in addresses {
        let _ = (dwarf.frames_at(*address), dwarf.line_at(*address));
    }
    if let Ok(converted) = dwarf.to_btf(&|_, _| {}) {
        Btf::parse(converted.btf, None).unwrap();
    }
}

#[test]
fn a_thousand_damaged_programs_give_errors_and_no_panic() {
    for (gcc, objcopy) in [FORMS[0], FORMS[2], FORMS[5]] {
        let dir = tempfile::tempdir().unwrap();
        let Some(file) = make(dir.path(), gcc, objcopy, false) else {
            continue;
        };
        let good = std::fs::read(file).unwrap();
        let good_dwarf = Dwarf::parse(&good[..]).unwrap();
        let address = good_dwarf.link_address(".text.outer", 2).unwrap();
        let config = ProptestConfig {
            cases: 340,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30);
        proptest!(config, |(damage in damage, cut in prop::option::weighted(0.1, any::<prop::sample::Index>()))| {
            let mut bytes = good.clone();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            ask(&bytes, &[address, address + 4, 0]);
        });
    }
}
