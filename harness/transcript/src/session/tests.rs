//! Sessions as crash prints them, and as people hand them on.
use crate::evidence::{Evidence, read};
use crate::without_prose;
use proptest::prelude::*;

/// A session with one item of every kind, in crash's layout.
const SESSION: &str = r#"
     RELEASE: 5.9.0-test
       PANIC: "general protection fault: 0000 [#1] SMP"
        CPUS: 4
crash> bt -f
PID: 70     TASK: ffff888012345678  CPU: 3   COMMAND: "a b"
 #0 [ffffc90000123a00] machine_kexec at ffffffff81060000
    ffffc90000123a08: 0000000000000001 ffffffff81a00b0e
 #1 [ffffc90000123a10] asm_exc_general_protection at ffffffff81a00b0e
    [exception RIP: __kmalloc+171]
    RIP: ffffffff81287f8b  RSP: ffffc90000123ac8  RFLAGS: 00010202
    RAX: 0000000000000000  RBX: 0000000000000dc0  RCX: 0000000000000011
 #2 [ffffc90000123b00] usb_hcd_submit_urb at ffffffffc05c5e52 [usbcore]
    /usr/src/linux/drivers/usb/core/hcd.c: 1556
    RIP: 00007f0e33cdb2f7  RSP: 00007ffc0db68cc8  RFLAGS: 00000246
    ORIG_RAX: 0000000000000010  CS: 0033  SS: 002b

crash> dis -l __kmalloc
/usr/src/linux/mm/slub.c: 283
0xffffffff81287f80 <__kmalloc+160>:     mov    0x20(%r15),%eax
0xffffffff81287f8b <__kmalloc+171>:     mov    0x0(%rbp,%rax,1),%rbx

crash> struct kmem_cache_cpu ffff88803fb28120
struct kmem_cache_cpu {
  freelist = 0x72006900560338,
  tid = 207514,
  node = {
    next = 0xffff888000000001, 
    rest = {0x1, 0x2}
  },
  pair = {{
      a = 1
    }, {
      a = -2
    }},
  partial = 0x0
}
crash> rd -32 ffff88803fb28130 4
ffff88803fb28130:  00560338 00720069 0000000a 00000000   8.V.i.r.........
crash> x/2gx 0xffff88803fb28140
0xffff88803fb28140:	0x0000000000000005	0x0000000000000006
crash> vtop ffff88803fb28120
VIRTUAL           PHYSICAL        
ffff88803fb28120  3fb28120        
crash> kmem -s kmalloc-256
CACHE             OBJSIZE  ALLOCATED     TOTAL  SLABS  SSIZE  NAME
ffff888000042900      256       1201      1344     84     4k  kmalloc-256
"#;

fn check(text: &str) -> Evidence {
    let found = read(text);
    assert_eq!(found.lost, [], "{text}");
    found
}

#[test]
fn every_kind_of_line_is_read() {
    let found = check(SESSION);
    assert_eq!(found.system.release.as_ref().unwrap().0, "5.9.0-test");
    assert_eq!(found.system.cpus, Some((4, 4)));
    let task = &found.tasks[0];
    assert_eq!(
        (task.pid, task.cpu, task.comm.as_deref()),
        (70, Some(3), Some("a b"))
    );
    let backtrace = &found.backtraces[0];
    assert_eq!(backtrace.frames.len(), 3);
    assert_eq!(backtrace.frames[2].module.as_deref(), Some("usbcore"));
    assert_eq!(
        backtrace.frames[2].source.as_deref(),
        Some("/usr/src/linux/drivers/usb/core/hcd.c: 1556")
    );
    assert_eq!(backtrace.registers.len(), 2);
    assert_eq!(
        backtrace.registers[0].exception,
        Some(("__kmalloc".into(), Some(171)))
    );
    assert_eq!(backtrace.registers[0].registers.len(), 6);
    assert_eq!(backtrace.registers[1].exception, None);
    assert_eq!(found.instructions[1].text, "mov 0x0(%rbp,%rax,1),%rbx");
    assert_eq!(found.instructions[1].place, Some(("__kmalloc".into(), 171)));
    assert_eq!(
        found.instructions[1].source.as_deref(),
        Some("/usr/src/linux/mm/slub.c: 283")
    );
    let words: Vec<_> = found
        .words
        .iter()
        .map(|word| (word.at & 0xfff, word.value))
        .collect();
    assert_eq!(
        words,
        [
            (0xa08, 1),
            (0xa10, 0xffff_ffff_81a0_0b0e),
            (0x130, 0x0072_0069_0056_0338),
            (0x138, 10),
            (0x140, 5),
            (0x148, 6)
        ]
    );
    assert_eq!(found.translations[0].phys, Some(0x3fb2_8120));
    assert_eq!(
        (found.caches[0].name.as_str(), found.caches[0].object_size),
        ("kmalloc-256", Some(256))
    );
}

#[test]
fn members_of_structures_have_their_path() {
    let found = check(SESSION);
    let members: Vec<_> = found.structs[0]
        .members
        .iter()
        .map(|m| (m.path.as_str(), m.number))
        .collect();
    assert!(found.structs[0].whole);
    assert_eq!(found.structs[0].address, Some(0xffff_8880_3fb2_8120));
    assert_eq!(
        members,
        [
            ("freelist", Some(0x0072_0069_0056_0338)),
            ("tid", Some(207_514)),
            ("node.next", Some(0xffff_8880_0000_0001)),
            ("node.rest[0]", Some(1)),
            ("node.rest[1]", Some(2)),
            ("pair[0].a", Some(1)),
            ("pair[1].a", Some(0xffff_ffff_ffff_fffe)),
            ("partial", Some(0)),
        ]
    );
}

