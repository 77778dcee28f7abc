//! One idea a function: spills, joins, loops, calls, exchanges, clobbers.
use super::world::BASE;
use super::*;

const SP: u64 = 0xffff_c900_0000_1000;
const CACHE: u64 = 0xffff_8880_0030_0000;

/// Slices `code` at `offset` in a function `of_cache(struct kmem_cache *s, int n)`.
fn check(code: &[u8], offset: u64, set: &[(&str, u64)], expected: &[(&str, &str)]) {
    let mut world = World::of("of_cache", code);
    world.symbols = vec![
        (BASE + 0x1000, "kmalloc_slab"),
        (BASE + 0x2000, "__fentry__"),
    ];
    let slice = world.slice(offset, set);
    for (register, text) in expected {
        assert_eq!(said(&slice, register), *text);
    }
}

#[test]
fn a_value_is_followed_through_a_stack_slot() {
    check(
        &[
            0x48, 0x83, 0xec, 0x18, // sub rsp, 0x18
            0x48, 0x89, 0x7c, 0x24, 0x08, // mov [rsp+8], rdi
            0x48, 0x8b, 0x44, 0x24, 0x08, // mov rax, [rsp+8]
            0x48, 0x8b, 0x08, // mov rcx, [rax]
        ],
        14,
        &[("rsp", SP), ("rax", CACHE)],
        &[("rax", "rax ← parameter s of of_cache = struct kmem_cache *")],
    );
}

#[test]
fn a_slot_whose_address_was_given_away_is_not_trusted_after_a_call() {
    check(
        &[
            0x48, 0x83, 0xec, 0x18, // sub rsp, 0x18
            0x48, 0x89, 0x7c, 0x24, 0x08, // mov [rsp+8], rdi
            0x48, 0x8d, 0x7c, 0x24, 0x08, // lea rdi, [rsp+8]
            0xe8, 0xed, 0x0f, 0x00, 0x00, // call kmalloc_slab
            0x48, 0x8b, 0x4c, 0x24, 0x08, // mov rcx, [rsp+8]
            0x48, 0x8b, 0x09, // mov rcx, [rcx]
        ],
        24,
        &[("rsp", SP)],
        &[(
            "rcx",
            "rcx ← not known: kmalloc_slab may have changed it through a pointer",
        )],
    );
}

#[test]
fn a_push_and_its_pop_are_a_copy() {
    check(
        &[
            0x57, // push rdi
            0x56, // push rsi
            0x5a, // pop rdx
            0x59, // pop rcx
            0x48, 0x8b, 0x01, // mov rax, [rcx]
        ],
        4,
        &[("rsp", SP), ("rcx", CACHE)],
        &[
            ("rcx", "rcx ← parameter s of of_cache = struct kmem_cache *"),
            ("rdx", "rdx ← parameter n of of_cache = int"),
        ],
    );
}

#[test]
fn a_call_returns_a_value_and_spoils_the_rest() {
    check(
        &[
            0xe8, 0xfb, 0x1f, 0x00, 0x00, // call __fentry__, which spoils nothing
            0x48, 0x89, 0xfb, // mov rbx, rdi
            0xe8, 0xf3, 0x0f, 0x00, 0x00, // call kmalloc_slab
            0x8b, 0x40, 0x18, // mov eax, [rax+0x18]
            0x90,
        ],
        16,
        &[("rax", 256), ("rbx", CACHE)],
        &[
            ("rax", "rax ← [rax+0x18] = kmem_cache.size"),
            ("rbx", "rbx ← parameter s of of_cache = struct kmem_cache *"),
            (
                "rsi",
                "rsi ← not known: the call to kmalloc_slab may have changed it",
            ),
        ],
    );
}

#[test]
fn of_two_definitions_the_possible_one_is_taken() {
    let code = [
        0x85, 0xf6, // test esi, esi
        0x74, 0x07, // je +7
        0xb8, 0x05, 0x00, 0x00, 0x00, // mov eax, 5
        0xeb, 0x03, // jmp +3
        0x48, 0x89, 0xf8, // mov rax, rdi
        0x48, 0x8b, 0x08, // mov rcx, [rax]
    ];
    check(
        &code,
        14,
        &[("rax", 5), ("rdi", CACHE)],
        &[("rax", "rax ← 5")],
    );
    check(
        &code,
        14,
        &[("rax", CACHE), ("rdi", CACHE)],
        &[("rax", "rax ← parameter s of of_cache = struct kmem_cache *")],
    );
    check(
        &code,
        14,
        &[("rsi", 1)],
        &[("rax", "rax ← one of: 5; parameter s of of_cache")],
    );
}

#[test]
fn a_loop_does_not_run_in_a_circle() {
    check(
        &[
            0x31, 0xc0, // xor eax, eax
            0x48, 0x83, 0xc0, 0x08, // add rax, 8
            0x39, 0xf0, // cmp eax, esi
            0x75, 0xf8, // jne -8
            0x48, 0x8b, 0x0c, 0x07, // mov rcx, [rdi+rax]
        ],
        10,
        &[("rdi", CACHE), ("rax", 0x40)],
        &[("rax", "rax ← rax + 8 = (one of: 0; rax + 8) + 8")],
    );
}

#[test]
fn an_address_in_a_structure_is_named_and_typed() {
    check(
        &[
            0x48, 0x8d, 0x47, 0x60, // lea rax, [rdi+0x60]
            0x48, 0x8b, 0x08, // mov rcx, [rax]
            0x48, 0x8b, 0x97, 0x88, 0x00, 0x00, 0x00, // mov rdx, [rdi+0x88]
            0x48, 0x8b, 0x12, // mov rdx, [rdx]
            0x90,
        ],
        17,
        &[("rdi", CACHE)],
        &[
            ("rax", "rax ← rdi+0x60 = &kmem_cache.list"),
            ("rcx", "rcx ← [rax] = list_head.next"),
            ("rdx", "rdx ← [rdx] = page.flags"),
        ],
    );
}

