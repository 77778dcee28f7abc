//! Instructions with known addresses and known faults.
use super::operand::World;
use super::*;
use proptest::prelude::*;
use recrash_vmcore::{PagingLevels, ReadError};

const GS: u64 = 0xffff_8880_0010_0000;
const MAPPED: u64 = 0xffff_8880_0000_1000;

fn decoded(bytes: &[u8], set: &[(usize, u64)], levels: PagingLevels) -> Option<Faulting> {
    let mut slots = [0; 21];
    for (slot, value) in set {
        slots[*slot] = *value;
    }
    let world = World {
        levels,
        gs_base: Some(GS),
        translate: &|at| {
            if at.0 >> 12 == MAPPED >> 12 || at.0 >> 20 == GS >> 20 {
                Ok(())
            } else {
                Err(ReadError::NotPresent {
                    at,
                    level: "PTE",
                    entry: 0,
                })
            }
        },
        word: &|at, _| (at.0 >> 12 == MAPPED >> 12).then_some(0x1234_5678_9abc_def0),
    };
    decode(
        bytes,
        VirtAddr(0xffff_ffff_8428_7f8b),
        &PtRegs(slots),
        &world,
    )
}

fn check(bytes: &[u8], set: &[(usize, u64)]) -> Faulting {
    decoded(bytes, set, PagingLevels::Four).unwrap()
}

const RBP: usize = 4;
const RAX: usize = 10;
const RCX: usize = 11;
const RDX: usize = 12;
const RSI: usize = 13;
const RDI: usize = 14;
const RSP: usize = 19;
const TEXT: u64 = 0x0072_0069_0056_0338;

#[test]
fn the_real_dumps_load_is_non_canonical_in_the_stack_segment() {
    // mov 0x0(%rbp,%rax,1),%rbx with rbp = the head of a string descriptor
    let found = check(&[0x48, 0x8b, 0x5c, 0x05, 0x00], &[(RBP, TEXT)]);
    assert_eq!(found.text, "mov rbx, [rbp+rax]");
    assert_eq!(found.expected.vector, Some(12));
    let operand = found.operand.unwrap();
    assert_eq!(operand.effective, VirtAddr(TEXT));
    assert!(!operand.canonical && operand.stack_segment && !operand.writes);
    assert_eq!(
        (
            operand.base.as_deref(),
            operand.index.as_deref(),
            operand.size
        ),
        (Some("rbp"), Some("rax"), 8)
    );
}

#[test]
fn five_levels_of_page_tables_make_the_same_address_canonical() {
    let found = decoded(
        &[0x48, 0x8b, 0x5c, 0x05, 0x00],
        &[(RBP, TEXT)],
        PagingLevels::Five,
    )
    .unwrap();
    assert_eq!(found.expected.vector, Some(14));
    assert_eq!(found.expected.code.map(PageFaultCode::bits), Some(0));
}

#[test]
fn another_base_register_is_in_the_data_segment() {
    // mov (%rdi,%rax,1),%rbx
    let bytes = [0x48, 0x8b, 0x1c, 0x07];
    let operand = check(&bytes, &[(RDI, 0x1000), (RAX, 0x80)])
        .operand
        .unwrap();
    assert_eq!(operand.effective, VirtAddr(0x1080));
    assert!(operand.canonical && !operand.stack_segment);
    assert_eq!(check(&bytes, &[(RDI, TEXT)]).expected.vector, Some(13));
}

#[test]
fn a_store_is_told_from_a_load_and_sets_the_write_bit() {
    // mov %rax,(%rdi)
    let found = check(&[0x48, 0x89, 0x07], &[(RDI, 8)]);
    assert!(
        found
            .operand
            .is_some_and(|operand| operand.writes && !operand.reads)
    );
    assert_eq!(found.expected.vector, Some(14));
    assert_eq!(found.expected.code.map(PageFaultCode::bits), Some(2));
}

#[test]
fn an_access_that_reaches_into_the_hole_is_not_canonical() {
    // mov (%rdi),%rax at the last byte of the lower half
    let found = check(&[0x48, 0x8b, 0x07], &[(RDI, 0x0000_7fff_ffff_fffc)]);
    assert_eq!(found.expected.vector, Some(13));
}

#[test]
fn gs_is_the_cpus_area() {
    // mov %gs:0x10(%rax),%rdx
    let operand = check(&[0x65, 0x48, 0x8b, 0x50, 0x10], &[(RAX, 0x20)])
        .operand
        .unwrap();
    assert_eq!(
        (operand.segment, operand.linear),
        ("gs", Some(VirtAddr(GS + 0x30)))
    );
    assert_eq!(operand.effective, VirtAddr(0x30));
}

#[test]
fn an_address_relative_to_rip_is_taken_from_the_next_instruction() {
    // mov 0x10(%rip),%rax
    let operand = check(&[0x48, 0x8b, 0x05, 0x10, 0, 0, 0], &[])
        .operand
        .unwrap();
    assert_eq!(
        operand.effective,
        VirtAddr(0xffff_ffff_8428_7f8b + 7 + 0x10)
    );
    assert_eq!(operand.base, None);
}

