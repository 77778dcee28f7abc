//! The lists of options that span a matrix, and the combinations they come to. Reads no file but the names of targets.
use recrash_machine::controller::Controller;
use recrash_machine::scenario::FAULTS;

use super::super::super::targets;
use super::super::Args;
use crate::commands::capture_args::ModeArg;
use crate::failure::Failure;

/// The word for everything there is.
const ALL: &str = "all";
/// Speeds that `--speed all` goes through: those of the controllers in question; super speed is xhci's alone.
const SPEEDS: [&str; 2] = ["full", "high"];

/// The options' values; one that was not given is `None`, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) targets: Vec<String>,
    pub(super) controllers: Vec<Option<String>>,
    pub(super) speeds: Vec<Option<String>>,
    pub(super) faults: Vec<Option<String>>,
    pub(super) captures: Vec<Option<ModeArg>>,
}

/// The values of one combination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) target: String,
    pub(super) controller: Option<String>,
    pub(super) speed: Option<String>,
    pub(super) fault: Option<String>,
    pub(super) capture: Option<ModeArg>,
}

/// Whether an option's text is a list.
pub(super) fn is_list(text: &str) -> bool {
    text == ALL || text.contains(',')
}

impl Axes {
    /// The axes that these arguments span.
    pub(super) fn of(args: &Args) -> Result<Self, Failure> {
        let controllers: Vec<&str> = Controller::all().map(Controller::name).collect();
        let known = targets::all()?;
        // Who asks for all of them means those that can be booted; one that is named and cannot says why.
        let is_meant = |left_out: bool| args.target.name() != ALL || !left_out;
        let targets: Vec<&str> = known
            .iter()
            .filter(|target| is_meant(target.left_out.is_some()))
            .map(|target| target.name.as_str())
            .collect();
        Ok(Self {
            targets: list("--target", args.target.name(), &targets)?,
            controllers: axis(
                "--controller",
                args.what.hardware.controller.as_deref(),
                &controllers,
            )?,
            speeds: axis("--speed", args.what.hardware.speed.as_deref(), &SPEEDS)?,
            faults: axis("--fault", args.what.fault.as_deref(), FAULTS)?,
            captures: match args.what.capture.modes() {
                modes if modes.is_empty() => vec![None],
                modes => modes.into_iter().map(Some).collect(),
            },
        })
    }

    /// All combinations, the last axis fastest.
    pub(super) fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for target in &self.targets {
            for controller in &self.controllers {
                for speed in &self.speeds {
                    for fault in &self.faults {
                        for capture in &self.captures {
                            points.push(Point {
                                target: target.clone(),
                                controller: controller.clone(),
                                speed: speed.clone(),
                                fault: fault.clone(),
                                capture: *capture,
                            });
                        }
                    }
                }
            }
        }
        points
    }
}

fn axis(option: &str, text: Option<&str>, all: &[&str]) -> Result<Vec<Option<String>>, Failure> {
    match text {
        None => Ok(vec![None]),
        Some(text) => Ok(list(option, text, all)?.into_iter().map(Some).collect()),
    }
}

/// The names in an option's text, each once.
fn list(option: &str, text: &str, all: &[&str]) -> Result<Vec<String>, Failure> {
    if text == ALL {
        return Ok(all.iter().map(|&name| name.to_owned()).collect());
    }
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',').map(str::trim) {
        if name.is_empty() || name == ALL {
            return Err(Failure::usage(anyhow::anyhow!(
                "{option} {text}: expected names separated by commas, or all"
            )));
        }
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[&str]>) {
        let found = list("--fault", text, &["a", "b"]).ok();
        let found = found
            .as_ref()
            .map(|names| names.iter().map(String::as_str).collect());
        assert_eq!(found, expected.map(<[&str]>::to_vec), "{text}");
    }

    #[test]
    fn names_are_separated_by_commas_and_taken_once() {
        check("x", Some(&["x"]));
        check("x, y,x", Some(&["x", "y"]));
        check("all", Some(&["a", "b"]));
        check("x,", None);
        check("x,all", None);
        check("", None);
    }

    #[test]
    fn the_last_axis_turns_fastest() {
        let two = |a: &str, b: &str| vec![Some(a.to_owned()), Some(b.to_owned())];
        let axes = Axes {
            targets: vec!["t".into()],
            controllers: two("c", "d"),
            speeds: vec![None],
            faults: two("e", "f"),
            captures: vec![None],
        };
        let points = axes.points();
        let points: Vec<String> = points
            .iter()
            .map(|p| p.controller.iter().chain(&p.fault).cloned().collect())
            .collect();
        assert_eq!(points, ["ce", "cf", "de", "df"]);
    }
}
