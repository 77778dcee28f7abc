//! Numbers and addresses as people type them: hexadecimal, symbols, symbols with an offset. Reads no memory but
//! the per-CPU offsets.
use anyhow::anyhow;
use recrash_kernel::Kernel;

use super::session::Session;
use crate::failure::Failure;

/// An address: `ffffffff81000000`, `0x…`, `symbol`, `symbol+0x10`, `symbol-8`, `symbol:cpu`.
///
/// A word that is both, such as `add`, is the symbol; `0xadd` is the number.
pub(super) fn address(session: &Session<'_>, text: &str) -> Result<u64, Failure> {
    if let Some(number) = hexadecimal(text).filter(|_| is_plainly_a_number(text)) {
        return Ok(number);
    }
    match session.try_kernel() {
        Ok(kernel) => symbolic(kernel, text),
        Err(_) => match hexadecimal(text) {
            Some(number) => Ok(number),
            None => Err(session.kernel().err().unwrap_or_else(|| unknown(text))),
        },
    }
}

/// A physical address: a number only.
pub(super) fn physical(text: &str) -> Result<u64, Failure> {
    hexadecimal(text).ok_or_else(|| {
        Failure::usage(anyhow!("{text:?} is no physical address"))
            .hint("expected a hexadecimal number, with or without 0x")
    })
}

/// A count for clap: decimal, or hexadecimal with `0x`.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a decimal number, or a hexadecimal one with 0x".into())
}

/// Hexadecimal digits, with or without `0x`.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    // from_str_radix takes a sign.
    let plain = digits.chars().all(|c| c.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// With `0x`, or beginning with a digit: no C name does.
fn is_plainly_a_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn symbolic(kernel: &Kernel<'_>, text: &str) -> Result<u64, Failure> {
    // A symbol may hold a dot or a dollar, not these.
    if let Some((base, offset)) = text.split_once('+') {
        return Ok(one(kernel, base)?.wrapping_add(offset_of(offset)?));
    }
    if let Some((base, offset)) = text.split_once('-') {
        return Ok(one(kernel, base)?.wrapping_sub(offset_of(offset)?));
    }
    one(kernel, text)
}

fn one(kernel: &Kernel<'_>, text: &str) -> Result<u64, Failure> {
    if let Some((name, cpu)) = text.split_once(':') {
        return per_cpu(kernel, name, cpu);
    }
    if let Ok(at) = kernel.symbol(text) {
        return Ok(at.0);
    }
    hexadecimal(text).ok_or_else(|| unknown(text))
}

fn per_cpu(kernel: &Kernel<'_>, name: &str, cpu: &str) -> Result<u64, Failure> {
    let cpu: u32 = cpu
        .parse()
        .map_err(|_| Failure::usage(anyhow!("{cpu:?} is no CPU number")))?;
    if kernel.symbol(name).is_err() {
        return Err(unknown(name));
    }
    if kernel.cpu_count().is_ok_and(|count| cpu >= count) {
        return Err(Failure::usage(anyhow!("there is no CPU {cpu}")));
    }
    kernel
        .per_cpu_symbol(cpu, name)
        .map(|at| at.0)
        .map_err(Failure::inconclusive)
}

fn offset_of(text: &str) -> Result<u64, Failure> {
    count(text).map_err(|what| Failure::usage(anyhow!("{text:?} is no offset: {what}")))
}

fn unknown(text: &str) -> Failure {
    Failure::usage(anyhow!("{text:?} is neither a symbol nor a number"))
        .hint("expected hexadecimal digits, a symbol, symbol+0x10, or symbol:cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hexadecimal_and_nothing_else() {
        for (text, expected) in [
            ("ffffffff81000000", Some(0xffff_ffff_8100_0000)),
            ("0x10", Some(0x10)),
            ("10", Some(0x10)),
            ("", None),
            ("0x", None),
            ("+10", None),
            ("-1", None),
            ("xyz", None),
            ("11112222333344445", None),
        ] {
            assert_eq!(hexadecimal(text), expected, "{text}");
        }
    }

    #[test]
    fn counts_are_decimal_unless_they_say_otherwise() {
        assert_eq!(count("10"), Ok(10));
        assert_eq!(count("0x10"), Ok(16));
        assert!(count("ff").is_err());
        assert!(count("-1").is_err());
    }
}
