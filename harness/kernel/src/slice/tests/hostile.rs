//! Whatever the text is, a slice ends; and what it says of values is what ran.
use super::*;
use proptest::prelude::*;

const SP: u64 = 0xffff_c900_0000_1000;

/// Straight code that an interpreter of a few lines runs too.
#[derive(Debug, Clone)]
enum Op {
    Move(u8, u8),
    Add(u8, u8),
    Spill(u8, u8),
    Fill(u8, u8),
    Push(u8),
    Pop(u8),
    Bytes(u8),
}

/// Registers that the random code uses: all but rsp and rbp.
const USED: [u8; 14] = [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn op() -> impl Strategy<Value = Op> {
    let register = || proptest::sample::select(USED.to_vec());
    prop_oneof![
        (register(), register()).prop_map(|(a, b)| Op::Move(a, b)),
        (register(), register()).prop_map(|(a, b)| Op::Add(a, b)),
        (register(), 0u8..8).prop_map(|(a, slot)| Op::Spill(a, slot)),
        (register(), 0u8..8).prop_map(|(a, slot)| Op::Fill(a, slot)),
        register().prop_map(Op::Push),
        register().prop_map(Op::Pop),
        register().prop_map(Op::Bytes),
    ]
}

fn two(opcode: u8, to: u8, from: u8) -> Vec<u8> {
    let rex = 0x48 | (from >> 3) << 2 | to >> 3;
    vec![rex, opcode, 0xc0 | (from & 7) << 3 | to & 7]
}

fn slot(opcode: u8, register: u8, slot: u8) -> Vec<u8> {
    vec![
        0x48 | (register >> 3) << 2,
        opcode,
        0x44 | (register & 7) << 3,
        0x24,
        slot * 8,
    ]
}

/// The code, with the registers and the stack as they are at its end.
struct Run {
    code: Vec<u8>,
    registers: [u64; 16],
    memory: std::collections::HashMap<u64, u64>,
}

fn run(ops: &[Op], start: [u64; 16]) -> Run {
    let mut run = Run {
        // sub rsp, 0x40
        code: vec![0x48, 0x83, 0xec, 0x40],
        registers: start,
        memory: std::collections::HashMap::new(),
    };
    run.registers[4] = SP - 0x40;
    let mut pushed = 0;
    for op in ops {
        let registers = &mut run.registers;
        match *op {
            Op::Move(to, from) => {
                run.code.extend(two(0x89, to, from));
                registers[usize::from(to)] = registers[usize::from(from)];
            }
            Op::Add(to, from) => {
                run.code.extend(two(0x01, to, from));
                registers[usize::from(to)] =
                    registers[usize::from(to)].wrapping_add(registers[usize::from(from)]);
            }
            Op::Spill(from, at) => {
                run.code.extend(slot(0x89, from, at));
                run.memory.insert(
                    registers[4] + u64::from(at) * 8,
                    registers[usize::from(from)],
                );
            }
            Op::Fill(to, at) => {
                let Some(value) = run.memory.get(&(registers[4] + u64::from(at) * 8)) else {
                    continue;
                };
                run.code.extend(slot(0x8b, to, at));
                registers[usize::from(to)] = *value;
            }
            Op::Push(from) => {
                run.code.extend([0x40 | from >> 3, 0x50 | from & 7]);
                registers[4] -= 8;
                run.memory
                    .insert(registers[4], registers[usize::from(from)]);
                pushed += 1;
            }
            Op::Pop(to) if pushed > 0 => {
                run.code.extend([0x40 | to >> 3, 0x58 | to & 7]);
                registers[usize::from(to)] = run.memory[&registers[4]];
                registers[4] += 8;
                pushed -= 1;
            }
            Op::Bytes(of) => {
                run.code.extend([0x48 | of >> 3, 0x0f, 0xc8 | of & 7]);
                registers[usize::from(of)] = registers[usize::from(of)].swap_bytes();
            }
            Op::Pop(_) => {}
        }
    }
    run.code.extend([0x48, 0x8b, 0x07]);
    run
}

/// An interpreter's end state, handed to the slice as a crash.
fn sliced(run: &Run) -> Slice {
    let mut world = World::of("of_cache", &run.code);
    world.words = run.memory.clone();
    let registers: Vec<(&str, u64)> = (0..16)
        .map(|n| (effect::name(n), run.registers[usize::from(n)]))
        .collect();
    world.slice(run.code.len() as u64 - 3, &registers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_a_slice_says_of_arguments_and_saved_registers_is_what_they_were(
        ops in proptest::collection::vec(op(), 0..60),
        start in proptest::array::uniform16(any::<u64>()),
    ) {
        let slice = sliced(&run(&ops, start));
        for argument in &slice.arguments {
            let register = effect::ARGUMENTS[argument.number - 1];
            if let Ok(value) = argument.value {
                let expected = start[usize::from(register)];
                let expected = if argument.number == 2 { expected & 0xffff_ffff } else { expected };
                prop_assert_eq!(value, expected, "argument {}", argument.number);
            }
        }
        for saved in &slice.saved {
            let register = effect::by_name(saved.register).unwrap();
            prop_assert_eq!(saved.value, start[usize::from(register)], "{}", saved.register);
        }
        prop_assert_eq!(slice.entry_sp, Some(VirtAddr(SP)));
    }

    #[test]
    fn no_text_makes_a_slice_panic_or_run_on(
        code in proptest::collection::vec(any::<u8>(), 1..600),
        offset in 0u64..64,
        registers in proptest::array::uniform16(any::<u64>()),
    ) {
        let world = World::of("of_cache", &code);
        let set: Vec<(&str, u64)> =
            (0..16).map(|n| (effect::name(n), registers[usize::from(n)])).collect();
        if let Ok(slice) = world.try_slice(offset, &set) {
            prop_assert!(slice.origins.len() <= 64);
        }
    }
}

/// Jumps from everywhere to everywhere, joins at every step: the worst that a function can be.
#[test]
fn a_function_of_jumps_alone_ends_in_time() {
    let mut code = Vec::new();
    for step in 0..2000u32 {
        // add rax, [rax+rcx*8]; jne to somewhere in the first part
        code.extend([0x48, 0x03, 0x04, 0xc8, 0x0f, 0x85]);
        let target = i64::from(step * 7919 % 2000) * 10 - (code.len() as i64 + 4);
        code.extend(i32::try_from(target).unwrap().to_le_bytes());
    }
    code.extend([0x48, 0x8b, 0x08]);
    let world = World::of("of_cache", &code);
    let started = std::time::Instant::now();
    let slice = world.slice(20_000, &[("rax", 1)]);
    assert!(!slice.origins.is_empty());
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
