//! Places in code and lines of a call trace: `func+0x1/0x2 [module]` in all layouts.
use super::{Frame, Place};

/// A C identifier of the kernel with the suffixes of compilers; longer ones are not symbols (`KSYM_NAME_LEN` is 512).
const LONGEST_SYMBOL: usize = 512;

/// One line of a call trace; `None` where it is none.
///
/// - 2.6 to 4.9: ` [<ffffffff81234567>] ? func+0x1/0x2 [module]` (arch/x86/kernel/dumpstack.c, `printk_stack_address`)
/// - later: ` ? func+0x1/0x2 [module]`, from 5.16 on `[module build-id]` where configured
/// - symbolised: ` func+0x1/0x2 dir/file.c:12 [inline]`, ` [<     inline     >] func dir/file.c:12`,
///   ` func (dir/file.c:12) module` (scripts/decode_stacktrace.sh)
pub(super) fn frame(text: &str, stack: Option<&str>) -> Option<Frame> {
    let (mut rest, mut reliable) = (text.trim(), true);
    let mut address = None;
    let mut inlined = false;
    // A question mark stands before the address or after it.
    for _ in 0..2 {
        if let Some(after) = rest.strip_prefix("? ") {
            (rest, reliable) = (after.trim_start(), false);
        }
        if let Some((value, after)) = bracketed(rest) {
            inlined |= value.is_none();
            (address, rest) = (value, after);
        }
    }
    let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut place = symbol(word)?;
    let tail = tail_of(tail);
    inlined |= tail.inlined;
    let addressed = address.is_some() || place.address.is_some();
    let located = place.offset.is_some() || addressed && tail.rest == 0;
    let known = located || tail.source.is_some() && (inlined || tail.parenthesised);
    if !known || tail.rest > 0 && !located {
        return None;
    }
    place.address = place.address.or(address);
    place.module = tail.module;
    Some(Frame {
        place,
        reliable,
        stack: stack.map(str::to_owned),
        inlined,
        source: tail.source,
    })
}

/// What follows `RIP: 0010:`, and what is after it.
pub(super) fn place(text: &str) -> Option<Place> {
    let mut rest = text.trim();
    let mut address = None;
    // `[<ffffffff81234567>] [<ffffffff81234567>] func+0x1/0x2`: printed once raw, once by `printk_address`.
    for _ in 0..2 {
        if let Some((value, after)) = bracketed(rest) {
            (address, rest) = (address.or(value), after);
        }
    }
    let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    // `%pB` of 0 was `(null)` before 4.20.
    let number = match word {
        "(null)" => Some(0),
        _ => hex_with_0x(word),
    };
    if let Some(value) = number {
        return Some(Place {
            address: Some(value),
            ..nowhere()
        });
    }
    let tail = tail_of(tail);
    match symbol(word).filter(|found| found.offset.is_some() || tail.parenthesised) {
        Some(found) => Some(Place {
            address,
            module: tail.module,
            ..found
        }),
        None => address.map(|address| Place {
            address: Some(address),
            ..nowhere()
        }),
    }
}

fn nowhere() -> Place {
    Place {
        symbol: None,
        offset: None,
        size: None,
        module: None,
        address: None,
    }
}

/// `[<ffffffff81234567>]`, or `[<     inline     >]`, whose address is none.
fn bracketed(text: &str) -> Option<(Option<u64>, &str)> {
    let (inner, rest) = text.strip_prefix("[<")?.split_once(">]")?;
    let inner = inner.trim();
    let address = hex(inner.strip_prefix("0x").unwrap_or(inner));
    let known = inner == "inline" || address.is_some();
    known.then(|| (address, rest.trim_start()))
}

/// `func+0x1/0x2`, `func`, or `0xffffffff81234567`.
fn symbol(word: &str) -> Option<Place> {
    if let Some(address) = hex_with_0x(word) {
        return (word.len() > 10).then(|| Place {
            address: Some(address),
            ..nowhere()
        });
    }
    let (name, numbers) = match word.split_once("+0x") {
        Some((name, numbers)) => (name, Some(numbers)),
        None => (word, None),
    };
    let named = !name.is_empty() && name.len() <= LONGEST_SYMBOL && name.chars().all(of_symbol);
    let begins = name.starts_with(|c: char| !c.is_ascii_digit());
    if !named || !begins {
        return None;
    }
    let (offset, size) = match numbers {
        None => (None, None),
        Some(numbers) => {
            let (offset, size) = numbers.split_once("/0x")?;
            (Some(hex(offset)?), Some(hex(size)?))
        }
    };
    Some(Place {
        symbol: Some(name.to_owned()),
        offset,
        size,
        ..nowhere()
    })
}

fn of_symbol(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '@' | ':')
}

/// What stands after a symbol.
#[derive(Default)]
struct Tail {
    module: Option<String>,
    source: Option<String>,
    inlined: bool,
    parenthesised: bool,
    /// Words that are nothing of this.
    rest: usize,
}

fn tail_of(text: &str) -> Tail {
    let mut tail = Tail::default();
    let mut rest = text.trim();
    let parenthesis = rest
        .strip_prefix('(')
        .and_then(|inner| inner.split_once(')'));
    if let Some((source, after)) = parenthesis {
        let source = source.split(' ').next().unwrap_or_default();
        tail.parenthesised = is_source(source);
        tail.source = tail.parenthesised.then(|| source.to_owned());
        rest = after.trim_start_matches(')').trim();
        if tail.parenthesised && is_module(rest) {
            tail.module = Some(rest.to_owned());
            rest = "";
        }
    }
    // Two words of a bracket (`[module build-id]`) are one piece; 8 pieces are more than any layout has.
    for _ in 0..8 {
        let Some(piece) = piece(&mut rest) else {
            return tail;
        };
        let inner = piece
            .strip_prefix('[')
            .and_then(|piece| piece.strip_suffix(']'));
        let module = inner.map(|inner| inner.split(' ').next().unwrap_or_default());
        match module {
            Some("inline") => tail.inlined = true,
            Some(name) if is_module(name) => tail.module = Some(name.to_owned()),
            None if is_source(piece) => tail.source = Some(piece.to_owned()),
            _ => tail.rest += 1,
        }
    }
    tail.rest += usize::from(!rest.is_empty());
    tail
}

/// The next word, or all of the next bracket.
fn piece<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start();
    let end = match text.strip_prefix('[') {
        Some(inner) => inner.find(']').map_or(text.len(), |end| end + 2),
        None => text.find(' ').unwrap_or(text.len()),
    };
    let (piece, after) = text.split_at_checked(end)?;
    *rest = after;
    (!piece.is_empty()).then_some(piece)
}

/// `dir/file.c:12`, `file.h:12:3`.
fn is_source(word: &str) -> bool {
    let Some((file, line)) = word.split_once(':') else {
        return false;
    };
    let numbered = line.starts_with(|c: char| c.is_ascii_digit() || c == '?');
    let numbers = line
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ':' | '?'));
    file.contains('.') && numbered && numbers
}

/// Names of modules: kbuild replaces `-` by `_` (scripts/Makefile.lib).
pub(super) fn is_module(name: &str) -> bool {
    let fits = (1..=64).contains(&name.len());
    fits && name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// 1 to 16 hexadecimal digits.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits =
        (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

pub(super) fn hex_with_0x(text: &str) -> Option<u64> {
    hex(text.strip_prefix("0x")?)
}
