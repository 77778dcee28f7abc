//! Which compiler a kernel's modules must be built with, by its configuration, and whether it is here. Builds and
//! installs nothing.
use super::record::Compiler;
use super::refuse;
use crate::setup::apt::{self, Source as _};
use crate::setup::{SetupError, child, host};

/// A compiler as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `gcc` or `clang`.
    family: &'static str,
    major: u32,
    /// The first line of its `--version`, or its number.
    text: String,
    /// Linked with LLVM's linker.
    lld: bool,
}

impl Wanted {
    /// By `CONFIG_GCC_VERSION` and `CONFIG_CLANG_VERSION` (since 4.18) and `CONFIG_CC_VERSION_TEXT` (since 5.8;
    /// Linux, init/Kconfig): 80301 is 8.3.1.
    pub(super) fn of(config: &str) -> Option<Self> {
        let value = |key: &str| {
            config
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let number = |key| value(key)?.trim().parse::<u32>().ok().filter(|&n| n > 0);
        let (family, version) = match number("CONFIG_GCC_VERSION") {
            Some(version) => ("gcc", version),
            None => ("clang", number("CONFIG_CLANG_VERSION")?),
        };
        let dotted = format!(
            "{family} {}.{}.{}",
            version / 10_000,
            version / 100 % 100,
            version % 100
        );
        let text = value("CONFIG_CC_VERSION_TEXT").map(|text| text.trim_matches('"').to_owned());
        Some(Self {
            family,
            major: version / 10_000,
            text: text.unwrap_or(dotted),
            lld: value("CONFIG_LD_IS_LLD") == Some("y"),
        })
    }

    fn name(&self) -> String {
        format!("{}-{}", self.family, self.major)
    }
}

/// What is asked of the machine; tests have their own.
pub(super) trait Machine {
    /// Whether there is such a program.
    fn has(&self, program: &str) -> bool;
    /// The major version that it says it has.
    fn major(&self, program: &str) -> Option<u32>;
    /// Whether apt could install it.
    fn is_packaged(&self, package: &str) -> bool;
}

/// This machine.
pub(super) struct Here;

impl Machine for Here {
    fn has(&self, program: &str) -> bool {
        child::which(program).is_some()
    }

    fn major(&self, program: &str) -> Option<u32> {
        let text = child::quiet(program, ["-dumpversion".to_owned()]).ok()?;
        text.trim().split('.').next()?.parse().ok()
    }

