//! Fuzz targets for every parser that takes bytes from a dump, a file, a device or a guest.
//!
//! A target is a module of `targets` with two functions: `run`, which takes any bytes and may
//! return anything but never panics, hangs or takes memory by what the bytes say; and `seeds`,
//! which writes valid inputs by `recrash-synth`, so that no binary is kept in the repository.
//!
//! To add one: the module, a line in [`TARGETS`], `fuzz_targets/NAME.rs` (one line) and its
//! `[[bin]]` in Cargo.toml.

pub mod targets;

/// One fuzz target.
pub struct Target {
    /// Name of its binary and of its corpus folder.
    pub name: &'static str,
    /// What libFuzzer calls.
    pub run: fn(&[u8]),
    /// Valid inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[
            $(Target {
                name: stringify!($name),
                run: targets::$name::run,
                seeds: targets::$name::seeds,
            }),+
        ];
    };
}
targets!(
    elf,
    kdump,
    flattened,
    split,
    notes,
    paging,
    lzo,
    kallsyms,
    kallsyms_find,
    btf,
    orc,
    dwarf,
    system_map,
    image,
    decode,
    signature,
    usbpcap,
    usbredir,
    oops,
    transcript,
);
