//! What the devices present sent, byte for byte, to be compared with bytes found elsewhere: strings as descriptors and
//! as the kernel keeps them, device, configuration and BOS descriptors.
use super::standard::{STRING, string_descriptor};
use super::text::characters;
use super::{Found, Kind, weight_of_equality};
use crate::usb::{StringKind, UsbDevice};
use std::collections::HashMap;

/// Bytes kept: real machines have a few thousand.
const MAX_BYTES: usize = 1 << 18;
/// Bytes compared at once.
const WINDOW: usize = 8;
/// Fewest bytes that are looked for.
const SHORTEST: usize = 4;

/// Everything that is known of the devices present.
#[derive(Debug, Clone, Default)]
pub struct Known {
    devices: usize,
    pieces: Vec<Piece>,
    /// Where each window of eight bytes was first seen: piece and offset.
    windows: HashMap<[u8; WINDOW], (u32, u32)>,
    /// Whether there was more than [`MAX_BYTES`].
    cut: bool,
}

#[derive(Debug, Clone)]
struct Piece {
    device: String,
    id: (u16, u16),
    part: KnownPart,
    bytes: Vec<u8>,
}

/// Which of a device's things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownPart {
    /// A string, as the descriptor that the device sent.
    String(StringKind, String),
    /// A string, as the kernel keeps it: UTF-8.
    Kept(StringKind, String),
    /// String descriptor zero.
    Languages,
    /// The device descriptor.
    Device,
    /// A configuration with all its descriptors: its number, from 0.
    Configuration(usize),
    /// The BOS descriptor with its capabilities.
    Bos,
}

impl KnownPart {
    /// What it is called in prose.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::String(kind, _) => kind.label().into(),
            Self::Kept(kind, _) => format!("{}, as the kernel keeps it", kind.label()),
            Self::Languages => "string descriptor zero".into(),
            Self::Device => "device descriptor".into(),
            Self::Configuration(index) => format!("configuration {index}"),
            Self::Bos => "BOS descriptor".into(),
        }
    }
}

/// Bytes that are a device's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMatch {
    /// Device name, for example `1-1`.
    pub device: String,
    /// idVendor and idProduct.
    pub id: (u16, u16),
    /// What of it.
    pub part: KnownPart,
    /// Where in that the bytes lie.
    pub at: u64,
    /// Bytes that all of it has.
    pub length: u64,
    /// Type of the descriptor that the first byte lies in; `None` for text that is no descriptor.
    pub kind: Option<u8>,
    /// Where in that descriptor the first byte lies.
    pub kind_at: u64,
    /// bLength of that descriptor.
    pub kind_length: Option<u8>,
    /// The characters that the bytes carry, of a string.
    pub visible: Option<String>,
    /// The language ids that the bytes carry, of string descriptor zero.
    pub languages: Vec<u16>,
    /// Other devices that have the same bytes in the same place of the same thing, of those looked at there.
    pub also: Vec<String>,
    /// Whether the offset is the one that a buffer beginning at its object's start would give.
    pub at_offset: bool,
}

impl Known {
    /// What is known of these devices.
    #[must_use]
    pub fn of(devices: &[UsbDevice]) -> Self {
        let mut known = Self {
            devices: devices.len(),
            ..Self::default()
        };
        let mut room = MAX_BYTES;
        // What a root hub says is the kernel's own and never went over a bus: where another device has the same, it is
        // that one's.
        let mut devices: Vec<&UsbDevice> = devices.iter().collect();
        devices.sort_by_key(|device| device.parent.is_none());
        for device in devices {
            for (part, bytes) in parts(device) {
                match room.checked_sub(bytes.len()) {
                    Some(left) => room = left,
                    None => known.cut = true,
                }
                if known.cut {
                    return known;
                }
                known.add(device, part, bytes);
            }
        }
        known
    }

    fn add(&mut self, device: &UsbDevice, part: KnownPart, bytes: Vec<u8>) {
        let piece = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        for (at, window) in (0..).zip(bytes.windows(WINDOW)) {
            if let Ok(window) = window.try_into() {
                self.windows.entry(window).or_insert((piece, at));
            }
        }
        self.pieces.push(Piece {
            device: device.name.clone(),
            id: (device.vendor, device.product_id),
            part,
            bytes,
        });
    }

    /// Number of things known, as words.
    #[must_use]
    pub fn describe(&self) -> String {
        let bytes: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        let cut = if self.cut { ", and there are more" } else { "" };
        format!(
            "{} strings and descriptors ({bytes} bytes{cut}) of {} devices",
            self.pieces.len(),
            self.devices
        )
    }

    /// Where the bytes lie in what is known: at the offset expected, else anywhere.
    pub(super) fn find(&self, bytes: &[u8], offset: Option<u64>) -> Option<Found> {
        if bytes.len() < SHORTEST {
            return None;
        }
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        self.at_offset(bytes, offset)
            .or_else(|| self.anywhere(bytes))
    }

