//! Writes one DWARF 4 unit (dwarfstd.org, sections 7.5 and 7.6) and ELF files with sections. Every entry gets an
//! abbreviation of its own, which is legal and simple. No line tables.

/// The value of an attribute; its form follows from it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// `DW_FORM_string`.
    Text(&'a str),
    /// `DW_FORM_udata`.
    Number(u64),
    /// `DW_FORM_sdata`.
    Signed(i64),
    /// `DW_FORM_addr`.
    Address(u64),
    /// `DW_FORM_ref4`: the entry with this number, counted from 0 in the order of writing.
    Entry(usize),
    /// `DW_FORM_flag_present`.
    Flag,
}

/// A unit being written.
#[derive(Debug, Default)]
pub struct Unit {
    entries: Vec<u8>,
    abbreviations: Vec<u8>,
    offsets: Vec<usize>,
    references: Vec<(usize, usize)>,
    open: usize,
}

/// Bytes before the first entry: length, version, abbreviations, address size.
const HEADER: usize = 11;

impl Unit {
    /// Begins an entry with children, which follow until [`Unit::close`].
    pub fn open(&mut self, tag: u16, attributes: &[(u16, Value<'_>)]) -> usize {
        self.open += 1;
        self.entry(tag, true, attributes)
    }

    /// Ends the children of the innermost open entry.
    pub fn close(&mut self) {
        self.open -= 1;
        self.entries.push(0);
    }

    /// Writes an entry without children.
    pub fn leaf(&mut self, tag: u16, attributes: &[(u16, Value<'_>)]) -> usize {
        self.entry(tag, false, attributes)
    }

    fn entry(&mut self, tag: u16, children: bool, attributes: &[(u16, Value<'_>)]) -> usize {
        let number = self.offsets.len();
        self.offsets.push(HEADER + self.entries.len());
        uleb(&mut self.entries, number as u64 + 1);
        uleb(&mut self.abbreviations, number as u64 + 1);
        uleb(&mut self.abbreviations, tag.into());
        self.abbreviations.push(u8::from(children));
        for (name, value) in attributes {
            uleb(&mut self.abbreviations, (*name).into());
            let form = self.value(value);
            self.abbreviations.push(form);
        }
        self.abbreviations.extend([0, 0]);
        number
    }

    /// Writes a value and gives its form.
    fn value(&mut self, value: &Value<'_>) -> u8 {
        match *value {
            Value::Text(text) => {
                self.entries.extend(text.bytes());
                self.entries.push(0);
                0x08
            }
            Value::Number(number) => {
                uleb(&mut self.entries, number);
                0x0f
            }
            Value::Signed(number) => {
                sleb(&mut self.entries, number);
                0x0d
            }
            Value::Address(address) => {
                self.entries.extend(address.to_le_bytes());
                0x01
            }
            Value::Entry(number) => {
                self.references.push((self.entries.len(), number));
                self.entries.extend([0; 4]);
                0x13
            }
            Value::Flag => 0x19,
        }
    }

    /// `.debug_info` and `.debug_abbrev`.
    pub fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        while self.open > 0 {
            self.close();
        }
        for (at, number) in &self.references {
            let offset = self.offsets.get(*number).map_or(0, |o| *o as u32);
            self.entries[*at..*at + 4].copy_from_slice(&offset.to_le_bytes());
        }
        let mut info = Vec::new();
        info.extend(((HEADER - 4 + self.entries.len()) as u32).to_le_bytes());
        info.extend(4u16.to_le_bytes());
        info.extend(0u32.to_le_bytes());
        info.push(8);
        info.extend(self.entries);
        self.abbreviations.push(0);
        (info, self.abbreviations)
    }
}

/// A section: name, `sh_flags`, contents.
pub type Section<'a> = (&'a str, u64, &'a [u8]);

/// An ELF executable for x86-64 with nothing but sections.
pub fn elf(sections: &[Section<'_>]) -> Vec<u8> {
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut headers = vec![[0u8; 64]];
    let mut add = |name: &str, kind: u32, flags: u64, bytes: &[u8]| {
        let mut header = [0; 64];
        header[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        names.extend(name.bytes());
        names.push(0);
        let bytes = if kind == 3 {
            names.clone()
        } else {
            bytes.to_vec()
        };
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[8..16].copy_from_slice(&flags.to_le_bytes());
        header[24..32].copy_from_slice(&(64 + contents.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        contents.extend(bytes);
        headers.push(header);
    };
    for (name, flags, bytes) in sections {
        add(name, 1, *flags, bytes);
    }
    add(".shstrtab", 3, 0, &[]);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.resize(40, 0);
    file.extend((64 + contents.len() as u64).to_le_bytes());
    file.resize(52, 0);
    for half in [64, 56, 0, 64, headers.len(), headers.len() - 1] {
        file.extend((half as u16).to_le_bytes());
    }
    file.extend(contents);
    file.extend(headers.concat());
    file
}

fn uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn sleb(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}
