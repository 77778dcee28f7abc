//! Reads QEMU's record of a device's USB traffic (`pcap=` of its USB devices): control transfers, as they were asked
//! and answered. The file is of link type USB_LINUX_MMAPPED: each packet is usbmon's header of 64 bytes and the data
//! (QEMU 7.2, hw/usb/pcap.c; Linux, Documentation/usb/usbmon.rst). QEMU ran beside a hostile guest, so the bytes are
//! untrusted: a record that does not fit ends the reading. Knows no scenario.
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest record that is read, in bytes; a scenario's has some ten thousand.
const MAX_FILE: u64 = 64 << 20;
/// Most transfers that are kept.
const MAX_TRANSFERS: usize = 1 << 16;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const PACKET_HEADER: usize = 64;
const MAGIC: u32 = 0xa1b2_c3d4;
const LINK_TYPE: u32 = 220;
/// Transfer type of usbmon's header.
const CONTROL: u8 = 2;

/// Why the record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// The file.
    #[error("reading it: {0}")]
    Io(#[from] io::Error),
    /// It is none of QEMU's.
    #[error("it is no record of USB traffic by QEMU: {0}")]
    Form(&'static str),
}

/// A control transfer on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The setup packet as on the bus: bmRequestType, bRequest, wValue, wIndex, wLength (USB 2.0, 9.3).
    pub setup: [u8; 8],
    /// Status of its end, 0 or a negative errno; `None`: it had no end when the record stopped, or none that QEMU records:
    /// the guest took it back, or it was on xhci and the device did not answer at once (QEMU 7.2).
    pub status: Option<i32>,
    /// Bytes that went over the bus in the data stage.
    pub length: u32,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Control transfers, in order of their beginning.
    pub transfers: Vec<Transfer>,
    /// Where and why the reading ended before the file did.
    pub cut: Option<String>,
}

/// Reads a file.
///
/// # Errors
/// [`PcapError`]; a file that is cut short or wrong somewhere gives what comes before.
pub fn read(file: &Path) -> Result<Traffic, PcapError> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Reads the bytes of a file, little endian as QEMU on x86-64 writes them.
///
/// # Errors
/// [`PcapError::Form`] where not even the file's header fits.
pub fn parse(bytes: &[u8]) -> Result<Traffic, PcapError> {
    let (header, mut rest) = bytes
        .split_at_checked(FILE_HEADER)
        .ok_or(PcapError::Form("it is shorter than its header"))?;
    if word(header, 0) != MAGIC {
        return Err(PcapError::Form("its first four bytes are other ones"));
    }
    if word(header, 20) != LINK_TYPE {
        return Err(PcapError::Form("its link type is not 220"));
    }
    let mut traffic = Traffic::default();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let cut = |what: &str| Some(format!("{what} at byte {at}"));
        let Some((head, tail)) = rest.split_at_checked(RECORD_HEADER) else {
            traffic.cut = cut("record without its header");
            break;
        };
        let length = usize::try_from(word(head, 8)).unwrap_or(usize::MAX);
        let Some((packet, tail)) = tail.split_at_checked(length) else {
            traffic.cut = cut("record that is longer than the file");
            break;
        };
        if length < PACKET_HEADER {
            traffic.cut = cut("record that is shorter than usbmon's header");
            break;
        }
        if traffic.transfers.len() == MAX_TRANSFERS {
            traffic.cut = cut("more transfers than are read");
            break;
        }
        note(&mut traffic.transfers, packet);
        rest = tail;
    }
    Ok(traffic)
}

/// Takes one packet of at least [`PACKET_HEADER`] bytes. A device has one control transfer at a time, so an end
/// belongs to the last beginning.
fn note(transfers: &mut Vec<Transfer>, packet: &[u8]) {
    let byte = |at: usize| packet.get(at).copied().unwrap_or_default();
    if byte(9) != CONTROL {
        return;
    }
    match byte(8) {
        b'S' => transfers.push(Transfer {
            setup: packet
                .get(40..)
                .and_then(|rest| rest.first_chunk())
                .copied()
                .unwrap_or_default(),
            status: None,
            length: word(packet, 32),
        }),
        b'C' => {
            let open = transfers.last_mut().filter(|last| last.status.is_none());
            if let Some(last) = open {
                last.status = Some(word(packet, 28).cast_signed());
                last.length = last.length.max(word(packet, 32));
            }
        }
        _ => {}
    }
}

