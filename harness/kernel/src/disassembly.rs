//! Machine code as text, in AT&T syntax as objdump and crash print it. Reads no registers and judges nothing.
use crate::kernel::Kernel;
use crate::object::Missing;
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction, OpKind, Register};
use recrash_vmcore::{VirtAddr, VirtMem};

/// Longest x86 instruction in bytes (Intel SDM volume 2, section 2.3.11).
const MAX_INSTRUCTION: usize = 15;
/// Column of the first operand, counted from the mnemonic's start.
const OPERANDS: u32 = 7;
const PAGE: u64 = 4096;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it lies.
    pub at: VirtAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// AT&T syntax; `(bad)` for what is no instruction. A branch's target is part of it, its symbol is not.
    pub text: String,
    /// Where a direct branch goes.
    pub branch: Option<VirtAddr>,
    /// What a memory operand relative to rip names.
    pub data: Option<VirtAddr>,
}

/// Decodes up to `count` instructions from `from` on that begin before `until`; why it ended early if it did.
#[must_use]
pub fn lines(
    kernel: &Kernel<'_>,
    from: VirtAddr,
    until: VirtAddr,
    count: usize,
) -> (Vec<Line>, Option<Missing>) {
    let mut formatter = formatter();
    let mut found: Vec<Line> = Vec::new();
    let mut at = from;
    while found.len() < count && at < until {
        let bytes = match code(kernel, at) {
            Ok(bytes) => bytes,
            Err(missing) => return (found, Some(missing)),
        };
        let line = decode(&mut formatter, &bytes, at);
        let Some(next) = at.0.checked_add(line.bytes.len().max(1) as u64) else {
            found.push(line);
            break;
        };
        found.push(line);
        at = VirtAddr(next);
    }
    (found, None)
}

/// The instruction that bytes from elsewhere begin with, as if they lay at `at`.
#[must_use]
pub fn of_bytes(bytes: &[u8], at: u64) -> Line {
    decode(&mut formatter(), bytes, VirtAddr(at))
}

/// Up to 15 bytes; fewer where the next page is not in the dump.
fn code(kernel: &Kernel<'_>, at: VirtAddr) -> Result<Vec<u8>, Missing> {
    let whole = kernel.memory().bytes(at, MAX_INSTRUCTION);
    let room = usize::try_from(PAGE - at.0 % PAGE).unwrap_or(MAX_INSTRUCTION);
    whole
        .or_else(|_| kernel.memory().bytes(at, room.min(MAX_INSTRUCTION)))
        .map_err(crate::kernel::missing("text"))
}

fn formatter() -> GasFormatter {
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_first_operand_char_index(OPERANDS);
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_displacement_leading_zeros(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_rip_relative_addresses(true);
    options.set_show_branch_size(false);
    options.set_signed_immediate_operands(false);
    formatter
}

fn decode(formatter: &mut GasFormatter, bytes: &[u8], at: VirtAddr) -> Line {
    let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return Line {
            at,
            bytes: bytes.iter().take(1).copied().collect(),
            text: "(bad)".into(),
            branch: None,
            data: None,
        };
    }
    // objdump shows a displacement that is there, be it zero.
    let shows_zero = instruction.memory_displ_size() != 0;
    let options = formatter.options_mut();
    options.set_show_zero_displacements(shows_zero);
    options.set_always_show_scale(instruction.memory_index() != Register::None);
    let mut text = String::new();
    formatter.format(&instruction, &mut text);
    Line {
        at,
        bytes: bytes.get(..instruction.len()).unwrap_or_default().to_vec(),
        text: short(text.trim_end()),
        branch: branch(&instruction),
        data: instruction
            .is_ip_rel_memory_operand()
            .then(|| VirtAddr(instruction.ip_rel_memory_address())),
    }
}

/// In 64-bit code these have one size only, and binutils do not write it since 2.36.
fn short(text: &str) -> String {
    for (long, brief) in [("pushq  ", "push   "), ("popq   ", "pop    ")] {
        if let Some(operands) = text.strip_prefix(long) {
            return format!("{brief}{operands}");
        }
    }
    text.to_owned()
}

fn branch(instruction: &Instruction) -> Option<VirtAddr> {
    let near = matches!(
        instruction.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    );
    near.then(|| VirtAddr(instruction.near_branch_target()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: VirtAddr = VirtAddr(0xffff_ffff_8100_0000);

    fn check(bytes: &[u8], expected: &str) -> Line {
        let line = decode(&mut formatter(), bytes, AT);
        assert_eq!(line.text, expected);
        line
    }

    #[test]
    fn instructions_read_as_objdump_prints_them() {
        check(&[0x0f, 0x1f, 0x44, 0x00, 0x00], "nopl   0x0(%rax,%rax,1)");
        check(&[0x55], "push   %rbp");
        check(
            &[0x65, 0x48, 0x8b, 0x1c, 0x25, 0x80, 0xfb, 0x01, 0x00],
            "mov    %gs:0x1fb80,%rbx",
        );
        check(&[0x8b, 0x43, 0x18], "mov    0x18(%rbx),%eax");
        check(&[0x48, 0x83, 0xec, 0x10], "sub    $0x10,%rsp");
        check(
            &[0x48, 0x8b, 0x5c, 0x05, 0x00],
            "mov    0x0(%rbp,%rax,1),%rbx",
        );
        check(&[0x48, 0x8b, 0x19], "mov    (%rcx),%rbx");
        check(&[0xff, 0xb3, 0x98, 0, 0, 0], "push   0x98(%rbx)");
        check(&[0xc3], "ret");
    }

    #[test]
    fn a_branch_names_its_target() {
        let line = check(&[0x74, 0x2c], "je     0xffffffff8100002e");
        assert_eq!(line.branch, Some(VirtAddr(AT.0 + 0x2e)));
        let line = check(&[0xe8, 0, 0, 0, 0], "call   0xffffffff81000005");
        assert_eq!(line.branch, Some(VirtAddr(AT.0 + 5)));
    }

    #[test]
    fn an_operand_relative_to_rip_names_its_address() {
        let line = check(&[0x48, 0x8b, 0x05, 0x10, 0, 0, 0], "mov    0x10(%rip),%rax");
        assert_eq!(line.data, Some(VirtAddr(AT.0 + 0x17)));
    }

    #[test]
    fn bytes_that_are_no_instruction_are_bad_one_at_a_time() {
        let line = check(&[0x06, 0x90], "(bad)");
        assert_eq!(line.bytes, [0x06]);
    }
}
