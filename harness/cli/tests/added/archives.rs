//! Debian packages with one entry, written byte by byte: what no packaging tool would write too.

/// A package with one file in its data.tar, of this name and stated size.
pub(crate) fn deb(name: &str, size: u64, bytes: &[u8]) -> Vec<u8> {
    let control = b"Package: linux-image-test\nVersion: 1\nArchitecture: amd64\n";
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        (
            "control.tar",
            tar("./control", control.len() as u64, control),
        ),
        ("data.tar", tar(name, size, bytes)),
    ];
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let length = bytes.len();
        let header = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`\n",
            0, 0, 0, 644
        );
        out.extend(header.as_bytes());
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// One entry in GNU's format, whose sizes may have 64 bits (tar(5)).
fn tar(name: &str, size: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, &[0x80, 0, 0, 0]);
    put(128, &size.to_be_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar  \0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(bytes);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// The same bytes with a text exchanged for one of the same length, which must be there.
pub(crate) fn replace(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at = bytes
        .windows(old.len())
        .position(|window| window == old.as_bytes())
        .unwrap_or_else(|| panic!("no {old:?}"));
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new.as_bytes());
    out
}
