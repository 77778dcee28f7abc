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

    /// The capabilities in force: none before the peer's hello.
    pub fn caps(&self) -> Caps {
        self.ours.both(self.peer.unwrap_or_default())
    }

    /// Adds received bytes; [`Codec::next`] takes packets out.
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
    pub fn next(&mut self) -> Result<Option<Found>, CodecError> {
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