#[test]
fn a_push_onto_a_wild_stack_is_a_stack_fault() {
    // push %rax
    let found = check(&[0x50], &[(RSP, TEXT)]);
    assert_eq!(found.expected.vector, Some(12));
    let operand = found.operand.unwrap();
    assert!(operand.implicit && operand.writes);
    assert_eq!(operand.effective, VirtAddr(TEXT - 8));
}

#[test]
fn a_string_move_has_two_operands_and_the_wild_one_faults() {
    // movsq
    let found = check(&[0x48, 0xa5], &[(RSI, TEXT), (RDI, MAPPED)]);
    assert_eq!(found.operands.len(), 2);
    assert_eq!(
        found.operand.and_then(|operand| operand.base).as_deref(),
        Some("rsi")
    );
    assert_eq!(found.expected.vector, Some(13));
}

#[test]
fn a_call_to_what_is_no_address_faults_at_the_call() {
    // call *%rax
    let found = check(&[0xff, 0xd0], &[(RAX, TEXT), (RSP, MAPPED + 0x100)]);
    assert_eq!(found.expected.vector, Some(13));
    assert!(found.branches_wild(), "{}", found.expected.why);
    // call *(%rdi): the target is what memory holds
    let found = check(&[0xff, 0x17], &[(RDI, MAPPED), (RSP, MAPPED + 0x100)]);
    assert_eq!(found.expected.vector, Some(13));
    // ret
    assert_eq!(check(&[0xc3], &[(RSP, MAPPED)]).expected.vector, Some(13));
}

#[test]
fn a_division_fails_by_its_divisor_or_its_quotient() {
    // div %rcx
    let divide = |rcx, rdx| {
        check(&[0x48, 0xf7, 0xf1], &[(RCX, rcx), (RDX, rdx), (RAX, 100)])
            .expected
            .vector
    };
    assert_eq!(divide(0, 0), Some(0));
    assert_eq!(divide(7, 7), Some(0));
    assert_eq!(divide(7, 6), None);
    // idiv %ecx: i32::MIN / -1
    let bytes = [0xf7, 0xf9];
    let set = [(RCX, 0xffff_ffff), (RDX, 0xffff_ffff), (RAX, 0x8000_0000)];
    assert_eq!(check(&bytes, &set).expected.vector, Some(0));
}

#[test]
fn bug_is_an_invalid_opcode_and_an_unaligned_exchange_a_protection_fault() {
    assert_eq!(check(&[0x0f, 0x0b], &[]).expected.vector, Some(6));
    // lock cmpxchg16b (%rdi)
    let bytes = [0xf0, 0x48, 0x0f, 0xc7, 0x0f];
    assert_eq!(
        check(&bytes, &[(RDI, MAPPED + 8)]).expected.vector,
        Some(13)
    );
    assert_eq!(check(&bytes, &[(RDI, MAPPED + 16)]).expected.vector, None);
}

#[test]
fn what_lea_computes_is_no_access() {
    // lea 0x1(%rdx),%rcx
    let found = check(&[0x48, 0x8d, 0x4a, 0x01], &[(RDX, TEXT)]);
    assert_eq!((found.operand, found.expected.vector), (None, None));
}

fn judged(found: &Faulting, vector: u8, error_code: Option<u64>, cr2: Option<u64>) -> Verdict {
    let came = Came {
        vector,
        error_code,
        cr2,
    };
    judge(
        &found.expected,
        found.operand.as_ref(),
        came,
        PagingLevels::Four,
    )
}

#[test]
fn what_came_is_held_against_what_hardware_raises() {
    let stack = check(&[0x48, 0x8b, 0x5c, 0x05, 0x00], &[(RBP, TEXT)]);
    assert_eq!(judged(&stack, 12, None, None), Verdict::Same);
    assert!(matches!(
        judged(&stack, 13, None, None),
        Verdict::Explained(_)
    ));
    assert!(matches!(
        judged(&stack, 6, None, None),
        Verdict::Unexplained(_)
    ));
    let page = check(&[0x48, 0x89, 0x07], &[(RDI, 0x10)]);
    assert_eq!(judged(&page, 14, Some(2), Some(0x10)), Verdict::Same);
    assert!(matches!(
        judged(&page, 14, Some(2), Some(0x99)),
        Verdict::Unexplained(_)
    ));
    assert!(matches!(
        judged(&page, 14, Some(0), Some(0x10)),
        Verdict::Unexplained(_)
    ));
    let fine = check(&[0x48, 0x89, 0x07], &[(RDI, MAPPED)]);
    assert!(matches!(
        judged(&fine, 14, None, None),
        Verdict::Explained(_)
    ));
    assert_eq!(judged(&fine, 13, None, None), Verdict::Open);
}

proptest! {
    #[test]
    fn no_bytes_and_no_registers_make_decoding_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..16),
        slots in proptest::array::uniform21(any::<u64>()),
    ) {
        let set: Vec<(usize, u64)> = slots.into_iter().enumerate().collect();
        for levels in [PagingLevels::Four, PagingLevels::Five] {
            let _ = decoded(&bytes, &set, levels);
        }
    }
}
