//! The schemas that reports must meet: our own, that of SARIF, and an XSD of JUnit's files. The last two are read where
//! crates bring them; nothing is fetched.
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Holds a report in JSON against the published schema.
pub(crate) fn check_json(file: &Path) -> Value {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("report.schema.json");
    check_against(SCHEMA.get_or_init(|| validator(&read(&own()))), file)
}

/// Holds a report in SARIF against the schema of OASIS.
pub(crate) fn check_sarif(file: &Path) -> Value {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let mut schema = read(&of_crate("serde-sarif", "src/schema.json"));
        mend(&mut schema);
        validator(&schema)
    });
    check_against(schema, file)
}

/// Holds a report in JUnit XML against the XSD that Jenkins publishes.
pub(crate) fn check_junit(file: &Path) -> String {
    let xsd = of_crate("junit-report", "tests/JUnit.xsd");
    let output = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .args([&xsd, file])
        .output()
        .expect("xmllint (package libxml2-utils), which cargo verify installs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    std::fs::read_to_string(file).unwrap()
}

fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).unwrap()
}

/// The pattern of a language in the schema of SARIF 2.1.0 has a bracket without its other half, which ECMA-262 allows
/// only without the `u` flag, and our validator not at all. What it means is two letters, and two more behind a dash.
fn mend(schema: &mut Value) {
    match schema {
        Value::String(text) if text.contains("[a-zA-Z]{2}]?$") => {
            *text = "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$".into();
        }
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::Object(members) => members.values_mut().for_each(mend),
        _ => {}
    }
}

fn check_against(schema: &jsonschema::Validator, file: &Path) -> Value {
    let report = read(file);
    let errors: Vec<String> = schema
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    report
}

/// A file in the source of a crate that we depend on, as cargo unpacked it.
fn of_crate(name: &str, file: &str) -> PathBuf {
    static METADATA: OnceLock<Value> = OnceLock::new();
    let metadata = METADATA.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--offline", "--locked"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    });
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name);
    let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
    Path::new(manifest).parent().unwrap().join(file)
}
