//! ELF64 files with sections and symbols: a vmlinux, or a module.

/// A section: name, address, contents.
pub type Section<'a> = (&'a str, u64, &'a [u8]);

/// An executable with these sections and, if there are any, these symbols (address and name, of the first section,
/// global functions).
#[must_use]
pub fn elf_image(sections: &[Section<'_>], symbols: &[(u64, &str)]) -> Vec<u8> {
    let (mut symtab, mut strtab) = (vec![0u8; 24], vec![0u8]);
    for (addr, name) in symbols {
        symtab.extend((strtab.len() as u32).to_le_bytes());
        symtab.extend([0x12, 0, 1, 0]);
        symtab.extend(addr.to_le_bytes());
        symtab.extend(16u64.to_le_bytes());
        strtab.extend(name.as_bytes());
        strtab.push(0);
    }
    // Type, link, entry size beside name, address and contents.
    let mut all: Vec<(&str, u64, &[u8], [u32; 3])> = sections
        .iter()
        .map(|&(name, addr, data)| (name, addr, data, [1, 0, 0]))
        .collect();
    if !symbols.is_empty() {
        let strings = all.len() as u32 + 2;
        all.push((".symtab", 0, &symtab, [2, strings, 24]));
        all.push((".strtab", 0, &strtab, [3, 0, 0]));
    }
    let mut names = vec![0u8];
    let mut headers = vec![0u8; 64];
    let mut body = Vec::new();
    let shstrtab: Vec<u8> = std::iter::once("")
        .chain(all.iter().map(|s| s.0))
        .chain([".shstrtab"])
        .flat_map(|name| [name.as_bytes(), b"\0"].concat())
        .collect();
    all.push((".shstrtab", 0, &shstrtab, [3, 0, 0]));
    for (name, addr, data, [kind, link, entry]) in &all {
        let flags: u64 = if *addr == 0 { 0 } else { 6 };
        let offset = 64 + body.len() as u64;
        headers.extend((names.len() as u32).to_le_bytes());
        headers.extend(kind.to_le_bytes());
        for word in [flags, *addr, offset, data.len() as u64] {
            headers.extend(word.to_le_bytes());
        }
        headers.extend(link.to_le_bytes());
        headers.extend(1u32.to_le_bytes());
        headers.extend(8u64.to_le_bytes());
        headers.extend(u64::from(*entry).to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend([2, 0, 62, 0]);
    out.extend(1u32.to_le_bytes());
    for word in [0, 0, 64 + body.len() as u64] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, 0, 64, all.len() as u16 + 1, all.len() as u16] {
        out.extend(half.to_le_bytes());
    }
    out.extend(body);
    out.extend(headers);
    out
}
