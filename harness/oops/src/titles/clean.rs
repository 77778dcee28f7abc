//! What differs between two runs of one bug is taken out of a title: addresses, numbers, process names.
use regex::{Captures, Regex};
use std::sync::OnceLock;

/// Longer titles are mixed lines.
const LONGEST: usize = 120;

/// Patterns and what stands in their place, in order.
const VOLATILE: &[(&str, &str)] = &[
    // process names of fuzzers carry their number
    (r"syz-executor\.?[0-9]+((/|:)[0-9]+)?", "syz-executor"),
    (r"syzkaller[0-9]+((/|:)[0-9]+)?", "syzkaller"),
    (r"([^a-zA-Z0])(?:0x)?[0-9a-f]{6,}", "${1}ADDR"),
    (r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", "IP"),
    (r"(\.\w+)(:[0-9]+)+", "${1}:LINE"),
    (r"([a-zA-Z][a-zA-Z0-9_.]+)\+0x[0-9a-z]+/0x[0-9a-z]+", "${1}"),
    (r"CPU#[0-9]+", "CPU"),
];

/// The title without them.
pub(crate) fn clean(title: &str) -> String {
    let volatile = compiled();
    let title = volatile.iter().fold(one_line(title), |text, (regex, by)| {
        regex.replace_all(&text, *by).into_owned()
    });
    one_line(&without_numbers(&title))
}

fn compiled() -> &'static [(Regex, &'static str)] {
    static ALL: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    ALL.get_or_init(|| {
        VOLATILE
            .iter()
            .filter_map(|(pattern, by)| Some((Regex::new(pattern).ok()?, *by)))
            .collect()
    })
}

/// Decimal numbers that are words of their own, or end one after a sign: `NUM`.
fn without_numbers(title: &str) -> String {
    static NUMBER: OnceLock<Option<Regex>> = OnceLock::new();
    let Some(number) = NUMBER
        .get_or_init(|| Regex::new(r"(\W)(\d+)(\W|$)").ok())
        .as_ref()
    else {
        return title.to_owned();
    };
    let once = |text: &str| {
        number
            .replace_all(text, |found: &Captures<'_>| {
                format!(
                    "{}NUM{}",
                    found.get(1).map_or("", |m| m.as_str()),
                    found.get(3).map_or("", |m| m.as_str())
                )
            })
            .into_owned()
    };
    // Twice: neighbours share the character between them.
    once(&once(title))
}

/// Printable ASCII with single blanks, cut at the longest.
fn one_line(title: &str) -> String {
    let printable: String = title
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| matches!(c, ' '..='~'))
        .take(LONGEST)
        .collect();
    printable
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn what_changes_from_run_to_run_is_taken_out() {
        for (title, cleaned) in [
            ("BUG: x at ffff88002bde1e40", "BUG: x at ADDR"),
            ("BUG: x in foo+0x1a/0x20", "BUG: x in foo"),
            ("age=1 cpu=2,3", "age=NUM cpu=NUM,NUM"),
            ("at mm/slub.c:12!", "at mm/slub.c:LINE!"),
            ("on CPU#3\u{7}  x", "on CPU x"),
            ("in sha256_update", "in sha256_update"),
        ] {
            assert_eq!(clean(title), cleaned);
        }
    }
}