#[test]
fn the_current_task_has_the_type_of_its_per_cpu_variable() {
    check(
        &[
            0x65, 0x48, 0x8b, 0x04, 0x25, 0x00, 0x40, 0x00, 0x00, // mov rax, gs:[0x4000]
            0x8b, 0x08, // mov ecx, [rax]
            0x90,
        ],
        11,
        &[],
        &[
            ("rax", "rax ← this_cpu current_task = struct task_struct *"),
            ("rcx", "rcx ← [rax] = task_struct.pid"),
        ],
    );
}

#[test]
fn a_hardened_pointer_is_taken_apart_into_its_keys() {
    check(
        &[
            0x48, 0x8b, 0x08, // mov rcx, [rax]
            0x48, 0x89, 0xc2, // mov rdx, rax
            0x48, 0x0f, 0xca, // bswap rdx
            0x48, 0x33, 0x4f, 0x08, // xor rcx, [rdi+8]
            0x48, 0x31, 0xd1, // xor rcx, rdx
            0x48, 0x8b, 0x01, // mov rax, [rcx]
        ],
        16,
        &[("rdi", CACHE)],
        &[(
            "rcx",
            "rcx ← rcx ^ rdx = ([rax] ^ kmem_cache.flags) ^ bswap(the caller's rax)",
        )],
    );
}

#[test]
fn code_behind_a_disabled_branch_changes_nothing() {
    check(
        &[
            0x48, 0x89, 0xf8, // mov rax, rdi
            0x0f, 0x1f, 0x44, 0x00, 0x00, // nop, where a jump to the end was
            0x48, 0x8b, 0x08, // mov rcx, [rax]
            0xc3, // ret
            0x31, 0xc0, // xor eax, eax
            0xeb, 0xf8, // jmp to the load
        ],
        8,
        &[],
        &[("rax", "rax ← parameter s of of_cache = struct kmem_cache *")],
    );
}

#[test]
fn a_jump_through_a_register_is_owned_up_to() {
    let world = World::of(
        "of_cache",
        &[
            0xff, 0xe0, // jmp rax
            0x48, 0x8b, 0x0f, // mov rcx, [rdi]
            0xc3,
        ],
    );
    let slice = world.slice(2, &[]);
    assert_eq!(slice.notes.len(), 1);
    assert!(
        said(&slice, "rdi").contains("not known: no jump to"),
        "{}",
        said(&slice, "rdi")
    );
}

#[test]
fn where_a_fault_is_handled_control_goes_on() {
    let mut world = World::of(
        "of_cache",
        &[
            0x48, 0x8b, 0x07, // mov rax, [rdi], which may fault
            0x48, 0x8b, 0x08, // mov rcx, [rax]
            0xc3, // ret
            0x31, 0xc0, // xor eax, eax: the fixup
            0xeb, 0xf8, // jmp to the load
        ],
    );
    world.fixups = vec![(BASE, BASE + 7)];
    let slice = world.slice(3, &[]);
    assert_eq!(said(&slice, "rax"), "rax ← one of: kmem_cache.cpu_slab; 0");
}

#[test]
fn a_frame_that_is_realigned_keeps_its_spills() {
    check(
        &[
            0x55, // push rbp
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x48, 0x83, 0xe4, 0xe0, // and rsp, -32
            0x48, 0x83, 0xec, 0x20, // sub rsp, 32
            0x48, 0x89, 0x7c, 0x24, 0x08, // mov [rsp+8], rdi
            0x48, 0x8b, 0x44, 0x24, 0x08, // mov rax, [rsp+8]
            0x48, 0x8b, 0x08, // mov rcx, [rax]
        ],
        22,
        &[("rsp", SP)],
        &[("rax", "rax ← parameter s of of_cache = struct kmem_cache *")],
    );
}

#[test]
fn a_value_is_typed_by_the_cache_that_it_is_an_object_of() {
    let mut world = World::of(
        "nobody",
        &[
            0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x82, // mov rax, [0xffffffff82000000]
            0x8b, 0x48, 0x20, // mov ecx, [rax+0x20]
            0x48, 0x8b, 0x09, // mov rcx, [rcx]
        ],
    );
    world.symbols = vec![(0xffff_ffff_8200_0000, "kmalloc_caches")];
    world.kinds = [(CACHE, "kmem_cache")].into();
    let slice = world.slice(11, &[("rax", CACHE), ("rcx", 0x80)]);
    assert_eq!(
        said(&slice, "rax"),
        "rax ← kmalloc_caches = struct kmem_cache * by its value"
    );
    assert_eq!(said(&slice, "rcx"), "rcx ← [rax+0x20] = kmem_cache.offset");
}

#[test]
fn an_exchange_gives_each_the_others_value() {
    check(
        &[
            0x48, 0x87, 0xf7, // xchg rdi, rsi
            0x48, 0x8b, 0x06, // mov rax, [rsi]
        ],
        3,
        &[],
        &[
            ("rsi", "rsi ← parameter s of of_cache = struct kmem_cache *"),
            ("rdi", "rdi ← parameter n of of_cache = int"),
        ],
    );
}

#[test]
fn between_two_instructions_nothing_is_sliced() {
    let world = World::of("of_cache", &[0x48, 0x8b, 0x07, 0xc3]);
    assert!(world.try_slice(1, &[]).is_err());
    assert!(world.try_slice(0x100, &[]).is_err());
}
