//! Whether a scenario can do harm on a target: what the one needs against what the other says that it provides. Looks
//! at no kernel.
use recrash_agent::plan::{Property, Scenario};
use recrash_machine::scenario;
use recrash_machine::target::Target;

use crate::failure::Failure;

/// Refuses a scenario whose fault would miss on this target: its survival would prove nothing.
///
/// # Errors
/// Usage, naming what is lacking, why that matters, and the targets that have it.
pub(crate) fn check(target: &Target, name: &str, scenario: &Scenario) -> Result<(), Failure> {
    let lacking = scenario::lacking(scenario, &target.provides);
    let Some(first) = lacking.first() else {
        return Ok(());
    };
    let names: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    let error = anyhow::anyhow!(
        "scenario {name} needs {}, which target {} does not provide: {}",
        names.join(" and "),
        target.name,
        why(*first)
    );
    let fitting = fitting(scenario);
    Err(Failure::usage(error).hint(if fitting.is_empty() {
        "no target in qemu/targets provides it (its key `provides`)".to_owned()
    } else {
        format!("--target {}", fitting.join(" or "))
    }))
}

fn why(property: Property) -> &'static str {
    match property {
        Property::FreelistAtStart => {
            "what it writes ends before the middle of the object, where that kernel keeps the next-free pointer"
        }
    }
}

/// Targets of the checkout that provide what a scenario needs; files that can't be read are no help.
fn fitting(scenario: &Scenario) -> Vec<String> {
    let Ok(root) = super::checkout() else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(root.join("qemu/targets"));
    let mut names: Vec<String> = (entries.into_iter().flatten().flatten())
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "toml"))
        .filter_map(|entry| Target::load(&entry.path()).ok())
        .filter(|target| scenario::lacking(scenario, &target.provides).is_empty())
        .map(|target| target.name)
        .collect();
    names.sort();
    names
}
