//! Rewrites signatures of older schema versions to the current one. Pure: text in, text out.
//!
//! One step a version. A step may only say of a new fact what is true of every signature of the older version: that it
//! was not recorded.

use crate::model::{SCHEMA, Signature, TextError};
use toml::{Table, Value};

/// What migrating came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Migrated {
    /// It is of the current schema already.
    Current,
    /// It was of an older one.
    Rewritten {
        /// The version it had.
        from: u32,
        /// The signature, in the current schema.
        signature: Box<Signature>,
    },
}

/// Why a signature could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Written by a newer version of recrash, which alone knows what its facts mean.
    #[error(
        "schema {found} is newer than this version of recrash, which knows schemas 1 to {SCHEMA}: use a newer recrash"
    )]
    Newer {
        /// The version found.
        found: i64,
    },
    /// A version number that there never was.
    #[error("there is no schema {found}: they begin at 1")]
    NoSuch {
        /// The version found.
        found: i64,
    },
    /// A group that every signature has is missing.
    #[error("there is no group [{0}]: this is not a signature")]
    NoGroup(&'static str),
    /// Not a signature, before or after the rewriting.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// From one version to the next.
type Step = fn(&mut Table) -> Result<(), MigrateError>;

/// Step `n` leads from schema `n + 1` to the next.
const STEPS: [Step; SCHEMA as usize - 1] = [to_schema_2];

/// Why a fact is absent that schema 1 had no place for.
const NOT_IN_SCHEMA_1: &str = "schema 1 did not hold the kernel's report";

/// Schema 2 has the title of the kernel's report as a fact, and alternative titles (which may be left out).
fn to_schema_2(table: &mut Table) -> Result<(), MigrateError> {
    let Some(Value::Table(fault)) = table.get_mut("fault") else {
        return Err(MigrateError::NoGroup("fault"));
    };
    let absent = Table::from_iter([("absent".to_owned(), Value::from(NOT_IN_SCHEMA_1))]);
    fault.insert("report".to_owned(), Value::Table(absent));
    Ok(())
}

/// Reads a signature of any version so far, as the current one.
///
/// # Errors
/// A newer version, or text that is no signature.
pub fn migrate(text: &str) -> Result<Migrated, MigrateError> {
    let mut table: Table = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        TextError::Invalid {
            line: before.unwrap_or_default().matches('\n').count() + 1,
            message: error.message().to_owned(),
        }
    })?;
    let found = table.get("schema").and_then(Value::as_integer);
    let found = found.ok_or(TextError::NoSchema)?;
    let from = match u32::try_from(found) {
        Ok(0) | Err(_) if found <= 0 => return Err(MigrateError::NoSuch { found }),
        Ok(from) if from <= SCHEMA => from,
        _ => return Err(MigrateError::Newer { found }),
    };
    if from == SCHEMA {
        Signature::from_toml(text)?;
        return Ok(Migrated::Current);
    }
    for step in STEPS.iter().skip(from.saturating_sub(1) as usize) {
        step(&mut table)?;
    }
    table.insert("schema".to_owned(), Value::from(i64::from(SCHEMA)));
    let rewritten = toml::to_string(&table).map_err(TextError::Write)?;
    let signature = Box::new(Signature::from_toml(&rewritten)?);
    Ok(Migrated::Rewritten { from, signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn golden() -> &'static str {
        let snap = include_str!(
            "../../../golden/usb-string-descriptor-freelist/2022-06-05-usbdev-ioctl.snap"
        );
        snap.splitn(3, "---\n").nth(2).unwrap()
    }

    /// The golden as schema 1 wrote it: without the fact that schema 2 brought.
    fn schema_1() -> String {
        let lines = golden()
            .lines()
            .filter(|line| !line.starts_with("report = "));
        let text: Vec<&str> = lines.collect();
        text.join("\n").replace("schema = 2", "schema = 1")
    }

    #[test]
    fn schema_1_gains_an_absent_report_and_keeps_every_other_fact() {
        let Migrated::Rewritten { from, signature } = migrate(&schema_1()).unwrap() else {
            panic!("schema 1 is not current");
        };
        assert_eq!(from, 1);
        assert_eq!(signature.fault.report.reason(), Some(NOT_IN_SCHEMA_1));
        let mut expected = Signature::from_toml(golden()).unwrap();
        expected.fault.report = signature.fault.report.clone();
        assert_eq!(*signature, expected);
    }

    #[test]
    fn the_current_schema_stays_as_it_is() {
        assert_eq!(migrate(golden()).unwrap(), Migrated::Current);
    }

    fn check(text: &str, error: &str) {
        assert_eq!(migrate(text).unwrap_err().to_string(), error);
    }

    #[test]
    fn what_cannot_be_migrated_is_refused_with_the_reason() {
        check(
            "schema = 3",
            "schema 3 is newer than this version of recrash, which knows schemas 1 to 2: use a newer recrash",
        );
        check(
            "schema = 99999999999",
            "schema 99999999999 is newer than this version of recrash, which knows schemas 1 to 2: use a newer recrash",
        );
        check("schema = 0", "there is no schema 0: they begin at 1");
        check("schema = -1", "there is no schema -1: they begin at 1");
        check(
            "a = 1",
            "no `schema` number at the top: this is not a signature",
        );
        check(
            "schema = 1",
            "there is no group [fault]: this is not a signature",
        );
        assert!(migrate("schema = 1\n[fault]\n").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), number in any::<i64>()) {
            let _ = migrate(&text);
            let _ = migrate(&format!("schema = {number}\n{text}"));
        }
    }
}
