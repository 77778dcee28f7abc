#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| recrash_fuzz::targets::usbpcap::run(bytes));
