//! The accounts of the real dumps, from evidence that this test puts together itself.
#![expect(
    clippy::unwrap_used,
    reason = "a test's own evidence that does not read is the test's failure"
)]
use recrash_transcript::account::{self, End};
use recrash_transcript::evidence::{Backtrace, Evidence, Frame, Instruction, Member, Struct, Word};

/// Frames, stack words, instructions and structs, one a line.
fn evidence(text: &str) -> Evidence {
    let mut found = Evidence::default();
    let mut trace = Backtrace::default();
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["frame", at, function, address, module @ ..] => trace.frames.push(Frame {
                number: 0,
                at: hex(at),
                function: (*function).into(),
                address: hex(address),
                module: module.first().map(|name| (*name).into()),
                source: None,
                line,
            }),
            ["struct", name, address] => found.structs.push(Struct {
                name: (*name).into(),
                address: Some(hex(address)),
                members: Vec::new(),
                line,
                whole: true,
            }),
            [path, "=", value] => found.structs.last_mut().unwrap().members.push(Member {
                path: (*path).into(),
                text: (*value).into(),
                number: value
                    .strip_prefix("0x")
                    .map(hex)
                    .or_else(|| value.parse().ok()),
                line,
            }),
            ["code", offset, rest @ ..] => found.instructions.push(Instruction {
                address: Some(0xffff_ffff_8428_7ee0 + offset.parse::<u64>().unwrap()),
                place: Some(("__kmalloc".into(), offset.parse().unwrap())),
                text: rest.join(" "),
                source: Some(
                    "/usr/src/debug/linux-4.18.0-147.5.1.el8_1.x86_64/mm/slub.c: 283".into(),
                ),
                line,
            }),
            [at, values @ ..] => {
                found
                    .words
                    .extend((hex(at)..).step_by(8).zip(values).map(|(at, value)| Word {
                        at,
                        value: hex(value),
                        line,
                    }))
            }
            [] => {}
        }
    }
    found.backtraces.push(trace);
    found
}

const WHOLE: &str = "frame ffffabfa4b0ebb80 stack_segment ffffffff84a0108e
ffffabfa4b0ebb88 ffff8ef487c0e9c0 ffff8ef487c0e9c0 fe 6080c0 0072006900560338 6080c0 fe 1 1 ffff8f03dfb28120 0 32a9b
ffffabfa4b0ebbe8 32a9a 6080c0 28120 ffffffffffffffff ffffffff84287f8b 10 10202 ffffabfa4b0ebc38 18
frame ffffabfa4b0ebc08 __kmalloc ffffffff84287f8b
frame ffffabfa4b0ebc70 usb_hcd_submit_urb ffffffff845c5e52
frame ffffabfa4b0ebf50 entry_SYSCALL_64_after_hwframe ffffffff84a000ad
code 38 callq 0xffffffff8423fe30 <kmalloc_slab>
code 43 mov %rax,%r14
code 109 mov %r14,%r15
code 142 mov (%r8),%rbp
code 160 mov 0x20(%r15),%eax
code 164 mov (%r15),%rdi
code 167 lea 0x1(%rdx),%rcx
code 171 mov 0x0(%rbp,%rax,1),%rbx
struct kmem_cache ffff8ef487c0e9c0
cpu_slab = 0x28120
object_size = 256
offset = 0
struct kmem_cache_cpu ffff8f03dfb28120
freelist = 0x72006900560338
tid = 207514
page = 0xffffde4601109480";

const SPLIT: &str = "frame ffffb5ee0b2c3c40 stack_segment ffffffff9f80108e
ffffb5ee0b2c3c48 ffff9d0107c0e9c0 ffff9d0107c0e9c0 100 600640 0072006900560338 600640 0 0 ffffffffc0678e6c
frame ffffb5ee0b2c3c88 xfs_difree_inobt ffffffffc0678e6c xfs
ffffb5ee0b2c3c90 ffff9d205e6a8120 0 6a16bb 6a16ba 600640 28120 ffffffffffffffff ffffffff9f087f8b
struct kmem_cache_cpu ffff9d205e6a8120
freelist = 0x72006900560338
tid = 6952634
page = 0xffffe59860444e80";

const FEBRUARY: &str = "frame ffffa87d4acc36c0 stack_segment ffffffffa420108e
ffffa87d4acc36c8 ffff9a1547c0e9c0 ffff9a1547c0e9c0 100 600640 0072006900560338 600640 7040000 b2b6cc4
ffffa87d4acc3708 ffff9a3210a1d800 ffff9a349e4e8120 0 716ab4 716ab3 600640 28120 ffffffffffffffff ffffffffa3a87f8b
struct kmem_cache_cpu ffff9a349e4e8120
freelist = 0x72006900560338
tid = 7432883
page = 0xffffef9fff2c2580";

const JUNE: &str = "frame ffffa6cb4a11fa00 stack_segment ffffffff83c0108e
ffffa6cb4a11fa08 ffff94b6c7c0e9c0 ffff94b6c7c0e9c0 100 600640 0072006900560338 600640 0 ffffd839ff778100
ffffa6cb4a11fa48 ffff94d4feee4880 ffff94c61fc68120 0 4ebd08 4ebd07 600640 28120 ffffffffffffffff ffffffff83487f8b
struct kmem_cache_cpu ffff94c61fc68120
freelist = 0x72006900560338
tid = 5160199
page = 0xffffd83a00f77600";

