//! A kernel's configuration (`config-<release>`, `.config`) as something that can be asked: what a kernel offers is told
//! by it before anything boots. Sets nothing.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest configuration that is read, in bytes; Debian's has a quarter of a MiB.
const MAX_BYTES: u64 = 8 << 20;

/// The options of a kernel, each without `CONFIG_`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelConfig {
    /// Values as they are written; `None` for "is not set".
    options: BTreeMap<String, Option<String>>,
}

impl KernelConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// The file system's; a file that is larger than any configuration.
    pub fn load(file: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(file)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            let what = "larger than any kernel's configuration";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Reads the text (Linux, Documentation/kbuild/kconfig.rst); what is no option is passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let option = |line: &str| {
            if let Some(line) = line.strip_prefix("CONFIG_") {
                let (name, value) = line.split_once('=')?;
                return Some((name.to_owned(), Some(value.trim().to_owned())));
            }
            let unset = line
                .strip_prefix("# CONFIG_")?
                .strip_suffix(" is not set")?;
            Some((unset.to_owned(), None))
        };
        Self {
            options: text.lines().filter_map(option).collect(),
        }
    }

    /// Whether it is `y` or `m`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        matches!(self.value(name), Some("y" | "m"))
    }

    /// Whether the kernel's source has such an option at all, on or off, where what it depends on is on.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The value as it is written.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#\n# Linux/x86 6.1 Kernel Configuration\n#\nCONFIG_SLUB_DEBUG=y\nCONFIG_USB=m\nCONFIG_HZ=250\n\
                        # CONFIG_KASAN is not set\n";

    fn check(name: &str, has: bool, knows: bool, value: Option<&str>) {
        let config = KernelConfig::parse(TEXT);
        let found = (config.has(name), config.knows(name), config.value(name));
        assert_eq!(found, (has, knows, value), "{name}");
    }

    #[test]
    fn an_option_is_on_off_or_not_there() {
        check("SLUB_DEBUG", true, true, Some("y"));
        check("USB", true, true, Some("m"));
        check("HZ", false, true, Some("250"));
        check("KASAN", false, true, None);
        check("KFENCE", false, false, None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = KernelConfig::parse(&text);
        }
    }
}