    fn at_offset(&self, bytes: &[u8], offset: Option<usize>) -> Option<Found> {
        let at = offset?;
        let mut pieces = self.pieces.iter().filter(|piece| {
            let there = piece.bytes.get(at..at.saturating_add(bytes.len()));
            there == Some(bytes)
        });
        let piece = pieces.next()?;
        let also = pieces
            .filter(|other| other.part == piece.part && other.device != piece.device)
            .map(|other| other.device.clone())
            .collect();
        let mut found = piece.found(bytes, at, self.pieces.len(), true);
        if let Kind::Device(found) = &mut found.kind {
            found.also = also;
        }
        Some(found)
    }

    fn anywhere(&self, bytes: &[u8]) -> Option<Found> {
        let (piece, at) = match bytes.get(..WINDOW) {
            Some(window) => {
                let (piece, at) = self.windows.get(window)?;
                (self.pieces.get(*piece as usize)?, *at as usize)
            }
            None => self.pieces.iter().find_map(|piece| {
                let at = (piece.bytes.windows(bytes.len())).position(|part| part == bytes)?;
                Some((piece, at))
            })?,
        };
        // Longer than a window: as far as it goes on.
        let there = piece.bytes.get(at..)?;
        let same = there.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let positions = self.windows.len().max(1);
        Some(piece.found(bytes.get(..same)?, at, positions, false))
    }
}

impl Piece {
    /// `chances`: how many places the bytes were compared with.
    fn found(&self, bytes: &[u8], at: usize, chances: usize, at_offset: bool) -> Found {
        let penalty = usize::BITS - chances.leading_zeros();
        let (kind, kind_at, kind_length) = match self.part {
            KnownPart::Kept(..) => (None, at, None),
            _ => self.descriptor_at(at),
        };
        let visible = match self.part {
            KnownPart::String(..) => bytes.get(before_text(at)..).map(characters),
            KnownPart::Kept(..) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let languages = match self.part {
            KnownPart::Languages => bytes
                .get(before_text(at)..)
                .unwrap_or_default()
                .chunks_exact(2)
                .filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)))
                .collect(),
            _ => Vec::new(),
        };
        Found {
            bits: weight_of_equality(bytes).saturating_sub(penalty),
            explained: 0..bytes.len(),
            kind: Kind::Device(KnownMatch {
                device: self.device.clone(),
                id: self.id,
                part: self.part.clone(),
                at: at as u64,
                length: self.bytes.len() as u64,
                kind,
                kind_at: kind_at as u64,
                kind_length,
                visible,
                languages,
                also: Vec::new(),
                at_offset,
            }),
        }
    }

    /// Type, offset inside, and length of the descriptor that lies at `at`.
    fn descriptor_at(&self, at: usize) -> (Option<u8>, usize, Option<u8>) {
        let mut start = 0;
        loop {
            let length = self.bytes.get(start).copied();
            let kind = self.bytes.get(start + 1).copied();
            match length {
                // A length that leads nowhere ends the row.
                None | Some(0 | 1) => return (None, at, None),
                Some(length) if at < start + usize::from(length) => {
                    return (kind, at - start, Some(length));
                }
                Some(length) => start += usize::from(length),
            }
        }
    }
}

impl KnownMatch {
    /// All bytes of the thing that the bytes are a part of, as the device sent it: of a string, put together again from
    /// what the kernel keeps. `None` where none of these devices is the one.
    #[must_use]
    pub fn whole(&self, devices: &[UsbDevice]) -> Option<Vec<u8>> {
        let device = devices.iter().find(|device| device.name == self.device)?;
        let parts = parts(device).into_iter();
        let mut same = parts.filter(|(part, _)| *part == self.part);
        same.next().map(|(_, bytes)| bytes)
    }
}

/// Bytes from `at` in a string descriptor to the next whole character: the first two bytes are no text.
fn before_text(at: usize) -> usize {
    if at < 2 { 2 - at } else { at % 2 }
}

/// All that a device sent.
fn parts(device: &UsbDevice) -> Vec<(KnownPart, Vec<u8>)> {
    let mut parts = Vec::new();
    for (kind, text) in &device.strings {
        if let Some(bytes) = string_descriptor(text) {
            parts.push((KnownPart::String(*kind, text.clone()), bytes));
        }
    }
    parts.push((KnownPart::Device, device.device_descriptor.clone()));
    for (index, bytes) in device.configurations.iter().enumerate() {
        parts.push((KnownPart::Configuration(index), bytes.clone()));
    }
    if let Some(bytes) = &device.bos {
        parts.push((KnownPart::Bos, bytes.clone()));
    }
    if let Some(language) = device.language {
        let [low, high] = language.to_le_bytes();
        parts.push((KnownPart::Languages, vec![4, STRING, low, high]));
    }
    // What came over the wire before what the kernel made of it.
    for (kind, text) in &device.strings {
        parts.push((
            KnownPart::Kept(*kind, text.clone()),
            text.clone().into_bytes(),
        ));
    }
    parts
}
