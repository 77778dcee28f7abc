//! One function up: what a caller had put into the argument registers.
use super::super::arguments;
use super::world::BASE;
use super::*;

const SP: u64 = 0xffff_c900_0000_1000;
const CALLEE: u64 = 0x20;

/// A caller that keeps a size in rbx, and a callee that pushes rbx and loses its arguments.
fn world() -> World {
    let mut code = vec![
        0x53, // push rbx
        0x48, 0x8d, 0x5f, 0x40, // lea rbx, [rdi+0x40]
        0xbe, 0xc0, 0x0d, 0x00, 0x00, // mov esi, 0xdc0
        0x48, 0x89, 0xdf, // mov rdi, rbx
        0xe8, 0x0e, 0x00, 0x00, 0x00, // call callee
        0x5b, // pop rbx
        0xc3, // ret
    ];
    code.resize(CALLEE as usize, 0xcc);
    code.extend([
        0x53, // push rbx
        0x31, 0xdb, // xor ebx, ebx
        0x31, 0xff, // xor edi, edi
        0x31, 0xf6, // xor esi, esi
        0x48, 0x8b, 0x03, // mov rax, [rbx], the fault
        0x5b, // pop rbx
        0xc3, // ret
    ]);
    let mut world = World::of("caller", &code);
    world.functions = vec![(0, "caller"), (CALLEE, "__kmalloc")];
    world.words = [(SP - 8, 0x140), (SP, BASE + 0x12), (SP + 8, 0x777)].into();
    world
}

fn fault(world: &World) -> Slice {
    world.slice(CALLEE + 7, &[("rsp", SP - 8), ("rbx", 0)])
}

#[test]
fn what_the_callee_lost_the_caller_still_has() {
    let world = world();
    let callee = fault(&world);
    assert_eq!((argument(&callee, 1), argument(&callee, 2)), (None, None));
    assert_eq!(
        callee
            .saved
            .first()
            .map(|saved| (saved.register, saved.value)),
        Some(("rbx", 0x140))
    );
    let caller = arguments::caller(&world, &callee).unwrap();
    assert_eq!(caller.function, "caller");
    assert_eq!(
        (passed(&caller, 1), passed(&caller, 2)),
        (Some(0x140), Some(0xdc0))
    );
    assert_eq!(caller.saved.first().map(|saved| saved.value), Some(0x777));
}

#[test]
fn a_caller_that_called_another_function_is_not_believed() {
    let mut world = world();
    world.code[14] = 0x0f;
    let callee = fault(&world);
    let missing = arguments::caller(&world, &callee).unwrap_err().to_string();
    assert!(missing.contains("went on to __kmalloc"), "{missing}");
}

#[test]
fn a_return_address_behind_no_call_ends_it() {
    let mut world = world();
    for at in [BASE + 0x11, BASE, 0, u64::MAX] {
        world.words.insert(SP, at);
        assert!(
            arguments::caller(&world, &fault(&world)).is_err(),
            "{at:#x}"
        );
    }
    world.words.remove(&SP);
    assert!(arguments::caller(&world, &fault(&world)).is_err());
}
