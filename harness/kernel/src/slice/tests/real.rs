//! `__kmalloc` of the real dump of 2022-06-05. The transcript gives the instructions at +0x26, +0x2b, +0x6d, +0x8e
//! and from +0xa0 on, and all registers; the rest is as gcc compiles mm/slub.c of 4.18, so that each of those lies
//! where it lay.
use super::world::{AREA, BASE, THIS_CPU_OFF};
use super::*;

const CODE: &[u8] = &[
    0x0f, 0x1f, 0x44, 0x00, 0x00, 0x41, 0x57, 0x41, 0x56, 0x41, 0x55, 0x41, 0x54, 0x55, 0x53, 0x48,
    0x83, 0xec, 0x08, 0x48, 0x81, 0xff, 0x00, 0x20, 0x00, 0x00, 0x0f, 0x87, 0xdb, 0x00, 0x00, 0x00,
    0x49, 0x89, 0xfd, 0x41, 0x89, 0xf4, 0xe8, 0xd5, 0x0f, 0x00, 0x00, 0x49, 0x89, 0xc6, 0x48, 0x83,
    0xf8, 0x10, 0x0f, 0x86, 0x8a, 0x00, 0x00, 0x00, 0x8b, 0x1d, 0xc2, 0xff, 0x00, 0x00, 0x44, 0x21,
    0xe3, 0xf7, 0xc3, 0x00, 0x00, 0x20, 0x00, 0x74, 0x05, 0xe8, 0xb2, 0x10, 0x00, 0x00, 0x89, 0xde,
    0x4c, 0x89, 0xf7, 0xe8, 0xa8, 0x11, 0x00, 0x00, 0x85, 0xc0, 0x75, 0x75, 0x0f, 0x1f, 0x44, 0x00,
    0x00, 0x41, 0xf7, 0x46, 0x08, 0x00, 0x00, 0x00, 0x04, 0x75, 0x6a, 0x66, 0x90, 0x4d, 0x89, 0xf7,
    0x4d, 0x85, 0xff, 0x0f, 0x84, 0x58, 0x00, 0x00, 0x00, 0x49, 0x8b, 0x07, 0x65, 0x48, 0x8b, 0x50,
    0x08, 0x4d, 0x8b, 0x07, 0x65, 0x4c, 0x03, 0x05, 0x7c, 0x8f, 0xf0, 0xff, 0x66, 0x90, 0x49, 0x8b,
    0x28, 0x49, 0x8b, 0x40, 0x10, 0x48, 0x85, 0xed, 0x74, 0x48, 0x48, 0x85, 0xc0, 0x74, 0x43, 0x90,
    0x41, 0x8b, 0x47, 0x20, 0x49, 0x8b, 0x3f, 0x48, 0x8d, 0x4a, 0x01, 0x48, 0x8b, 0x5c, 0x05, 0x00,
    0x48, 0x89, 0xe8, 0x65, 0x48, 0x0f, 0xc7, 0x0f, 0x0f, 0x94, 0xc0, 0x84, 0xc0, 0x74, 0xba, 0x48,
    0x89, 0xe8, 0x48, 0x83, 0xc4, 0x08, 0x5b, 0x5d, 0x41, 0x5c, 0x41, 0x5d, 0x41, 0x5e, 0x41, 0x5f,
    0xc3, 0x31, 0xc0, 0xeb, 0xed, 0x4c, 0x89, 0xf7, 0xe8, 0x23, 0x12, 0x00, 0x00, 0x49, 0x89, 0xc7,
    0xeb, 0x8e, 0x48, 0x8b, 0x0c, 0x24, 0xba, 0xff, 0xff, 0xff, 0xff, 0x44, 0x89, 0xe6, 0x4c, 0x89,
    0xff, 0xe8, 0x0a, 0x13, 0x00, 0x00, 0x48, 0x89, 0xc5, 0xeb, 0xc4, 0x48, 0x89, 0xff, 0xe9, 0xfd,
    0x13, 0x00, 0x00,
];
/// Where `add r8, gs:[rip+…]` has its displacement, and where the next instruction begins.
const PER_CPU: (usize, u64) = (0x88, 0x8c);
const CACHE: u64 = 0xffff_8ef4_87c0_e9c0;
const CPU_SLAB: u64 = 0xffff_8f03_dfb2_8120;
const FREELIST: u64 = 0x0072_0069_0056_0338;
const STACK: u64 = 0xffff_abfa_4b0e_bc38;

