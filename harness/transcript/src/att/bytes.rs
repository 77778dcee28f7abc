//! The bytes of an oops's `Code:` line to instructions: those from rip on, and those before it, found by the starts
//! that run into rip exactly. Reads no registers.
use iced_x86::{Decoder, DecoderOptions};
use recrash_kernel::{disassembly, instruction};

/// Longest x86 instruction in bytes (Intel SDM volume 2, 2.3.11): further starts add nothing.
const MAX_INSTRUCTION: usize = 15;
/// Bytes looked at; kernels print 64.
const MAX_BYTES: usize = 256;

/// One decoded instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes from rip; negative before it.
    pub from_rip: i64,
    /// Length in bytes.
    pub length: usize,
    /// AT&T, white space normalised.
    pub att: String,
    /// Intel.
    pub intel: String,
}

/// Instructions before rip, the one at rip, and those after it. `at` is rip's address, 0 where it is not printed.
#[must_use]
pub fn decode(bytes: &[u8], rip: usize, at: u64) -> Vec<Decoded> {
    let bytes = bytes.get(..MAX_BYTES.min(bytes.len())).unwrap_or_default();
    let mut found = Vec::new();
    let mut next = first(bytes, rip);
    while let Some(decoded) = next.and_then(|from| one(bytes, from, rip, at)) {
        next = next.and_then(|from| from.checked_add(decoded.length));
        found.push(decoded);
    }
    found
}

/// Starts that must agree before a boundary is believed.
const AGREEING: usize = 4;

/// Where to begin: the first boundary that four of five starts up to it pass through, of those that reach rip exactly.
/// Code falls into step after few instructions, whatever byte it is begun at.
fn first(bytes: &[u8], rip: usize) -> Option<usize> {
    let reaching: Vec<Vec<usize>> = (0..MAX_INSTRUCTION.min(rip))
        .filter_map(|start| boundaries(bytes, start, rip))
        .collect();
    let common = |at: &usize| {
        let begun = reaching.iter().filter(|path| path.first() <= Some(at));
        let passing = begun.clone().filter(|path| path.contains(at)).count();
        passing >= AGREEING && passing.saturating_mul(5) >= begun.count().saturating_mul(4)
    };
    (0..rip)
        .find(common)
        .or_else(|| (rip < bytes.len()).then_some(rip))
}

fn boundaries(bytes: &[u8], start: usize, rip: usize) -> Option<Vec<usize>> {
    let mut passed = Vec::new();
    let mut at = start;
    while at < rip {
        passed.push(at);
        at = at.checked_add(length(bytes, at)?)?;
    }
    (at == rip).then_some(passed)
}

fn length(bytes: &[u8], from: usize) -> Option<usize> {
    let instruction = Decoder::with_ip(64, bytes.get(from..)?, 0, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then(|| instruction.len())
}

fn one(bytes: &[u8], from: usize, rip: usize, at: u64) -> Option<Decoded> {
    let rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
    let from_rip = i64::try_from(from)
        .ok()?
        .checked_sub(i64::try_from(rip).ok()?)?;
    let address = at.wrapping_add_signed(from_rip);
    let instruction = Decoder::with_ip(64, rest, address, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return None;
    }
    let line = disassembly::of_bytes(rest, address);
    Some(Decoded {
        from_rip,
        length: instruction.len(),
        att: line.text.split_whitespace().collect::<Vec<_>>().join(" "),
        intel: instruction::spelled(&instruction),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> (Vec<u8>, usize) {
        let rip = text
            .split(' ')
            .position(|byte| byte.starts_with('<'))
            .unwrap();
        let byte = |byte: &str| u8::from_str_radix(byte.trim_matches(['<', '>']), 16).unwrap();
        (text.split(' ').map(byte).collect(), rip)
    }

    #[test]
    fn the_instructions_before_rip_run_into_it() {
        // __kmalloc+0xad of Debian's 5.10.
        let (bytes, rip) = bytes(
            "bf 96 79 49 8b 00 49 83 78 10 00 48 89 04 24 0f 84 96 01 00 00 48 85 c0 0f 84 8d 01 \
             00 00 41 8b 4c 24 28 49 8b 3c 24 48 01 c1 <48> 8b 19 48 89 ce 49 33 9c 24 b8 00 00 00",
        );
        let found = decode(&bytes, rip, 0);
        let text: Vec<&str> = found.iter().map(|line| line.att.as_str()).collect();
        let tail = text.get(text.len() - 9..).unwrap();
        assert_eq!(
            tail,
            [
                "je 0x181",
                "test %rax,%rax",
                "je 0x181",
                "mov 0x28(%r12),%ecx",
                "mov (%r12),%rdi",
                "add %rax,%rcx",
                "mov (%rcx),%rbx",
                "mov %rcx,%rsi",
                "xor 0xb8(%r12),%rbx",
            ]
        );
        assert_eq!(
            found
                .iter()
                .find(|l| l.from_rip == 0)
                .map(|l| l.intel.as_str()),
            Some("mov rbx, [rcx]")
        );
    }

    #[test]
    fn no_bytes_and_a_rip_beyond_them_give_nothing() {
        assert_eq!(decode(&[], 0, 0), []);
        assert_eq!(decode(&[0x90], 9, 0), []);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(bytes: Vec<u8>, rip in 0usize..300, at: u64) {
            let _ = decode(&bytes, rip, at);
        }
    }
}
