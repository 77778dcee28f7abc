//! From the lines of one report to its titles: the first rule that fits, the guilty frame, what is volatile taken out.
//!
//! Which lines belong to the report is decided in `scope`; this module sees them only.
pub(crate) mod clean;
pub(crate) mod frame;
pub(crate) mod helpers;
pub(crate) mod pick;
pub(crate) mod rule;
pub(crate) mod rules;
pub(crate) mod trail;

use regex::RegexSet;
use std::sync::OnceLock;

use crate::report::Kind;
use rule::Rule;
use trail::Guilty;

/// What the rules say of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Titled {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    pub(crate) alternatives: Vec<String>,
    pub(crate) function: Option<String>,
    pub(crate) corrupted: Option<String>,
    /// A frame was looked for and not found.
    pub(crate) frameless: bool,
}

struct Headlines {
    rules: Vec<&'static Rule>,
    heads: RegexSet,
    not: regex::Regex,
}

fn headlines() -> Option<&'static Headlines> {
    static ALL: OnceLock<Option<Headlines>> = OnceLock::new();
    ALL.get_or_init(|| {
        let rules: Vec<&'static Rule> = rules::all().collect();
        let heads = RegexSet::new(rules.iter().map(|rule| rule::expand(rule.head))).ok()?;
        let not = regex::Regex::new(rules::NO_REPORTS).ok()?;
        Some(Headlines { rules, heads, not })
    })
    .as_ref()
}

/// Words of which every headline has one: most lines need no closer look.
const WORDS: [&str; 13] = [
    "BUG",
    "WARNING:",
    "INFO:",
    "fault",
    "stack segment",
    "anic",
    "error:",
    "Oops",
    "UBSAN:",
    "LOCKUP",
    "VFS: ",
    "SYZFA",
    "rap: ",
];
const MORE_WORDS: [&str; 5] = [
    "unregister_netdevice:",
    "Unable to handle",
    "divide",
    "opcode",
    "Booting the kernel",
];

/// The rules whose headline this line is, in order; none where it is no headline.
pub(crate) fn rules_of(text: &str) -> Vec<&'static Rule> {
    if !WORDS
        .iter()
        .chain(&MORE_WORDS)
        .any(|word| text.contains(word))
        && !text.contains("[#")
    {
        return Vec::new();
    }
    let Some(all) = headlines() else {
        return Vec::new();
    };
    let found: Vec<&'static Rule> = all
        .heads
        .matches(text)
        .into_iter()
        .filter_map(|index| all.rules.get(index).copied())
        .collect();
    if found.is_empty() || all.not.is_match(text) {
        Vec::new()
    } else {
        found
    }
}

/// The titles of a report: `texts` are its lines, the headline first.
pub(crate) fn titled(texts: &[&str]) -> Option<Titled> {
    let headline = texts.first()?;
    let rules = rules_of(headline);
    let first = rules.first()?;
    let fits = rules
        .iter()
        .find_map(|rule| Some((*rule, captures(rule, texts)?)));
    let Some((rule, words)) = fits else {
        return Some(unfitting(first.kind, headline));
    };
    let mut titled = fill(rule, &words, texts);
    if rule.general && !first.general {
        titled.corrupted = Some(MISSING.to_owned());
    }
    Some(titled)
}

const MISSING: &str = "lines that belong to this headline are missing";

/// The headline is known, and the lines that belong to it are missing.
fn unfitting(kind: Kind, headline: &str) -> Titled {
    Titled {
        kind,
        title: clean::clean(headline),
        alternatives: Vec::new(),
        function: None,
        corrupted: Some(MISSING.to_owned()),
        frameless: true,
    }
}

/// What headline and following lines capture, in order; `None` where one of those lines is missing.
fn captures(rule: &Rule, texts: &[&str]) -> Option<Vec<String>> {
    let (headline, mut rest) = texts.split_first()?;
    let mut words = groups(rule.head, headline)?;
    for pattern in rule.then {
        let (at, found) = rest
            .iter()
            .enumerate()
            .find_map(|(at, text)| Some((at, groups(pattern, text)?)))?;
        words.extend(found);
        rest = rest.get(at + 1..)?;
    }
    Some(words)
}

fn groups(pattern: &'static str, text: &str) -> Option<Vec<String>> {
    let found = rule::regex(pattern)?.captures(text)?;
    Some(
        found
            .iter()
            .skip(1)
            .flatten()
            .map(|group| group.as_str().to_owned())
            .collect(),
    )
}

fn fill(rule: &Rule, words: &[String], texts: &[&str]) -> Titled {
    let guilty = (!rule.trail.ways.is_empty()).then(|| trail::guilty(&rule.trail, texts));
    let name = |guilty: &Option<Guilty>| match guilty {
        Some(Guilty {
            name: Some(name), ..
        }) => name.clone(),
        _ => "corrupted".to_owned(),
    };
    let title = put(rule.title, words, &name(&guilty));
    let mut alternatives: Vec<String> = rule
        .alternatives
        .iter()
        .map(|shape| put(shape, words, &name(&guilty)))
        .collect();
    if let Some(full) = guilty.as_ref().and_then(|guilty| guilty.full.clone()) {
        let shapes = std::iter::once(&rule.title).chain(rule.alternatives);
        alternatives.extend(shapes.map(|shape| put(shape, words, &full)));
    }
    alternatives.retain(|other| *other != title);
    let function = match &guilty {
        Some(guilty) => guilty.name.clone(),
        None => words
            .last()
            .filter(|word| {
                rule.title.ends_with(&format!("in {{{}}}", words.len())) && is_name(word)
            })
            .cloned(),
    };
    let corrupted = corruption(rule, &title, guilty.as_ref(), texts);
    Titled {
        kind: rule.kind,
        title,
        alternatives,
        function,
        corrupted,
        frameless: guilty.is_some_and(|guilty| guilty.name.is_none()),
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The shape with its places filled in.
fn put(shape: &str, words: &[String], function: &str) -> String {
    let mut title = shape.to_owned();
    for (index, word) in words.iter().enumerate() {
        title = title.replace(&format!("{{{}}}", index + 1), &plain_word(word));
    }
    clean::clean(&title.replace("{f}", function))
}

/// Captured words are text, except names of functions, which lose their wrappers.
fn plain_word(word: &str) -> String {
    if is_name(word) {
        frame::plain(word)
    } else {
        word.to_owned()
    }
}

fn corruption(rule: &Rule, title: &str, guilty: Option<&Guilty>, texts: &[&str]) -> Option<String> {
    if rule.remnant {
        return Some("the rest of a report whose headline is lost".to_owned());
    }
    if let Some(guilty) = guilty {
        if guilty.mixed {
            return Some("another stack is mixed into this one".to_owned());
        }
        if guilty.name.is_none() {
            return Some("no frame that could be guilty was found".to_owned());
        }
    }
    if rule::regex(r"\[ *[0-9]+\.(?:[0-9]+|NUM)\]").is_some_and(|time| time.is_match(title)) {
        return Some("another line is mixed into the headline".to_owned());
    }
    if rule.traceless {
        None
    } else {
        trail::incomplete(texts).map(str::to_owned)
    }
}
