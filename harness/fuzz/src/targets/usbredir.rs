//! usb-redir packets, fed in pieces as the first byte says.

// The codec alone: its crate builds the guest's init too, which no fuzzer needs.
#[path = "../../../machine/src/usbredir/codec.rs"]
#[allow(dead_code, reason = "only reading is fuzzed")]
pub mod codec;
#[path = "../../../machine/src/usbredir/packet.rs"]
#[allow(dead_code, reason = "only reading is fuzzed")]
pub mod packet;

use codec::Codec;
use packet::{Caps, Packet};

pub fn run(bytes: &[u8]) {
    let Some((&piece, rest)) = bytes.split_first() else {
        return;
    };
    let mut codec = Codec::new(Caps::OURS);
    for piece in rest.chunks(usize::from(piece) + 1) {
        codec.feed(piece);
        loop {
            match codec.take() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(codec.buffered() <= 256 + (256 << 20));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![20];
    let codec = Codec::new(Caps::OURS);
    codec.encode(&Packet::hello("fuzz", Caps::OURS), &mut bytes);
    // Reset, then a control request to endpoint 0: header of 16 bytes, ten of fields.
    bytes.extend([4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([100, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0x80, 6, 0x80, 0, 0, 3, 9, 4, 254, 0]);
    vec![bytes]
}
