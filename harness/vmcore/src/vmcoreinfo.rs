//! VMCOREINFO: the `KEY=value` text that a kernel publishes about itself for dump tools
//! (kernel/crash_core.c, arch/x86/kernel/crash_core_64.c; later kernel/vmcore_info.c).
//!
//! What the values mean to the kernel is for the caller.

use std::collections::BTreeMap;

/// VMCOREINFO, parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vmcoreinfo {
    values: BTreeMap<String, String>,
}

impl Vmcoreinfo {
    /// Reads `KEY=value` lines; lines without `=` are skipped, of a key that comes twice the last
    /// one counts, and NUL ends the text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        let values = text
            .split(|&b| b == b'\n')
            .map(String::from_utf8_lossy)
            .filter_map(|line| {
                let (key, value) = line.split_once('=')?;
                Some((key.trim().to_owned(), value.trim().to_owned()))
            })
            .collect();
        Self { values }
    }

    /// Every key and value, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The value of a whole key, such as `PAGESIZE` or `SYMBOL(_stext)`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// `SYMBOL(name)`: its address in the running kernel (with the KASLR offset).
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u64> {
        hex(self.wrapped("SYMBOL", name)?)
    }

    /// `SIZE(name)`: size of a type or object in bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        self.wrapped("SIZE", name)?.parse().ok()
    }

    /// `OFFSET(struct.field)`: in bytes.
    #[must_use]
    pub fn offset(&self, field: &str) -> Option<u64> {
        self.wrapped("OFFSET", field)?.parse().ok()
    }

    /// `LENGTH(name)`: number of elements of an array.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<u64> {
        self.wrapped("LENGTH", name)?.parse().ok()
    }

    /// `NUMBER(name)`: decimal, or hexadecimal with `0x`.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        let value = self.wrapped("NUMBER", name)?;
        match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
            // Unsigned values above i64::MAX keep their bits.
            None => (value.parse().ok()).or_else(|| value.parse().ok().map(u64::cast_signed)),
        }
    }

    /// `OSRELEASE`: as `uname -r` shows it.
    #[must_use]
    pub fn osrelease(&self) -> Option<&str> {
        self.get("OSRELEASE")
    }

    /// `BUILD-ID` of vmlinux in hexadecimal (kernel 5.9 and later).
    #[must_use]
    pub fn build_id(&self) -> Option<&str> {
        self.get("BUILD-ID")
    }

    /// `KERNELOFFSET`: what KASLR added to every address of the kernel image, in bytes.
    #[must_use]
    pub fn kernel_offset(&self) -> Option<u64> {
        hex(self.get("KERNELOFFSET")?)
    }

    fn wrapped(&self, kind: &str, name: &str) -> Option<&str> {
        self.get(&format!("{kind}({name})"))
    }
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"OSRELEASE=6.1.0-56-amd64\nBUILD-ID=0123abcd\nPAGESIZE=4096\n\
        SYMBOL(swapper_pg_dir)=ffffffff8a610000\nSIZE(page)=64\nOFFSET(page.flags)=0\n\
        LENGTH(mem_section)=2048\nNUMBER(phys_base)=-16777216\nNUMBER(mask)=0xff\n\
        NUMBER(sme_mask)=18446744073709551615\nKERNELOFFSET=7c00000\nno equals sign\n\0OSRELEASE=x\n";

    #[test]
    fn values_are_found_by_kind_and_name() {
        let info = Vmcoreinfo::parse(TEXT);
        assert_eq!(info.osrelease(), Some("6.1.0-56-amd64"));
        assert_eq!(info.build_id(), Some("0123abcd"));
        assert_eq!(info.symbol("swapper_pg_dir"), Some(0xffff_ffff_8a61_0000));
        assert_eq!(info.size("page"), Some(64));
        assert_eq!(info.offset("page.flags"), Some(0));
        assert_eq!(info.length("mem_section"), Some(2048));
        assert_eq!(info.kernel_offset(), Some(0x7c0_0000));
        assert_eq!(info.symbol("absent"), None);
        assert_eq!(info.get("no equals sign"), None);
    }

    #[test]
    fn numbers_are_signed_unsigned_or_hexadecimal() {
        let info = Vmcoreinfo::parse(TEXT);
        assert_eq!(info.number("phys_base"), Some(-16_777_216));
        assert_eq!(info.number("mask"), Some(255));
        assert_eq!(info.number("sme_mask"), Some(-1));
        assert_eq!(info.number("absent"), None);
    }

    #[test]
    fn a_value_that_is_no_number_is_absent() {
        let info = Vmcoreinfo::parse(b"SYMBOL(a)=xyz\nSIZE(b)=-1\nNUMBER(c)=\nKERNELOFFSET=\n");
        assert_eq!(info.symbol("a"), None);
        assert_eq!(info.size("b"), None);
        assert_eq!(info.number("c"), None);
        assert_eq!(info.kernel_offset(), None);
    }
}