/// The registers of the transcript.
const REGISTERS: &[(&str, u64)] = &[
    ("r15", CACHE),
    ("r14", CACHE),
    ("r13", 0xfe),
    ("r12", 0x60_80c0),
    ("rbp", FREELIST),
    ("rbx", 0x60_80c0),
    ("r11", 0xfe),
    ("r10", 1),
    ("r9", 1),
    ("r8", CPU_SLAB),
    ("rax", 0),
    ("rcx", 0x3_2a9b),
    ("rdx", 0x3_2a9a),
    ("rsi", 0x60_80c0),
    ("rdi", 0x2_8120),
    ("rsp", STACK),
];

fn world() -> World {
    let mut world = World::of("__kmalloc", CODE);
    let displacement = THIS_CPU_OFF.wrapping_sub(BASE + PER_CPU.1);
    let bytes = i32::try_from(displacement.cast_signed())
        .unwrap()
        .to_le_bytes();
    world.code[PER_CPU.0..PER_CPU.0 + 4].copy_from_slice(&bytes);
    world.symbols = vec![
        (BASE + 0x1000, "kmalloc_slab"),
        (BASE + 0x1100, "_cond_resched"),
        (BASE + 0x1200, "should_failslab"),
        (BASE + 0x1300, "memcg_kmem_get_cache"),
        (BASE + 0x1400, "__slab_alloc"),
        (BASE + 0x1500, "kmalloc_large"),
        (BASE + 0x1_0000, "gfp_allowed_mask"),
    ];
    world.words = [
        (CACHE, 0x2_8120),
        (CACHE + 8, 0x4000_0000),
        (CACHE + 0x20, 0),
        (CPU_SLAB, FREELIST),
        (CPU_SLAB + 8, 0x3_2a9a),
        (AREA + THIS_CPU_OFF, AREA),
        (BASE + 0x1_0000, 0x7f_ffff),
        // What the transcript shows of the stack: the caller's registers, and where it goes back to.
        (STACK, 0xffff_ffff_845c_5e52),
        (STACK + 0x08, 0xffff_8f03_dee1_1380),
        (STACK + 0x10, 0xffff_8efc_0658_e000),
        (STACK + 0x18, 0xffff_ffff_85ca_bf80),
        (STACK + 0x20, 0xffff_fff4),
        (STACK + 0x28, 0),
        (STACK + 0x30, 0),
        (STACK + 0x38, 0xffff_ffff_845c_5e52),
    ]
    .into();
    world
}

fn check(expected: &[(&str, &str)]) {
    let slice = world().slice(0xab, REGISTERS);
    for (register, text) in expected {
        assert_eq!(said(&slice, register), *text);
    }
}

#[test]
fn the_faulting_base_is_the_freelist_of_this_cpus_slab() {
    check(&[
        ("rbp", "rbp ← [r8] = kmem_cache_cpu.freelist"),
        (
            "r8",
            "r8 ← this_cpu kmem_cache.cpu_slab = struct kmem_cache_cpu *",
        ),
        ("rax", "rax ← [r15+0x20] = kmem_cache.offset"),
    ]);
}

#[test]
fn the_cache_is_what_kmalloc_slab_returned_and_not_what_the_memory_controller_would_have() {
    check(&[
        (
            "r14",
            "r14 ← return value of kmalloc_slab = struct kmem_cache *",
        ),
        (
            "r15",
            "r15 ← return value of kmalloc_slab = struct kmem_cache *",
        ),
    ]);
    let slice = world().slice(0xab, REGISTERS);
    let r15 = slice
        .origins
        .iter()
        .find(|origin| origin.register == "r15")
        .unwrap();
    let join = r15.chain.first().unwrap();
    assert!(join.meaning.contains("2 definitions"), "{join:?}");
    assert_eq!(join.check.as_deref(), Some("it comes to this value"));
    let steps: Vec<_> = r15
        .chain
        .iter()
        .skip(1)
        .map(|step| (step.at.0 - BASE, step.meaning.as_str()))
        .collect();
    assert_eq!(
        steps,
        [
            (0x6d, "r15 ← r14"),
            (0x2b, "r14 ← rax"),
            (
                0x26,
                "rax ← return value of kmalloc_slab = struct kmem_cache *"
            )
        ]
    );
}

