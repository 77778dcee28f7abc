//! LZO1X.

pub fn run(bytes: &[u8]) {
    let mut page = [0; 4096];
    let filled = recrash_lzo::decompress(bytes, &mut page);
    if let Ok(filled) = filled {
        assert!(filled <= page.len());
        // The stream that a compressor makes of the same page gives it back.
        let packed = lzokay_native::compress(&page[..filled]).unwrap_or_default();
        let mut again = [0; 4096];
        assert_eq!(recrash_lzo::decompress(&packed, &mut again), Ok(filled));
        assert!(again[..filled] == page[..filled]);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text: Vec<u8> = b"page of text "
        .iter()
        .copied()
        .cycle()
        .take(4096)
        .collect();
    let steps: Vec<u8> = (0..4096_u32).map(|i| (i * i / 700) as u8).collect();
    [vec![0; 4096], text, steps]
        .iter()
        .filter_map(|page| lzokay_native::compress(page).ok())
        .collect()
}
