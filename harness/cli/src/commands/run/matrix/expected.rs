//! `qemu/matrix.toml`: what each run of a matrix is expected to give, and why. Judges nothing.
use anyhow::{Result, anyhow};
use clap::ValueEnum;
use recrash_machine::config::{self, ConfigError};
use recrash_machine::controller::Controller;
use recrash_machine::scenario::FAULTS;
use recrash_machine::usbredir::device::Speed;
use serde::Deserialize;
use std::path::Path;

use super::cell::Key;
use crate::expect::Expect;

/// The rules, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

/// What the runs that fit are expected to give.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "match")]
    matches: Match,
    expect: Word,
    /// Why, for people.
    pub(super) reason: String,
}

/// A word of `--expect`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Word(Expect);

impl TryFrom<String> for Word {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Expect::from_str(&text, false).map(Self).map_err(|_| {
            let words: Vec<&str> = Expect::value_variants().iter().map(|e| e.name()).collect();
            format!(
                "{text:?} is no expectation; expected one of {}",
                words.join(", ")
            )
        })
    }
}

/// Which runs; what is left out fits anything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Match {
    target: Option<Names>,
    controller: Option<Names>,
    speed: Option<Names>,
    fault: Option<Names>,
    capture: Option<Names>,
    device: Option<Names>,
    scenario: Option<Names>,
}

/// A name, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

impl Match {
    fn fits(&self, key: &Key) -> bool {
        let is = |names: &Option<Names>, name: &str| {
            let mut all = names.iter().flat_map(Names::all).peekable();
            all.peek().is_none() || all.any(|one| one == name)
        };
        is(&self.target, &key.target)
            && is(&self.controller, &key.controller)
            && is(&self.speed, &key.speed)
            && is(&self.fault, &key.fault)
            && is(&self.capture, &key.capture)
            && is(&self.device, &key.device)
            && is(&self.scenario, &key.scenario)
    }

    /// A name that nothing has: a rule that never fits is a mistake. Targets, devices and scenarios may be the user's.
    fn mistake(&self) -> Option<String> {
        fn first(
            names: &Option<Names>,
            what: &str,
            known: impl Fn(&str) -> bool,
        ) -> Option<String> {
            let mut all = names.iter().flat_map(Names::all);
            let name = all.find(|name| !known(name))?;
            Some(format!("there is no {what} {name:?}"))
        }
        first(&self.controller, "controller", |name| {
            name.parse::<Controller>().is_ok()
        })
        .or_else(|| first(&self.speed, "speed", |name| name.parse::<Speed>().is_ok()))
        .or_else(|| first(&self.fault, "fault", |name| FAULTS.contains(&name)))
    }
}

impl Rule {
    /// What is expected.
    pub(super) fn expect(&self) -> Expect {
        self.expect.0
    }
}

impl Rules {
    /// Reads the file.
    pub(super) fn load(file: &Path) -> Result<Self, ConfigError> {
        let rules: Self = config::load(file)?;
        let mut numbered = (1..).zip(&rules.rules);
        let mistake = numbered.find_map(|(number, rule)| Some((number, rule.matches.mistake()?)));
        match mistake {
            None => Ok(rules),
            Some((number, what)) => Err(ConfigError::Invalid {
                file: file.into(),
                message: format!("rule {number}: {what}"),
            }),
        }
    }

    /// The first rule that fits.
    pub(super) fn find(&self, key: &Key) -> Result<&Rule> {
        let mut rules = self.rules.iter();
        rules.find(|rule| rule.matches.fits(key)).ok_or_else(|| {
            anyhow!("no rule in qemu/matrix.toml says what {key} is expected to give")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Rules, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        Rules::load(file.path()).map_err(|error| error.to_string().replace(&name, "f"))
    }

    fn shipped() -> Rules {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../qemu/matrix.toml");
        Rules::load(&file).unwrap()
    }

    fn key(fault: &str, device: &str) -> Key {
        Key {
            target: "debian".into(),
            controller: "usb-ehci".into(),
            speed: "high".into(),
            fault: fault.into(),
            capture: "kdump".into(),
            device: device.into(),
            scenario: "string-then-root-hub".into(),
        }
    }

    fn check(fault: &str, device: &str, expected: Expect) {
        let rules = shipped();
        let rule = rules.find(&key(fault, device)).unwrap();
        assert_eq!(rule.expect(), expected, "{fault} {device}");
        assert!(!rule.reason.is_empty());
    }

    #[test]
    fn every_fault_has_an_expectation() {
        for fault in FAULTS {
            assert!(
                shipped().find(&key(fault, "long-string")).is_ok(),
                "{fault}"
            );
        }
        check("duplicate-dma", "long-string", Expect::SameCrash);
        check("none", "long-string", Expect::NoCrash);
    }

    #[test]
    fn an_exception_stands_before_the_rule() {
        check("duplicate-dma", "virtual-media", Expect::NoCrash);
        check("early-free", "wrong-type", Expect::Different);
        check("none", "wrong-type", Expect::NoCrash);
    }

    #[test]
    fn a_run_that_no_rule_fits_is_an_error() {
        let rules =
            load("[[rule]]\nmatch = { capture = 'qemu' }\nexpect = 'crash'\nreason = 'r'").unwrap();
        let error = rules.find(&key("none", "d")).unwrap_err().to_string();
        assert!(
            error.starts_with("no rule in qemu/matrix.toml says what debian, usb-ehci high, none"),
            "{error}"
        );
    }

    #[test]
    fn a_rule_that_could_never_fit_is_an_error() {
        let rule = |matches: &str| {
            format!("[[rule]]\nmatch = {{ {matches} }}\nexpect = 'crash'\nreason = 'r'")
        };
        let error = load(&rule("fault = ['none', 'nonne']")).unwrap_err();
        assert_eq!(error, "f: rule 1: there is no fault \"nonne\"");
        let error = load(&rule("controller = 'ehci'")).unwrap_err();
        assert_eq!(error, "f: rule 1: there is no controller \"ehci\"");
        let error = load(&rule("falt = 'none'")).unwrap_err();
        assert!(error.starts_with("f:2:"), "{error}");
    }

    #[test]
    fn inconclusive_can_not_be_expected() {
        let error =
            load("[[rule]]\nmatch = {}\nexpect = 'inconclusive'\nreason = 'r'").unwrap_err();
        assert!(
            error.contains(
                "\"inconclusive\" is no expectation; expected one of exact, same-crash, "
            ),
            "{error}"
        );
    }
}