    fn is_packaged(&self, package: &str) -> bool {
        apt::Apt::system()
            .records(&[package.to_owned()])
            .is_ok_and(|records| records.iter().any(|record| record.name == package))
    }
}

/// The compiler to use: `named` by the person, else the one that the kernel was built with. It may have to be
/// installed yet.
///
/// # Errors
/// [`SetupError::Added`] saying which one is missing and what can be done.
pub(super) fn choose(
    machine: &dyn Machine,
    wanted: Option<&Wanted>,
    named: Option<&str>,
) -> Result<Compiler, SetupError> {
    let lld = wanted.is_some_and(|wanted| wanted.lld);
    let with = |program: String| {
        let mut variables = vec![format!("CC={program}")];
        if lld {
            variables.push("LD=ld.lld".into());
        }
        Compiler { program, variables }
    };
    if let Some(named) = named {
        if machine.has(named) {
            return Ok(with(named.to_owned()));
        }
        return Err(refuse(
            format!("--cc {named}: there is no such program"),
            format!(
                "install it, for example: {}",
                host::command(&[named.to_owned()])
            ),
        ));
    }
    let Some(wanted) = wanted else {
        return Err(refuse(
            "the kernel's configuration does not say which compiler it was built with",
            "name one with --cc, for example --cc gcc, or give a built repro.ko with --module",
        ));
    };
    let exact = wanted.name();
    if machine.has(&exact) {
        return Ok(with(exact));
    }
    if machine.major(wanted.family) == Some(wanted.major) {
        return Ok(with(wanted.family.to_owned()));
    }
    if machine.is_packaged(&exact) {
        // Set-up installs it, or says how.
        return Ok(with(exact));
    }
    Err(missing(machine, wanted))
}

fn missing(machine: &dyn Machine, wanted: &Wanted) -> SetupError {
    let nearest = (1..=30)
        .map(|distance| wanted.major + distance)
        .map(|major| format!("{}-{major}", wanted.family))
        .find(|name| machine.has(name))
        .or_else(|| machine.has(wanted.family).then(|| wanted.family.to_owned()));
    let other = match nearest {
        Some(name) => format!("--cc {name} tries another one that is here"),
        None => format!("--cc names another {}", wanted.family),
    };
    refuse(
        format!(
            "the kernel was built with {}, and this machine has no {}, nor has its apt",
            wanted.text,
            wanted.name()
        ),
        format!(
            "{other}; or build repro-module where that kernel was built (make -C HEADERS M=$PWD/repro-module) and give it with --module repro.ko"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        programs: &'static [(&'static str, u32)],
        packages: &'static [&'static str],
    }

    impl Machine for Fake {
        fn has(&self, program: &str) -> bool {
            self.major(program).is_some()
        }
        fn major(&self, program: &str) -> Option<u32> {
            let found = self.programs.iter().find(|(name, _)| *name == program);
            found.map(|(_, major)| *major)
        }
        fn is_packaged(&self, package: &str) -> bool {
            self.packages.contains(&package)
        }
    }

    const BOOKWORM: Fake = Fake {
        programs: &[("gcc", 12), ("gcc-12", 12)],
        packages: &["gcc-11", "gcc-12", "clang-14"],
    };
    const GCC_12: &str = "CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\nCONFIG_CC_IS_GCC=y\n\
        CONFIG_GCC_VERSION=120200\nCONFIG_CLANG_VERSION=0\n";
    const GCC_8: &str = "CONFIG_GCC_VERSION=80301\n";
    const CLANG_14: &str =
        "CONFIG_GCC_VERSION=0\nCONFIG_CLANG_VERSION=140006\nCONFIG_LD_IS_LLD=y\n";

    fn check(config: &str, named: Option<&str>) -> Result<String, (String, String)> {
        match choose(&BOOKWORM, Wanted::of(config).as_ref(), named) {
            Ok(compiler) => Ok(compiler.variables.join(" ")),
            Err(SetupError::Added { what, hint }) => Err((what, hint)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_kernels_own_compiler_is_used() {
        assert_eq!(check(GCC_12, None).unwrap(), "CC=gcc-12");
        // Not here, but apt has it.
        let gcc_11 = GCC_12.replace("120200", "110300");
        assert_eq!(check(&gcc_11, None).unwrap(), "CC=gcc-11");
        assert_eq!(check(CLANG_14, None).unwrap(), "CC=clang-14 LD=ld.lld");
    }

    #[test]
    fn the_default_compiler_serves_if_it_is_of_that_version() {
        let machine = Fake {
            programs: &[("gcc", 8)],
            packages: &[],
        };
        let found = choose(&machine, Wanted::of(GCC_8).as_ref(), None).unwrap();
        assert_eq!(found.program, "gcc");
    }

    #[test]
    fn a_compiler_that_is_nowhere_is_named_with_what_can_be_done() {
        let (what, hint) = check(GCC_8, None).unwrap_err();
        assert_eq!(
            what,
            "the kernel was built with gcc 8.3.1, and this machine has no gcc-8, nor has its apt"
        );
        assert!(hint.starts_with("--cc gcc-12 tries another"), "{hint}");
        assert!(hint.contains("--module repro.ko"), "{hint}");
    }

    #[test]
    fn a_person_may_name_another() {
        assert_eq!(check(GCC_8, Some("gcc-12")).unwrap(), "CC=gcc-12");
        let (what, _) = check(GCC_8, Some("gcc-99")).unwrap_err();
        assert_eq!(what, "--cc gcc-99: there is no such program");
    }

    #[test]
    fn a_configuration_that_does_not_say_asks_the_person() {
        assert!(check("CONFIG_SMP=y\n", None).is_err());
        assert_eq!(check("", Some("gcc")).unwrap(), "CC=gcc");
    }
}
