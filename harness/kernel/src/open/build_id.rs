//! Which build of the kernel or of a module this is: the GNU build id that the linker put into its notes.
use std::fmt::Write as _;

use crate::kernel::Kernel;
use crate::object::Missing;
use recrash_debuginfo::vmlinux::gnu_build_id;

/// In lower-case hexadecimal, as VMCOREINFO and `file` show it.
#[must_use]
pub fn hexadecimal(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes written in hexadecimal; `None` for anything else.
#[must_use]
pub fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let text = text.trim().as_bytes();
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    (!text.is_empty() && text.len().is_multiple_of(2))
        .then(|| text.chunks(2).map(pair).collect())?
}

/// From VMCOREINFO, which has it since 5.9 (commit 0935288c6e00), else from the notes between `__start_notes` and
/// `__stop_notes`, which stay in memory (include/asm-generic/vmlinux.lds.h, `NOTES`).
pub(crate) fn of_kernel(kernel: &Kernel<'_>) -> Result<Vec<u8>, Missing> {
    if let Some(id) = kernel.info().build_id().and_then(from_hexadecimal) {
        return Ok(id);
    }
    let (notes, at) = kernel.section("__start_notes", "__stop_notes")?;
    gnu_build_id(&notes)
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Missing::Implausible(format!("no build id among the notes at {at}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_read_from_hexadecimal_or_not_at_all() {
        assert_eq!(from_hexadecimal("00fF7c"), Some(vec![0, 0xff, 0x7c]));
        assert_eq!(hexadecimal(&[0, 0xff, 0x7c]), "00ff7c");
        for odd in ["", "0", "0g", "+1", "é", "éé"] {
            assert_eq!(from_hexadecimal(odd), None);
        }
    }
}
