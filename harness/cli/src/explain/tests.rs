//! The account of the real dump holds the nine facts that an engineer found by hand, as findings and in both languages;
//! other kinds of crash tell what they have and leave out the rest.
use recrash_transcript::{account, evidence};

use super::compose::{self, Others};
use super::findings::{Finding, FindingId, Proof};
use super::from_account;
use super::message::Hex;
use super::render::{CHINESE, ENGLISH, Language, markdown, terminal};
use super::story::{Block, Hypothesis, Slot, Standing, Story, Topic};

const REAL_DUMP: &str =
    include_str!("../../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.txt");

fn story(name: &str, text: &str) -> Story {
    let evidence = evidence::read(text);
    let account = account::of(&evidence, None);
    compose::story(
        &from_account::facts(name, &evidence, account),
        &Others::default(),
    )
}

fn real() -> Story {
    story("2022-06-05-usbdev-ioctl.txt", REAL_DUMP)
}

fn blocks(story: &Story) -> impl Iterator<Item = &Block> {
    story.sections.iter().flat_map(|section| &section.blocks)
}

fn findings(story: &Story) -> Vec<&Finding> {
    blocks(story)
        .filter_map(|block| match block {
            Block::Finding(told) => Some(&told.finding),
            _ => None,
        })
        .collect()
}

fn topics(story: &Story) -> Vec<Topic> {
    story.sections.iter().map(|section| section.topic).collect()
}

/// The story states this, and every statement of its kind is this one.
fn check(story: &Story, expected: &Finding) {
    let same: Vec<_> = findings(story)
        .into_iter()
        .filter(|found| found.id() == expected.id())
        .collect();
    assert!(
        same.contains(&expected),
        "{expected:?} is not among {same:?}"
    );
}

fn evidence_of(story: &Story, id: FindingId) -> Vec<&Proof> {
    blocks(story)
        .filter_map(|block| match block {
            Block::Finding(told) if told.finding.id() == id => Some(&told.evidence),
            _ => None,
        })
        .flatten()
        .collect()
}

const VALUE: Hex = Hex(0x0072_0069_0056_0338);

#[test]
fn fact_1_the_exception_is_a_fault_at_its_place_and_its_error_code_is_gone() {
    let story = real();
    check(
        &story,
        &Finding::Raised {
            mnemonic: "#SS".into(),
            name: "stack segment".into(),
            vector: 12,
        },
    );
    check(
        &story,
        &Finding::Struck {
            place: "__kmalloc+0xab".into(),
            address: Hex(0xffff_ffff_8428_7f8b),
        },
    );
    check(&story, &Finding::SamePrivilege { cs: Hex(0x10) });
    check(
        &story,
        &Finding::FaultNotTrap {
            mnemonic: "#SS".into(),
        },
    );
    check(
        &story,
        &Finding::ErrorCodeGone {
            slot: Hex(u64::MAX),
        },
    );
    let proofs = evidence_of(&story, FindingId::ErrorCodeGone);
    assert!(proofs.iter().any(|proof| matches!(
        proof,
        Proof::Instruction { place, text, .. } if place == "stack_segment+16" && text.starts_with("movq $0xffff")
    )));
}