#[test]
fn a_structure_that_is_cut_off_keeps_what_it_has() {
    let found = check("crash> struct s ffff888000000000\nstruct s {\n  a = 1,\n\nProse.");
    assert_eq!(
        (found.structs[0].members.len(), found.structs[0].whole),
        (1, false)
    );
    let found = check("crash> struct s.a ffff888000000000\n  a = 1\n");
    assert_eq!(found.structs[0].address, Some(0xffff_8880_0000_0000));
}

#[test]
fn notes_that_people_write_into_lines_are_passed_over() {
    for note in ["[r15]", "[Error Code]"] {
        let text = format!("    ffffc90000123a08: ffff8ef487c0e9c0{note} 00000000000000fe{note}\n");
        assert_eq!(check(&text).words.len(), 2);
        assert!(!without_prose(&text).contains('['));
    }
    let found = check("0xffffffff84287f6e <__kmalloc+142>:  mov (%r8),%rbp   ---> here\n");
    assert_eq!(found.instructions[0].text, "mov (%r8),%rbp");
}

#[test]
fn what_looks_like_evidence_and_cannot_be_read_is_told() {
    let lost = |text: &str| read(text).lost.len();
    assert_eq!(lost(" #7 [ffffc90000123a08] half at fff\n"), 1);
    assert_eq!(lost("0xffffffff84287f6e <__kmalloc+1"), 1);
    assert_eq!(lost("  tid = 5,\n"), 1);
    assert_eq!(lost("Prose says: 12 of 13 = nothing #7.\n"), 0);
}

/// Evidence without the numbers of its lines.
fn numberless(text: &str) -> String {
    let debug = format!("{:?}", read(text));
    let mut out = String::new();
    let mut parts = debug.split("line: ");
    out.push_str(parts.next().unwrap());
    for part in parts {
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    // Pairs of value and line in the system and in registers.
    out.split(',')
        .filter(|p| {
            !p.trim()
                .trim_end_matches([')', ']', '}'])
                .bytes()
                .all(|b| b.is_ascii_digit())
                || p.trim().len() > 12
        })
        .collect()
}

#[test]
fn mailers_and_terminals_change_nothing() {
    let plain = numberless(SESSION);
    let each = |change: &dyn Fn(&str) -> String| {
        SESSION
            .lines()
            .map(|line| change(line) + "\n")
            .collect::<String>()
    };
    for text in [
        each(&|line| format!("> > {line}")),
        each(&|line| format!("{line}\r")),
        each(&|line| format!("[   17.123456] {line}")),
        format!("# Title\n\n```text\n{SESSION}\n```\nDas war's.\n"),
    ] {
        assert_eq!(numberless(&text), plain);
    }
}

/// Wrapped as `fold` does, at words or not.
fn wrapped(text: &str, words: bool) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > 80 {
            let blank = rest[..80].rfind(' ').filter(|at| words && *at > 40);
            let (head, tail) = rest.split_at(blank.map_or(80, |at| at + 1));
            out.push_str(head);
            out.push('\n');
            rest = tail;
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

#[test]
fn lines_wrapped_at_eighty_columns_are_joined() {
    let text = "\
#16 [ffffabfa4b0ebf50] a_function_with_quite_a_long_name_after_hwframe at ffffffff84a000ad
0xffffffff84a01080 <stack_segment_with_a_name+16>:  movq   $0xffffffffffffffff,0x78(%rsp)
0xffffffff84a01089 <stack_segment_with_a_name+25>:  callq  0xffffffff8401e050 <do_stack_segment>
/usr/src/debug/kernel-4.18.0-147.5.1/linux-4.18.0-147.5.1.el8_1.5es.14.x86_64/mm/slub.c: 283
0xffffffff84a01090 <f+1>:  nop
";
    let plain = numberless(text);
    for words in [false, true] {
        assert_eq!(
            numberless(&wrapped(text, words)),
            plain,
            "{}",
            wrapped(text, words)
        );
    }
}

#[test]
fn prose_is_taken_away_and_evidence_stays() {
    let text = format!("Ein Wort vorab.\n```\n{SESSION}```\nUnd danach.\n");
    let clean = without_prose(&text);
    assert!(
        !clean.contains("Wort") && !clean.contains("danach"),
        "{clean}"
    );
    assert_eq!(numberless(&clean), numberless(SESSION));
    assert_eq!(without_prose(&clean), clean);
}

proptest! {
    #[test]
    fn a_dropped_line_loses_what_it_carried_and_no_more(drop in 0usize..60) {
        let kept: Vec<&str> = SESSION.lines().enumerate().filter(|(n, _)| *n != drop).map(|(_, l)| l).collect();
        let (all, left) = (read(SESSION), read(&kept.join("\n")));
        let frames = |e: &Evidence| e.backtraces.iter().map(|b| b.frames.len()).sum::<usize>();
        prop_assert!(frames(&left) + 1 >= frames(&all));
        prop_assert!(left.words.len() + 2 >= all.words.len());
        prop_assert!(left.instructions.len() + 1 >= all.instructions.len());
        for word in &left.words {
            prop_assert!(all.words.iter().any(|w| (w.at, w.value) == (word.at, word.value)));
        }
    }

    #[test]
    fn any_text_is_read(text in "(?s).{0,400}", at in 0usize..2000) {
        let _ = read(&text);
        let cut = SESSION.char_indices().nth(at).map_or(SESSION.len(), |(i, _)| i);
        let _ = read(&format!("{}{text}{}", &SESSION[..cut], &SESSION[cut..]));
        let clean = without_prose(&text);
        prop_assert_eq!(without_prose(&clean), clean);
    }
}