fn check(account: &account::Account, size: u64, flags: &str) {
    let exception = &account.exception.as_ref().unwrap().value;
    assert_eq!(
        (exception.vector, exception.error_code, exception.is_fault),
        (Some(12), None, Some(true))
    );
    let faulting = &account.faulting.as_ref().unwrap().value;
    assert_eq!(faulting.by_place, "mov rbx, [base+index]");
    assert_eq!(
        (
            faulting.canonical,
            faulting.hardware.as_ref().map(|found| found.0)
        ),
        (Some(false), Some(12))
    );
    let place = &account.place.as_ref().unwrap().value;
    assert_eq!(
        (place.function.as_str(), place.offset),
        ("__kmalloc", Some(171))
    );
    let cache = &account.cache.as_ref().unwrap().value;
    assert_eq!(
        (cache.name.as_deref(), cache.offset, cache.hardened),
        (Some("kmalloc-256"), Some(0), Some(false))
    );
    let asked = &account.allocation.as_ref().unwrap().value;
    assert_eq!(asked.size.as_ref().map(|known| known.value), Ok(size));
    assert_eq!(asked.flag_names.as_deref(), Some(flags));
    assert_eq!(account.kaslr.as_ref().map(|known| known.value), Ok(true));
    assert!(account.checks.len() >= 4 && account.checks.iter().all(|check| check.holds));
    assert_eq!(account.contradictions, []);
}

#[test]
fn the_whole_dump_gives_what_the_engineer_found() {
    let account = account::of(&evidence(WHOLE), None);
    check(&account, 254, "GFP_KERNEL|__GFP_ZERO");
    let end = |name: &str| {
        account
            .origins
            .iter()
            .find(|o| o.register == name)
            .map(|o| o.end.clone())
    };
    assert!(
        matches!(end("rbp"), Some(End::Load { field: Some(field), .. }) if field == "kmem_cache_cpu.freelist")
    );
    assert!(
        matches!(end("rax"), Some(End::Load { field: Some(field), .. }) if field == "kmem_cache.offset")
    );
    assert!(
        matches!(end("r15"), Some(End::Returned { function, .. }) if function == "kmalloc_slab")
    );
    let chain = account
        .frames
        .unwrap()
        .value
        .into_iter()
        .map(|frame| frame.function);
    assert!(chain.eq([
        "__kmalloc",
        "usb_hcd_submit_urb",
        "entry_SYSCALL_64_after_hwframe"
    ]));
}

#[test]
fn an_excerpt_borrows_from_the_whole_dump_and_drops_the_frame_inside_the_registers() {
    let account = account::of(&evidence(SPLIT), Some(&evidence(WHOLE)));
    check(&account, 256, "GFP_NOFS|__GFP_NOWARN|__GFP_RETRY_MAYFAIL");
    assert_eq!(
        account.dropped.first().map(|frame| frame.function.as_str()),
        Some("xfs_difree_inobt")
    );
    assert_eq!(
        account.hints.first().map(|hint| hint.register.as_str()),
        Some("r9")
    );
    assert!(account.frames_end.is_err());
}

#[test]
fn the_other_excerpts_borrow_too() {
    for text in [FEBRUARY, JUNE] {
        let account = account::of(&evidence(text), Some(&evidence(WHOLE)));
        check(&account, 256, "GFP_NOFS|__GFP_NOWARN|__GFP_RETRY_MAYFAIL");
        assert_eq!(account.lent.len(), 3, "{:#?}", account.lent);
    }
}

#[test]
fn nothing_is_lent_on_one_address() {
    let other = SPLIT.replace("ffffffff9f087f8b", "ffffffff9f087f8c");
    let account = account::of(&evidence(&other), Some(&evidence(WHOLE)));
    assert!(account.lent.iter().all(|lent| lent.starts_with("nothing")));
    assert!(account.cache.is_err() && account.place.is_err());
}

#[test]
fn without_any_one_line_the_account_says_less_and_nothing_else() {
    let whole = account::of(&evidence(WHOLE), None);
    for dropped in 0..WHOLE.lines().count() {
        let kept: Vec<&str> = (0..)
            .zip(WHOLE.lines())
            .filter(|(line, _)| *line != dropped)
            .map(|(_, text)| text)
            .collect();
        // The members of a struct whose head is gone belong to the struct before it.
        if WHOLE.lines().nth(dropped).unwrap().starts_with("struct") {
            continue;
        }
        let less = account::of(&evidence(&kept.join("\n")), None);
        let of = |account: &account::Account| {
            account
                .freelist
                .as_ref()
                .ok()
                .map(|known| known.value.value)
        };
        assert!(
            of(&less).is_none() || of(&less) == of(&whole),
            "line {dropped}"
        );
        let size = |account: &account::Account| {
            account
                .allocation
                .as_ref()
                .ok()
                .and_then(|known| known.value.size.as_ref().ok().map(|size| size.value))
        };
        assert!(
            size(&less).is_none() || size(&less) == size(&whole),
            "line {dropped}"
        );
        let by = |account: &account::Account| {
            account
                .exception
                .as_ref()
                .ok()
                .and_then(|known| known.value.vector)
        };
        assert!(
            by(&less).is_none() || by(&less) == by(&whole),
            "line {dropped}"
        );
        assert_eq!(less.contradictions, [], "line {dropped}");
    }
}

#[test]
fn a_tid_that_is_not_the_registers_is_a_contradiction() {
    let account = account::of(&evidence(&SPLIT.replace("6952634", "6952635")), None);
    assert!(
        account
            .contradictions
            .iter()
            .any(|found| found.what == "kmem_cache_cpu.tid == rdx")
    );
    assert!(account.cache.is_err() && account.place.is_err());
}
