//! Frames: bytes to [`Packet`]s and back, in any split of the bytes. Holds at most one packet and refuses a
//! length before it buffers for it. Does no I/O and does not act on packets, but for the hello, whose capabilities
//! decide how all later packets are framed.
use super::packet::{Body, Caps, Packet};

/// Why the bytes cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The first packet must be a hello.
    #[error("first packet is of type {0}, expected hello")]
    NoHello(u32),
    /// A second hello.
    #[error("a second hello")]
    SecondHello,
    /// The length field cannot be right.
    #[error("packet of type {kind} and {length} bytes, expected {least} to {most}")]
    Length {
        /// The packet's number.
        kind: u32,
        /// What it says.
        length: u32,
        /// Bytes of its fixed fields.
        least: usize,
        /// Most that is taken.
        most: usize,
    },
}

/// What was found in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, and the large one is the usual one"
)]
pub enum Found {
    /// A packet.
    Packet(Packet),
    /// A packet that this version does not know; it is passed over.
    Unknown {
        /// Its number.
        kind: u32,
        /// Its bytes after the header.
        length: u32,
    },
}

/// Reads and writes one connection's packets.
#[derive(Debug)]
pub struct Codec {
    ours: Caps,
    /// Set by the peer's hello.
    peer: Option<Caps>,
    /// Bytes not yet read; never more than one packet and the last piece fed.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of an unknown packet still to come.
    skip: usize,
}

impl Codec {
    /// A connection on which nothing was said.
    pub fn new(ours: Caps) -> Self {
        Self {
            ours,
            peer: None,
            buffer: Vec::new(),
            start: 0,
            skip: 0,
        }
    }

    /// A connection that goes on behind both hellos, of which the peer's had these capabilities.
    pub fn resumed(ours: Caps, peer: Caps) -> Self {
        Self {
            peer: Some(peer),
            ..Self::new(ours)
        }
    }

    /// What the peer's hello had; `None` before it.
    pub fn peer(&self) -> Option<Caps> {
        self.peer
    }

    /// The capabilities in force: none before the peer's hello.
    pub fn caps(&self) -> Caps {
        self.ours.both(self.peer.unwrap_or_default())
    }