#[test]
fn fact_2_all_21_slots_are_named_with_their_words_of_the_stack() {
    let story = real();
    check(
        &story,
        &Finding::RegistersOnStack {
            at: Hex(0xffff_abfa_4b0e_bb88),
            end: Hex(0xffff_abfa_4b0e_bc30),
        },
    );
    let slots: Vec<&Slot> = blocks(&story)
        .filter_map(|block| match block {
            Block::Slots(slots) => Some(slots),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(slots.len(), 21);
    assert!(
        slots
            .iter()
            .all(|slot| slot.value.is_some() && slot.line.is_some())
    );
    let rbp = slots
        .iter()
        .find(|slot| slot.name == "rbp")
        .map(|slot| slot.value);
    assert_eq!(rbp, Some(Some(VALUE)));
}

#[test]
fn fact_3_the_address_is_not_canonical_and_its_base_selects_the_stack_segment() {
    let story = real();
    let sum = "rbp 0x0072006900560338 + rax 0x0".into();
    check(
        &story,
        &Finding::AddressSum {
            sum,
            address: VALUE,
        },
    );
    check(&story, &Finding::StackSegment { base: "rbp".into() });
    check(
        &story,
        &Finding::VectorAsHardware {
            mnemonic: "#SS".into(),
        },
    );
    check(&story, &Finding::WithFiveLevels { address: VALUE });
}

#[test]
fn fact_4_the_registers_came_from_the_list_and_the_cache() {
    let story = real();
    for (register, from, field) in [
        ("rbp", "[r8]", "kmem_cache_cpu.freelist"),
        ("rax", "[r15+0x20]", "kmem_cache.offset"),
    ] {
        let found = findings(&story).into_iter().any(|finding| {
            matches!(finding, Finding::LoadedField { register: r, from: f, field: d, .. }
                if r == register && f == from && d == field)
        });
        assert!(found, "{register}");
    }
    let returned = findings(&story).into_iter().any(|finding| {
        matches!(finding, Finding::ReturnedTyped { register, function, .. }
            if register == "r15" && function == "kmalloc_slab")
    });
    assert!(returned);
}

#[test]
fn fact_5_memory_and_registers_agree() {
    let story = real();
    let register = "rbp".into();
    check(
        &story,
        &Finding::FreelistIsRegister {
            value: VALUE,
            register,
        },
    );
    check(
        &story,
        &Finding::TidIsRegister {
            tid: 207_514,
            hex: Hex(207_514),
            register: "rdx".into(),
        },
    );
    check(
        &story,
        &Finding::NextTid {
            register: "rcx".into(),
            tid: 207_514,
            next: 207_515,
            first: "rdx".into(),
        },
    );
}

#[test]
fn facts_6_and_7_the_raw_value_is_the_head_of_a_string_descriptor() {
    let story = real();
    check(&story, &Finding::NotHardened { offset: 0 });
    let head = findings(&story).into_iter().any(|finding| {
        matches!(finding, Finding::StringHead { length: 56, characters: 27, text, .. } if text == "Vir")
    });
    assert!(head);
    let rows = blocks(&story).find_map(|block| match block {
        Block::Bytes(rows) => Some(rows.len()),
        _ => None,
    });
    assert_eq!(rows, Some(5));
}

#[test]
fn facts_8_and_9_the_request_its_buffer_and_who_made_it() {
    let story = real();
    check(&story, &Finding::RequestedSize { size: 254 });
    check(
        &story,
        &Finding::RequestedFlags {
            flags: Hex(0x60_80c0),
            names: "GFP_KERNEL|__GFP_ZERO".into(),
        },
    );
    check(
        &story,
        &Finding::RootHubBuffer {
            size: 254,
            caller: "usb_hcd_submit_urb".into(),
        },
    );
    check(
        &story,
        &Finding::SyscallRequest {
            name: "ioctl".into(),
            fd: 12,
            request: "USBDEVFS_SUBMITURB".into(),
        },
    );
    check(
        &story,
        &Finding::Process {
            comm: "esdm-agent".into(),
            pid: "11941".into(),
            cpu: "10".into(),
        },
    );
}

#[test]
fn other_explanations_are_weighed_by_what_they_predict() {
    let story = real();
    let standing = |wanted: Hypothesis| {
        blocks(&story).find_map(|block| match block {
            Block::Explanation(found) if found.what == wanted => Some(found.standing),
            _ => None,
        })
    };
    assert_eq!(standing(Hypothesis::LateDma), Some(Standing::Undecided));
    assert_eq!(standing(Hypothesis::EarlyFree), Some(Standing::Undecided));
    assert_eq!(standing(Hypothesis::BitFlip), Some(Standing::Refuted));
    assert_eq!(
        standing(Hypothesis::WrongRegisters),
        Some(Standing::Refuted)
    );
}

/// Words of the nine facts that any language has.
const FACTS: [&str; 24] = [
    "#SS",
    "__kmalloc+0xab",
    "orig_rax",
    "0xffffabfa4b0ebb88",
    "pt_regs",
    "mov 0x0(%rbp,%rax,1),%rbx",
    "0x0072006900560338",
    "kmem_cache_cpu.freelist",
    "kmem_cache.offset",
    "kmalloc_slab",
    "207514",
    "207515",
    "rdx",
    "rcx",
    "kmalloc-256",
    "38 03 56 00 69 00 72 00",
    "bLength",
    "27",
    "Vir",
    "254",
    "GFP_KERNEL|__GFP_ZERO",
    "rh_call_control",
    "USBDEVFS_SUBMITURB",
    "11941",
];

fn check_text(language: &Language, own: &[&str]) {
    for text in [
        markdown(&real(), language),
        unwrapped(&terminal(&real(), language)),
    ] {
        for fact in FACTS.iter().chain(own) {
            let fact = unwrapped(fact);
            assert!(unwrapped(&text).contains(&fact), "{fact} is not in\n{text}");
        }
    }
}

/// Without white space: the terminal's lines break anywhere in Chinese.
fn unwrapped(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn both_languages_tell_the_nine_facts() {
    check_text(
        &ENGLISH,
        &[
            "not canonical",
            "string descriptor",
            "does not harden",
            "fault, not a trap",
        ],
    );
    check_text(
        &CHINESE,
        &[
            "非规范地址",
            "字符串描述符",
            "空闲链表",
            "堆栈段异常",
            "fault 而不是 trap",
        ],
    );
}

#[test]
fn the_account_in_english_is_as_reviewed() {
    insta::assert_snapshot!("english", markdown(&real(), &ENGLISH));
}

#[test]
fn the_account_in_chinese_is_as_reviewed() {
    insta::assert_snapshot!("chinese", markdown(&real(), &CHINESE));
}

const NULL_POINTER: &str = "\
[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    1.0] #PF: supervisor read access in kernel mode
[    1.0] #PF: error_code(0x0000) - not-present page
[    1.0] Oops: 0000 [#1] SMP
[    1.0] CPU: 1 PID: 4 Comm: xx Not tainted 6.1.0 #1
[    1.0] RIP: 0010:foo_probe+0x12/0x40 [foo]
[    1.0] RAX: 0000000000000000 RBX: ffff888004a51000 RCX: 0000000000000000
[    1.0] Call Trace:
[    1.0]  bar+0x12/0x30
";

#[test]
fn a_null_pointer_has_no_section_on_the_allocator() {
    let story = story("console.log", NULL_POINTER);
    check(&story, &Finding::ReportedAddress { address: Hex(8) });
    let place = "foo_probe+0x12 [foo]".into();
    check(&story, &Finding::StruckNoAddress { place });
    for topic in [
        Topic::Hardening,
        Topic::Value,
        Topic::Allocation,
        Topic::Alternatives,
    ] {
        assert!(!topics(&story).contains(&topic), "{topic:?}");
    }
}

#[test]
fn a_hung_task_is_told_by_its_report() {
    let text = "\
[  243.1] INFO: task kworker/0:1:12 blocked for more than 120 seconds.
[  243.1]       Not tainted 6.1.0 #1
[  243.1] task:kworker/0:1     state:D stack:0     pid:12    ppid:2      flags:0x00004000
[  243.1] Call Trace:
[  243.1]  <TASK>
[  243.1]  __schedule+0x351/0xa20
[  243.1]  schedule+0x5d/0xe0
[  243.1]  usb_kill_urb+0x7d/0xb0 [usbcore]
[  243.1]  </TASK>
";
    let story = story("console.log", text);
    let ids: Vec<_> = findings(&story)
        .iter()
        .map(|finding| finding.id())
        .collect();
    assert!(ids.contains(&FindingId::Reported), "{ids:?}");
    assert!(!ids.contains(&FindingId::Raised), "{ids:?}");
    assert!(!topics(&story).contains(&Topic::Vector));
}

#[test]
fn a_text_without_a_crash_says_what_is_not_known() {
    let story = story("empty", "nothing here\n");
    assert_eq!(topics(&story), [Topic::Unknown]);
}

#[test]
fn process_names_cannot_drive_terminal_or_markdown() {
    let text = REAL_DUMP.replace("esdm-agent", "\u{1b}[2J`|<b>x");
    let story = story("a`b|c", &text);
    for language in [ENGLISH, CHINESE] {
        let markdown = markdown(&story, &language);
        assert!(!markdown.contains('\u{1b}') && !markdown.contains("`|"));
        assert!(!terminal(&story, &language).contains("\u{1b}[2J"));
    }
}

#[test]
fn the_story_as_json_has_findings_by_name_and_no_prose() {
    let json = match serde_json::to_value(real()) {
        Ok(json) => json,
        Err(error) => panic!("{error}"),
    };
    let text = json.to_string();
    assert!(text.contains("\"message\":\"string-head\"") && text.contains("\"length\":56"));
    assert!(!text.contains("The CPU raised"));
    assert_eq!(json.get("type"), Some(&"story".into()));
}

proptest::proptest! {
    #[test]
    fn any_text_has_an_account_in_both_languages(text in "(?s).{0,400}") {
        let story = story("any", &text);
        for language in [ENGLISH, CHINESE] {
            proptest::prop_assert!(!markdown(&story, &language).is_empty());
            proptest::prop_assert!(!terminal(&story, &language).is_empty());
        }
    }

    #[test]
    fn any_part_of_the_real_session_has_an_account(from in 0_usize..100, lines in 0_usize..60) {
        let part: Vec<&str> = REAL_DUMP.lines().skip(from).take(lines).collect();
        let story = story("part", &part.join("\n"));
        proptest::prop_assert!(!markdown(&story, &ENGLISH).is_empty());
    }
}