#[test]
fn another_cache_in_r15_speaks_for_the_memory_controller() {
    let mut registers = REGISTERS.to_vec();
    registers[0].1 = CACHE + 0x1000;
    let slice = world().slice(0xab, &registers);
    assert_eq!(
        said(&slice, "r15"),
        "r15 ← return value of memcg_kmem_get_cache = struct kmem_cache *"
    );
}

#[test]
fn the_operands_of_the_exchange_to_come_are_the_transaction_and_the_next_one() {
    check(&[
        ("rdx", "rdx ← gs:[rax+0x8] = this_cpu kmem_cache_cpu.tid"),
        ("rcx", "rcx ← rdx+0x1 = this_cpu kmem_cache_cpu.tid + 1"),
        ("rdi", "rdi ← [r15] = kmem_cache.cpu_slab"),
    ]);
}

#[test]
fn the_registers_and_the_memory_agree() {
    let slice = world().slice(0xab, REGISTERS);
    for register in ["rbp", "rdx", "rax", "rdi"] {
        let origin = slice
            .origins
            .iter()
            .find(|origin| origin.register == register && origin.current)
            .unwrap();
        let check = origin
            .chain
            .iter()
            .find_map(|step| step.check.as_deref())
            .unwrap();
        assert!(
            check.ends_with("holds the same value now"),
            "{register}: {check}"
        );
    }
}

#[test]
fn size_and_flags_are_found_in_the_registers_that_keep_them() {
    let slice = world().slice(0xab, REGISTERS);
    assert_eq!(
        (argument(&slice, 1), argument(&slice, 2)),
        (Some(0xfe), Some(0x60_80c0))
    );
    let flags = &slice.arguments[1];
    assert_eq!(
        (
            flags.name.as_deref(),
            flags.type_name.as_deref(),
            flags.found_in.as_deref()
        ),
        (Some("flags"), Some("gfp_t"), Some("r12"))
    );
    check(&[("r13", "r13 ← parameter size of __kmalloc = size_t")]);
}

#[test]
fn the_callers_registers_are_those_that_the_function_pushed() {
    let slice = world().slice(0xab, REGISTERS);
    let saved: Vec<_> = slice
        .saved
        .iter()
        .map(|saved| (saved.register, saved.value))
        .collect();
    assert_eq!(
        saved,
        [
            ("rbx", 0xffff_8f03_dee1_1380),
            ("rbp", 0xffff_8efc_0658_e000),
            ("r12", 0xffff_ffff_85ca_bf80),
            ("r13", 0xffff_fff4),
            ("r14", 0),
            ("r15", 0)
        ]
    );
    assert_eq!(slice.entry_sp, Some(VirtAddr(STACK + 0x38)));
}

#[test]
fn without_types_the_registers_are_still_followed() {
    let mut world = world();
    world.types = recrash_debuginfo::types::Types::default();
    let slice = world.slice(0xab, REGISTERS);
    assert_eq!(said(&slice, "rbp"), "rbp ← [r8]");
    assert_eq!(said(&slice, "r15"), "r15 ← return value of kmalloc_slab");
    assert_eq!(said(&slice, "r12"), "r12 ← argument 2 of __kmalloc");
}

#[test]
fn a_clones_parameters_have_no_names() {
    let mut world = world();
    world.name = "__kmalloc.constprop.0";
    let slice = world.slice(0xab, REGISTERS);
    assert_eq!(
        said(&slice, "r12"),
        "r12 ← argument 2 of __kmalloc.constprop.0"
    );
    assert_eq!(slice.notes.len(), 1, "{:?}", slice.notes);
}

#[test]
fn the_address_registers_come_first_with_what_they_came_from() {
    let slice = world().slice(0xab, REGISTERS);
    let first: Vec<_> = slice
        .origins
        .iter()
        .take(4)
        .map(|o| (o.register, o.role))
        .collect();
    assert_eq!(
        first,
        [
            ("rbp", Role::Base),
            ("r8", Role::Via),
            ("r15", Role::Via),
            ("rax", Role::Index)
        ]
    );
}
