//! System.map.

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(symbols) = recrash_debuginfo::system_map::parse(&text) {
        let _ = symbols.lookup(0xffff_ffff_8100_0010);
        let _ = symbols.address_of("_stext");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = "0000000000000000 D __per_cpu_start\nffffffff81000000 T _stext\n\
        ffffffff81000010 t usb_submit_urb\nffffffff82000000 B __bss_start\n";
    vec![text.as_bytes().to_vec()]
}