/// Four bytes, little endian; 0 where there are none.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(magic: u32, link: u32) -> Vec<u8> {
        let mut out = magic.to_le_bytes().to_vec();
        out.extend([2, 0, 4, 0]);
        for word in [0, 0, 4160, link] {
            out.extend(u32::to_le_bytes(word));
        }
        out
    }

    fn packet(kind: u8, transfer: u8, setup: [u8; 8], status: i32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let mut out = vec![0; 8];
        out.extend((64 + length).to_le_bytes());
        out.extend((64 + length).to_le_bytes());
        out.extend([0; 8]);
        out.extend([kind, transfer, 0x80, 1]);
        out.extend([0; 16]);
        out.extend(status.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend((64 + length).to_le_bytes());
        out.extend(setup);
        out.extend([0; 16]);
        out.extend(data);
        out
    }

    const STRING: [u8; 8] = [0x80, 6, 2, 3, 9, 4, 254, 0];

    /// `S` and `C` of the same transfer.
    fn whole(data: &[u8]) -> Vec<u8> {
        [
            packet(b'S', CONTROL, STRING, 0, &[]),
            packet(b'C', CONTROL, [0; 8], 0, data),
        ]
        .concat()
    }

    fn check(packets: &[u8], expected: &[(Option<i32>, u32)], cut: Option<&str>) {
        let bytes = [header(MAGIC, LINK_TYPE).as_slice(), packets].concat();
        let traffic = parse(&bytes).unwrap();
        let found: Vec<_> = traffic
            .transfers
            .iter()
            .map(|one| (one.status, one.length))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(traffic.cut.as_deref(), cut);
    }

    #[test]
    fn a_transfer_is_read_with_setup_status_and_length() {
        check(&whole(&[0x38; 56]), &[(Some(0), 56)], None);
        let traffic = parse(&[header(MAGIC, LINK_TYPE), whole(&[])].concat()).unwrap();
        assert_eq!(traffic.transfers[0].setup, STRING);
    }

    #[test]
    fn a_transfer_without_an_end_has_no_status() {
        let packets = [packet(b'S', CONTROL, STRING, 0, &[]), whole(&[1])].concat();
        check(&packets, &[(None, 0), (Some(0), 1)], None);
    }

    #[test]
    fn a_failed_transfer_has_its_errno() {
        let packets = [
            packet(b'S', CONTROL, STRING, 0, &[]),
            packet(b'C', CONTROL, [0; 8], -121, &[]),
        ];
        check(&packets.concat(), &[(Some(-121), 0)], None);
    }

    #[test]
    fn other_transfers_and_ends_without_a_beginning_are_passed_over() {
        let packets = [
            packet(b'C', CONTROL, [0; 8], 0, &[]),
            packet(b'S', 3, STRING, 0, &[]),
            whole(&[1, 2]),
        ];
        check(&packets.concat(), &[(Some(0), 2)], None);
    }

    #[test]
    fn a_record_that_is_cut_short_gives_what_comes_before() {
        let mut packets = [whole(&[1]), whole(&[2])].concat();
        packets.pop();
        let cut = "record that is longer than the file at byte 265";
        check(&packets, &[(Some(0), 1), (None, 0)], Some(cut));
    }

    #[test]
    fn a_record_shorter_than_its_header_ends_the_reading() {
        let mut short = vec![0; 16];
        short[8] = 3;
        short.extend([0; 3]);
        let cut = "record that is shorter than usbmon's header at byte 24";
        check(&short, &[], Some(cut));
    }

    #[test]
    fn another_file_is_refused() {
        for bytes in [header(MAGIC, 1), header(0, LINK_TYPE), vec![0; 5]] {
            assert!(matches!(parse(&bytes), Err(PcapError::Form(_))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(packets: Vec<u8>) {
            let _ = parse(&packets);
            let _ = parse(&[header(MAGIC, LINK_TYPE), packets].concat());
        }
    }
}
