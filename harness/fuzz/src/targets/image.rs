//! bzImage and vmlinux.

use recrash_debuginfo::vmlinux::{Vmlinux, extract, gnu_build_id};

pub fn run(bytes: &[u8]) {
    let _ = gnu_build_id(bytes);
    let unpacked = extract(bytes);
    for image in [Some(bytes), unpacked.as_deref().ok()]
        .into_iter()
        .flatten()
    {
        if let Ok(vmlinux) = Vmlinux::parse(image) {
            let _ = vmlinux.symbols().len();
            let _ = vmlinux.build_id();
            let _ = vmlinux.section(".orc_unwind");
        }
    }
}

/// A setup header (protocol 2.08) in front of a payload.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image
}

/// An ELF file with a symbol table and a note, as far as a parser looks.
fn elf() -> Vec<u8> {
    let strings = b"\0_stext\0.symtab\0.strtab\0";
    let (symbols_at, strings_at) = (64_u64, 64 + 48);
    let sections_at: u64 = 64 + 48 + 32;
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    for half in [2_u16, 62] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    for quad in [0, 0, sections_at] {
        out.extend(quad.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 0, 64, 3, 2] {
        out.extend(half.to_le_bytes());
    }
    out.extend([0; 24]);
    out.extend(1_u32.to_le_bytes());
    out.extend([0x12, 0, 1, 0]);
    out.extend(0xffff_ffff_8100_0000_u64.to_le_bytes());
    out.extend(16_u64.to_le_bytes());
    out.extend(strings);
    out.resize(sections_at as usize, 0);
    out.extend([0; 64]);
    for (name, kind, at, len, link, entry) in [
        (8_u32, 2_u32, symbols_at, 48_u64, 2_u32, 24_u64),
        (16, 3, strings_at, strings.len() as u64, 0, 0),
    ] {
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        for quad in [0, 0, at, len] {
            out.extend(quad.to_le_bytes());
        }
        out.extend(link.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        for quad in [8, entry] {
            out.extend(quad.to_le_bytes());
        }
    }
    out
}

pub fn seeds() -> Vec<Vec<u8>> {
    // One stored block of deflate, so that no compressor is needed here.
    let file = elf();
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    gzip.extend((file.len() as u16).to_le_bytes());
    gzip.extend((!(file.len() as u16)).to_le_bytes());
    gzip.extend(&file);
    gzip.extend([0; 4]);
    gzip.extend((file.len() as u32).to_le_bytes());
    vec![
        file,
        bzimage(&gzip),
        bzimage(b"\xfd7zXZ\0"),
        bzimage(b"\x28\xb5\x2f\xfd"),
        bzimage(b"\x5d\0\0"),
    ]
}
