//! Writes BTF record by record, valid or not. Checks nothing: a test says what it wants.

/// A member of a struct or union as written.
#[derive(Clone, Copy, Debug)]
pub struct MemberSpec<'a> {
    /// Empty for anonymous.
    pub name: &'a str,
    /// Type id.
    pub type_id: u32,
    /// Bits from the start.
    pub bit_offset: u32,
    /// Bit-field size, 0 for none; any other than 0 makes the struct's members carry sizes.
    pub bit_size: u32,
}

impl<'a> MemberSpec<'a> {
    /// An ordinary member at a byte offset.
    #[must_use]
    pub fn at(byte: u32, name: &'a str, type_id: u32) -> Self {
        Self {
            name,
            type_id,
            bit_offset: byte * 8,
            bit_size: 0,
        }
    }

    /// A bit field at a bit offset.
    #[must_use]
    pub fn bits(bit_offset: u32, bit_size: u32, name: &'a str, type_id: u32) -> Self {
        Self {
            name,
            type_id,
            bit_offset,
            bit_size,
        }
    }
}

/// Collects records; every method that adds one gives its type id.
#[derive(Clone, Debug)]
pub struct BtfWriter {
    types: Vec<u8>,
    strings: Vec<u8>,
    next_id: u32,
    string_base: u32,
}

impl Default for BtfWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl BtfWriter {
    /// A BTF of its own, as vmlinux has.
    #[must_use]
    pub fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            next_id: 1,
            string_base: 0,
        }
    }

    /// Split BTF on top of `base`, as modules have.
    #[must_use]
    pub fn on_top_of(base: &Self) -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            next_id: base.next_id,
            string_base: base.string_base + base.strings.len() as u32,
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.string_base + self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// Any record: the three common words and what follows.
    pub fn record(
        &mut self,
        name: &str,
        kind: u32,
        vlen: u32,
        flag: bool,
        word: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = kind * 0x0100_0000 + vlen + if flag { 0x8000_0000 } else { 0 };
        for value in [name, info, word].iter().chain(tail) {
            self.types.extend_from_slice(&value.to_le_bytes());
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// An integer of all its bits.
    pub fn int(&mut self, name: &str, bytes: u32, signed: bool) -> u32 {
        let bits = bytes * 8;
        self.record(
            name,
            1,
            0,
            false,
            bytes,
            &[bits + if signed { 1 << 24 } else { 0 }],
        )
    }

    /// A pointer.
    pub fn pointer(&mut self, to: u32) -> u32 {
        self.record("", 2, 0, false, to, &[])
    }

    /// An array.
    pub fn array(&mut self, element: u32, count: u32) -> u32 {
        self.record("", 3, 0, false, 0, &[element, element, count])
    }

    /// A struct; empty name for an anonymous one.
    pub fn structure(&mut self, name: &str, bytes: u32, members: &[MemberSpec<'_>]) -> u32 {
        self.composite(4, name, bytes, members)
    }

    /// A union.
    pub fn union(&mut self, name: &str, bytes: u32, members: &[MemberSpec<'_>]) -> u32 {
        self.composite(5, name, bytes, members)
    }

    fn composite(&mut self, kind: u32, name: &str, bytes: u32, members: &[MemberSpec<'_>]) -> u32 {
        let sized = members.iter().any(|m| m.bit_size != 0);
        let mut tail = Vec::new();
        for m in members {
            let place = if sized {
                m.bit_offset + (m.bit_size << 24)
            } else {
                m.bit_offset
            };
            tail.extend([self.string(m.name), m.type_id, place]);
        }
        self.record(name, kind, members.len() as u32, sized, bytes, &tail)
    }

    /// A 32-bit enum.
    pub fn enumeration(&mut self, name: &str, values: &[(&str, i32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, value) in values {
            tail.extend([self.string(name), *value as u32]);
        }
        self.record(name, 6, values.len() as u32, false, 4, &tail)
    }

    /// A 64-bit enum.
    pub fn enumeration64(&mut self, name: &str, values: &[(&str, i64)]) -> u32 {
        let mut tail = Vec::new();
        for (name, value) in values {
            tail.extend([self.string(name), *value as u32, (*value >> 32) as u32]);
        }
        self.record(name, 19, values.len() as u32, true, 8, &tail)
    }

    /// A forward declaration of a struct.
    pub fn forward(&mut self, name: &str) -> u32 {
        self.record(name, 7, 0, false, 0, &[])
    }

    /// A typedef.
    pub fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.record(name, 8, 0, false, of, &[])
    }

    /// A const.
    pub fn constant(&mut self, of: u32) -> u32 {
        self.record("", 10, 0, false, of, &[])
    }

    /// A prototype; a parameter without name and type ends a variadic one.
    pub fn prototype(&mut self, returns: u32, params: &[(&str, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, type_id) in params {
            tail.extend([self.string(name), *type_id]);
        }
        self.record("", 13, params.len() as u32, false, returns, &tail)
    }

    /// A function.
    pub fn function(&mut self, name: &str, prototype: u32) -> u32 {
        self.record(name, 12, 0, false, prototype, &[])
    }

    /// A declaration tag.
    pub fn decl_tag(&mut self, name: &str, on: u32) -> u32 {
        self.record(name, 17, 0, false, on, &[u32::MAX])
    }

    /// A type tag.
    pub fn type_tag(&mut self, name: &str, on: u32) -> u32 {
        self.record(name, 18, 0, false, on, &[])
    }

    /// Header and both sections.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut out = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_le_bytes(word));
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }
}