    /// Adds received bytes; [`Codec::take`] takes packets out.
    pub fn feed(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer
            .extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// Bytes held.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole packet, if there is one.
    ///
    /// # Errors
    /// [`CodecError`]; the bytes have no further meaning then.
    pub fn take(&mut self) -> Result<Option<Found>, CodecError> {
        let wide = self.caps().has(Caps::WIDE_IDS);
        let header_len = if wide { 16 } else { 12 };
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, rest)) = rest.split_at_checked(header_len) else {
            return Ok(None);
        };
        let word = |at: usize| {
            header
                .get(at..at + 4)
                .and_then(|four| four.try_into().ok())
                .map_or(0, u32::from_le_bytes)
        };
        let (kind, length) = (word(0), word(4));
        let id = u64::from(word(8)) | if wide { u64::from(word(12)) << 32 } else { 0 };
        if self.peer.is_none() && kind != 0 {
            return Err(CodecError::NoHello(kind));
        }
        let Some(least) = Body::len_of(kind, self.caps()) else {
            let here = rest.len().min(length as usize);
            self.start += header_len + here;
            self.skip = length as usize - here;
            return Ok(Some(Found::Unknown { kind, length }));
        };
        let most = least + Body::max_data(kind);
        if !(least..=most).contains(&(length as usize)) {
            return Err(CodecError::Length {
                kind,
                length,
                least,
                most,
            });
        }
        let Some((fields, data)) = rest
            .get(..length as usize)
            .and_then(|packet| packet.split_at_checked(least))
        else {
            return Ok(None);
        };
        let Some(body) = Body::take(kind, fields) else {
            return Ok(None);
        };
        let packet = Packet {
            id,
            body,
            data: data.to_vec(),
        };
        if let Body::Hello { .. } = packet.body {
            if self.peer.is_some() {
                return Err(CodecError::SecondHello);
            }
            // Later words hold capabilities that this version does not know.
            let first = packet.data.first_chunk().copied().unwrap_or_default();
            self.peer = Some(Caps(u32::from_le_bytes(first)));
        }
        self.start += header_len + length as usize;
        Ok(Some(Found::Packet(packet)))
    }

    /// Appends a packet's bytes. A hello always has the short header.
    pub fn encode(&self, packet: &Packet, out: &mut Vec<u8>) {
        let kind = packet.body.kind();
        let hello = matches!(packet.body, Body::Hello { .. });
        let mut fields = Vec::new();
        packet.body.put(&mut fields);
        fields.truncate(Body::len_of(kind, self.caps()).unwrap_or_default());
        let length = fields.len() + packet.data.len();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        let id = packet.id.to_le_bytes();
        let narrow = hello || !self.caps().has(Caps::WIDE_IDS);
        out.extend_from_slice(if narrow { &id[..4] } else { &id });
        out.extend_from_slice(&fields);
        out.extend_from_slice(&packet.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One connection with `caps` on both sides: what one codec writes, another reads back, fed in pieces of `sizes`.
    fn check(caps: Caps, packets: &[Packet], sizes: &[usize]) {
        let mut sender = Codec::new(caps);
        let mut bytes = Vec::new();
        let hello = Packet::hello("test", caps);
        sender.encode(&hello, &mut bytes);
        sender.peer = Some(caps);
        for packet in packets {
            sender.encode(packet, &mut bytes);
        }
        let mut receiver = Codec::new(caps);
        let mut found = Vec::new();
        let mut rest = bytes.as_slice();
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = after;
            receiver.feed(piece);
            while let Some(one) = receiver.take().unwrap() {
                found.push(one);
            }
        }
        let expected: Vec<_> = std::iter::once(&hello)
            .chain(packets)
            .map(|packet| Found::Packet(packet.clone()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(receiver.buffered(), 0);
    }

    fn control(id: u64, data: Vec<u8>) -> Packet {
        let body = Body::Control {
            endpoint: 0x80,
            request: 6,
            request_type: 0x80,
            status: 0,
            value: 0x0302,
            index: 0x0409,
            length: 254,
        };
        Packet { id, body, data }
    }

    #[test]
    fn ids_have_the_width_that_both_sides_announced() {
        check(Caps::OURS, &[control(u64::MAX, vec![1, 2])], &[1]);
        check(Caps::default(), &[control(u32::MAX.into(), vec![1])], &[1]);
    }

    #[test]
    fn a_control_packet_lies_on_the_wire_as_the_protocol_says() {
        let mut codec = Codec::new(Caps::OURS);
        codec.peer = Some(Caps::OURS);
        let mut bytes = Vec::new();
        codec.encode(&control(7, vec![0xaa]), &mut bytes);
        let expected = [
            100, 0, 0, 0, 11, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, // type, length, id
            0x80, 6, 0x80, 0, 0x02, 0x03, 0x09, 0x04, 254, 0, 0xaa,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_unknown_packet_is_passed_over_without_being_held() {
        let mut codec = Codec::new(Caps::OURS);
        codec.peer = Some(Caps::default());
        codec.feed(&[99, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
        let length = 1 << 31;
        assert_eq!(codec.take(), Ok(Some(Found::Unknown { kind: 99, length })));
        codec.feed(&[0; 4096]);
        assert_eq!((codec.take(), codec.buffered()), (Ok(None), 0));
        assert_eq!(codec.skip, (1 << 31) - 4096);
    }

    #[test]
    fn a_length_over_the_limit_is_an_error_before_its_bytes_come() {
        let mut codec = Codec::new(Caps::OURS);
        codec.feed(&[0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]);
        let error = codec.take().unwrap_err().to_string();
        assert_eq!(
            error,
            "packet of type 0 and 4294967295 bytes, expected 64 to 128"
        );
    }

    #[test]
    fn the_first_packet_must_be_a_hello_and_the_only_one() {
        let mut codec = Codec::new(Caps::OURS);
        codec.feed(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(codec.take(), Err(CodecError::NoHello(3)));

        let mut bytes = Vec::new();
        let mut codec = Codec::new(Caps::default());
        codec.encode(&Packet::hello("", Caps::default()), &mut bytes);
        codec.feed(&bytes.repeat(2));
        assert!(matches!(codec.take(), Ok(Some(Found::Packet(_)))));
        assert_eq!(codec.take(), Err(CodecError::SecondHello));
    }

    proptest! {
        #[test]
        fn any_packet_in_any_split_comes_back(
            kinds in prop::collection::vec((0_usize..32, any::<[u8; 16]>(), prop::collection::vec(any::<u8>(), 0..64)), 0..12),
            sizes in prop::collection::vec(1_usize..40, 1..10),
            caps in prop_oneof![Just(Caps::OURS), Just(Caps(Caps::OURS.0 | Caps::BULK_STREAMS.0))],
        ) {
            let numbers: Vec<u32> = (1..28).chain(100..104).collect();
            let packets: Vec<Packet> = kinds.iter().map(|(at, seed, data)| {
                let kind = numbers[at % numbers.len()];
                let fields: Vec<u8> = seed.iter().copied().cycle().take(Body::len_of(kind, caps).unwrap()).collect();
                let data = if Body::max_data(kind) == 0 { Vec::new() } else { data.clone() };
                Packet { id: u64::from_le_bytes(*seed.first_chunk().unwrap()), body: Body::take(kind, &fields).unwrap(), data }
            }).collect();
            check(caps, &packets, &sizes);
        }

        #[test]
        fn any_bytes_are_read_in_bounded_memory(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), greeted in any::<bool>()) {
            let mut codec = Codec::new(Caps::OURS);
            codec.peer = greeted.then_some(Caps::OURS);
            for piece in pieces {
                codec.feed(&piece);
                while let Ok(Some(_)) = codec.take() {}
                prop_assert!(codec.buffered() <= (1 << 20) + 4096);
            }
        }
    }
}
