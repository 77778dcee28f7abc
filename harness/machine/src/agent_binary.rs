//! The guest's init, built by the build script and carried inside this binary.

/// A static ELF executable for x86-64 Linux: `/init` of both boots.
pub const AGENT: &[u8] = include_bytes!(env!("RECRASH_AGENT"));

#[cfg(test)]
mod tests {
    use super::AGENT;
    use goblin::elf::{Elf, header::EM_X86_64, program_header::PT_INTERP};

    #[test]
    fn the_init_is_static_and_asks_for_no_interpreter() {
        let elf = Elf::parse(AGENT).unwrap();
        assert_eq!(elf.header.e_machine, EM_X86_64);
        assert!(
            elf.program_headers
                .iter()
                .all(|header| header.p_type != PT_INTERP)
        );
        assert!(elf.libraries.is_empty(), "needs {:?}", elf.libraries);
    }
}
