//! A fragment of a kernel configuration: what it asks for, and what of that the kernel's own tool did not take.
//! Runs nothing.
use std::collections::BTreeMap;
use std::fmt;

const UNSET: &str = " is not set";

/// What a fragment asks for, by option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    wanted: BTreeMap<String, Option<String>>,
}

/// An option that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// With `CONFIG_`.
    pub option: String,
    /// As in the file; `None` for not set.
    pub wanted: Option<String>,
    /// As in the configuration that came out; `None` for not set.
    pub got: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        write!(
            out,
            "{}: {} asked for, {} came out",
            self.option,
            word(&self.wanted),
            word(&self.got)
        )
    }
}

impl Fragment {
    /// Reads `CONFIG_X=value`, `# CONFIG_X is not set` and comments.
    ///
    /// # Errors
    /// The line that is none of them, or asks twice for an option.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut wanted = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            let is_comment = line.is_empty() || line.starts_with('#');
            let refuse = |what: &str| format!("line {}: {what}: {line:?}", number + 1);
            match setting(line) {
                Some((option, value)) => {
                    if wanted.insert(option.to_owned(), value).is_some() {
                        return Err(refuse("asks for an option a second time"));
                    }
                }
                None if is_comment => {}
                None => return Err(refuse("neither an option nor a comment")),
            }
        }
        Ok(Self { wanted })
    }

    /// Asks for what the other asks for too; where both name an option, as the other does.
    pub(super) fn override_with(&mut self, other: Self) {
        self.wanted.extend(other.wanted);
    }

    /// The same as a file for the kernel's own tool.
    pub(super) fn text(&self) -> String {
        let lines = self.wanted.iter().map(|(option, value)| match value {
            Some(value) => format!("{option}={value}\n"),
            None => format!("# {option}{UNSET}\n"),
        });
        lines.collect()
    }

    /// `CONFIG_LOCALVERSION`, which ends `uname -r`; empty without one.
    pub(super) fn local_version(&self) -> &str {
        let value = self.wanted.get("CONFIG_LOCALVERSION");
        value
            .and_then(Option::as_deref)
            .unwrap_or_default()
            .trim_matches('"')
    }

    /// What the configuration `text` (a `.config`) says otherwise.
    pub(super) fn refused(&self, text: &str) -> Vec<Refused> {
        let all: BTreeMap<&str, Option<String>> = text.lines().filter_map(setting).collect();
        let found = |option: &String| all.get(option.as_str()).cloned().flatten();
        self.wanted
            .iter()
            .map(|(option, wanted)| Refused {
                option: option.clone(),
                wanted: wanted.clone(),
                got: found(option),
            })
            .filter(|row| row.wanted != row.got)
            .collect()
    }
}

/// Option and value of a line of a configuration; "n" is the same as "is not set".
fn setting(line: &str) -> Option<(&str, Option<String>)> {
    let is_option = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.strip_prefix("CONFIG_")
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain))
    };
    let unset = line
        .strip_prefix("# ")
        .and_then(|rest| rest.strip_suffix(UNSET))
        .map(|name| (name, None));
    let set = line.split_once('=').map(|(name, value)| {
        let value = (value != "n").then(|| value.to_owned());
        (name, value)
    });
    unset.or(set).filter(|(name, _)| is_option(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fragment: &str, config: &str) -> Result<Vec<String>, String> {
        let refused = Fragment::parse(fragment)?.refused(config);
        Ok(refused.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_came_out_as_asked_for_is_not_named() {
        let same = "# why\n\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"x=y\"\nCONFIG_E=n\n";
        let config =
            "#\n# Generated\n#\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_D=\"x=y\"\n# CONFIG_E is not set\n";
        assert_eq!(check(same, config), Ok(vec![]));
    }

    #[test]
    fn what_was_dropped_or_came_in_is_named_with_what_came_out() {
        let config = "CONFIG_B=y\nCONFIG_C=y\n";
        assert_eq!(
            check(
                "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=7\n",
                config
            ),
            Ok(vec![
                "CONFIG_A: y asked for, not set came out".to_owned(),
                "CONFIG_B: m asked for, y came out".to_owned(),
                "CONFIG_C: not set asked for, y came out".to_owned(),
                "CONFIG_D: 7 asked for, not set came out".to_owned(),
            ])
        );
    }

    #[test]
    fn a_line_that_asks_for_nothing_or_twice_is_refused_with_its_number() {
        let error = check("CONFIG_A=y\nCONFIG B=y\n", "").unwrap_err();
        assert!(error.starts_with("line 2: neither"), "{error}");
        let error = check("CONFIG_A=y\n# CONFIG_A is not set\n", "").unwrap_err();
        assert!(error.starts_with("line 2: asks for"), "{error}");
    }

    #[test]
    fn a_later_fragment_overrides_and_the_text_of_both_asks_for_the_same() {
        let mut both =
            Fragment::parse("CONFIG_A=y\nCONFIG_B=\"x\"\n# CONFIG_C is not set\n").unwrap();
        both.override_with(Fragment::parse("# CONFIG_A is not set\nCONFIG_D=m\n").unwrap());
        assert_eq!(
            both.text(),
            "# CONFIG_A is not set\nCONFIG_B=\"x\"\n# CONFIG_C is not set\nCONFIG_D=m\n"
        );
        assert_eq!(Fragment::parse(&both.text()), Ok(both));
    }

    #[test]
    fn the_end_of_the_release_is_the_fragments() {
        let local = |text: &str| Fragment::parse(text).unwrap().local_version().to_owned();
        assert_eq!(
            local("CONFIG_LOCALVERSION=\"-el8-layout\"\n"),
            "-el8-layout"
        );
        assert_eq!(local("CONFIG_A=y\n"), "");
    }
}
