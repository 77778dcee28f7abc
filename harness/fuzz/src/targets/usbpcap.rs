//! QEMU's record of a device's USB traffic.

// The parser alone: its crate builds the guest's init too, which no fuzzer needs.
#[path = "../../../machine/src/usbpcap.rs"]
#[allow(dead_code, reason = "only reading is fuzzed")]
pub mod parser;

pub fn run(bytes: &[u8]) {
    if let Ok(traffic) = parser::parse(bytes) {
        // Each transfer began with a packet of 80 bytes.
        assert!(traffic.transfers.len() <= bytes.len() / 80);
    }
}

/// A request for a string and its end: the file's header of 24 bytes, and twice a record's header of 16 and usbmon's
/// of 64, the second one with four bytes of data.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    bytes.extend([0; 12]);
    bytes.extend([220, 0, 0, 0]);
    let setup = [0x80, 6, 2, 3, 9, 4, 254, 0];
    for (kind, setup, data) in [(b'S', setup, &[][..]), (b'C', [0; 8], &[4, 3, 9, 4][..])] {
        let length = 64 + data.len() as u8;
        bytes.extend([0; 8]);
        bytes.extend([length, 0, 0, 0, length, 0, 0, 0]);
        bytes.extend([0; 8]);
        bytes.extend([kind, 2, 0x80, 1]);
        bytes.extend([0; 20]);
        bytes.extend([data.len() as u8, 0, 0, 0, length, 0, 0, 0]);
        bytes.extend(setup);
        bytes.extend([0; 16]);
        bytes.extend(data);
    }
    vec![bytes]
}
