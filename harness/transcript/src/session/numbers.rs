//! Numbers as crash and gdb print them.

/// An address: sixteen hexadecimal digits, as crash pads them on x86-64.
pub(super) fn address(text: &str) -> Option<u64> {
    (text.len() == 16).then(|| hex(text))?
}

/// Hexadecimal digits without a prefix, at most sixteen.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits =
        !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok())?
}

/// `0x` and hexadecimal digits.
pub(super) fn prefixed(text: &str) -> Option<u64> {
    text.strip_prefix("0x").and_then(hex)
}

/// An address with or without `0x`, of a length that no small number has.
pub(super) fn loose_address(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    (digits.len() >= 8).then(|| hex(digits))?
}

/// A value of gdb's: hexadecimal, decimal or negative (wrapped to 64 bits); what follows a blank is left out.
pub(super) fn value(text: &str) -> Option<u64> {
    let word = text.split_ascii_whitespace().next()?.trim_end_matches(',');
    prefixed(word)
        .or_else(|| word.parse().ok())
        .or_else(|| word.parse::<i64>().ok().map(i64::cast_unsigned))
}

/// `171`, `0xab`: an offset behind a symbol.
pub(super) fn offset(text: &str) -> Option<u64> {
    prefixed(text).or_else(|| text.parse().ok())
}

/// `__kmalloc+171` as symbol and offset; a symbol alone has offset 0.
pub(super) fn place(text: &str) -> Option<(String, u64)> {
    let (symbol, offset_text) = text.split_once('+').unwrap_or((text, "0"));
    is_symbol(symbol).then(|| Some((symbol.to_owned(), offset(offset_text)?)))?
}

/// Whether a word can be the name of a function or variable.
pub(super) fn is_symbol(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b"_.$".contains(&b))
        && text.len() <= 512
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.$".contains(&b))
}
