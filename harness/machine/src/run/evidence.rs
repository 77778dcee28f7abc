//! What proves that a run did what it was to do: the device was asked, the URBs came back, the fault code
//! ran. A survived run without it is worth nothing. Reads no dump.
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{Scenario, Setup, Step, UrbTarget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::Said;

/// Most URBs that are noted.
const MAX_URBS: usize = 1024;

/// Counted while the run goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Requests of the scenario's own kind that reached the device.
    pub asked: u64,
    /// Those that it answered.
    pub answered: u64,
    /// Those that the guest took back.
    pub cancelled: u64,
    /// URBs that came back to the scenario's process, in order.
    pub urbs: Vec<Urb>,
    /// Times the fault code ran to its end, as the module says on the console.
    pub fired: u64,
    /// The same, as the agent read it from the kernel log of a guest that survived.
    pub fired_in_log: u64,
    /// Times the agent came back from the fault code.
    pub fault_returned: u64,
}

/// A URB that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urb {
    /// Index of the step, from 0.
    pub step: u32,
    /// 0 or a negative errno.
    pub status: i32,
    /// Bytes.
    pub actual_length: u32,
}

impl Evidence {
    /// Takes what was said.
    pub fn note(&mut self, said: &Said, scenario: &Scenario) {
        match said {
            Said::Device(event) => self.device(event, scenario),
            Said::Module(report) => self.fired += u64::from(fired(report)),
            Said::Guest(report) => match &report.event {
                GuestEvent::UrbReaped {
                    step,
                    status,
                    actual_length,
                } if self.urbs.len() < MAX_URBS => self.urbs.push(Urb {
                    step: *step,
                    status: *status,
                    actual_length: *actual_length,
                }),
                GuestEvent::ModuleReport { report } => {
                    self.fired_in_log += u64::from(fired(report))
                }
                GuestEvent::FaultReturned { .. } => self.fault_returned += 1,
                _ => {}
            },
            _ => {}
        }
    }

    fn device(&mut self, event: &Value, scenario: &Scenario) {
        let setup = event.get("setup").cloned().unwrap_or_default();
        let Ok(setup) = serde_json::from_value::<Setup>(setup) else {
            return;
        };
        if !device_setups(scenario).any(|(_, wanted)| wanted == setup) {
            return;
        }
        match event.get("event").and_then(Value::as_str) {
            Some("request") => self.asked += 1,
            Some("answer") => self.answered += 1,
            Some("cancelled") => self.cancelled += 1,
            _ => {}
        }
    }

    /// Whether a survived run is a control worth something.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn proves_survival(&self, scenario: &Scenario) -> Result<(), String> {
        let wanted = device_setups(scenario).count() as u64;
        if self.asked < wanted || self.answered < wanted {
            return Err(format!(
                "the device was asked {} times and answered {} times, the scenario asks it {wanted} times",
                self.asked, self.answered
            ));
        }
        // A request that is cancelled before the device has seen it could not have done any harm.
        if asks_itself(&scenario.fault) && self.asked <= wanted {
            return Err(format!(
                "the request that the fault {} makes never reached the device",
                scenario.fault
            ));
        }
        for (step, _) in device_setups(scenario) {
            let back = self.urbs.iter().any(|urb| urb.step as usize == step);
            if !back {
                return Err(format!("the URB of step {step} did not come back"));
            }
        }
        let faults = scenario
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Fault))
            .count() as u64;
        // Both tell of the same events; the console may have been garbled or silenced.
        let fired = self.fired.max(self.fired_in_log);
        if fired < faults {
            return Err(format!(
                "the fault code ran {fired} times, the scenario fires it {faults} times"
            ));
        }
        Ok(())
    }
}

/// Whether a report of the module says that the fault code ran to its end.
fn fired(report: &Value) -> bool {
    report.get("event").and_then(Value::as_str) == Some("fired")
        && report.get("error").and_then(Value::as_i64) == Some(0)
}

/// Whether a fault of repro-module asks the device once more, with the scenario's own setup packet.
fn asks_itself(fault: &str) -> bool {
    matches!(fault, "early-free" | "early-free-fixed")
}

/// The steps that ask the device, by index.
fn device_setups(scenario: &Scenario) -> impl Iterator<Item = (usize, Setup)> {
    scenario
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match step {
            Step::Urb {
                to: UrbTarget::Device,
                setup,
            } => Some((index, *setup)),
            Step::Urb { .. } | Step::Fault => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use recrash_agent::event::GuestReport;
    use serde_json::json;

    const SETUP: Setup = Setup {
        request_type: 0x80,
        request: 6,
        value: 0x0302,
        index: 0x0409,
        length: 254,
    };

    fn scenario() -> Scenario {
        Scenario {
            summary: "s".into(),
            comm: "c".into(),
            cpu: 0,
            fault: "none".into(),
            steps: vec![
                Step::Urb {
                    to: UrbTarget::Device,
                    setup: SETUP,
                },
                Step::Fault,
            ],
        }
    }

    fn device(event: &str, length: u16) -> Said {
        Said::Device(json!({"event": event, "id": 1, "setup": Setup { length, ..SETUP }}))
    }

    fn reaped() -> Said {
        Said::Guest(GuestReport {
            at_ms: 0,
            event: GuestEvent::UrbReaped {
                step: 0,
                status: 0,
                actual_length: 56,
            },
        })
    }

    fn fired(error: i32) -> Said {
        Said::Module(json!({"event": "fired", "fault": "none", "error": error}))
    }

    fn check(said: &[Said], expected: Result<(), &str>) {
        let mut evidence = Evidence::default();
        for said in said {
            evidence.note(said, &scenario());
        }
        let found = evidence.proves_survival(&scenario());
        assert_eq!(
            found.as_ref().map(|&()| ()).map_err(String::as_str),
            expected
        );
    }

    #[test]
    fn asked_answered_reaped_and_fired_is_proof() {
        let said = [
            device("request", 254),
            device("answer", 254),
            reaped(),
            fired(0),
        ];
        check(&said, Ok(()));
    }

    #[test]
    fn the_kernels_own_question_is_no_proof() {
        let said = [
            device("request", 255),
            device("answer", 255),
            reaped(),
            fired(0),
        ];
        check(
            &said,
            Err("the device was asked 0 times and answered 0 times, the scenario asks it 1 times"),
        );
    }

    #[test]
    fn a_fault_that_failed_is_no_proof() {
        let said = [
            device("request", 254),
            device("answer", 254),
            reaped(),
            fired(-61),
        ];
        check(
            &said,
            Err("the fault code ran 0 times, the scenario fires it 1 times"),
        );
    }

    #[test]
    fn a_urb_that_never_came_back_is_no_proof() {
        let said = [device("request", 254), device("answer", 254), fired(0)];
        check(&said, Err("the URB of step 0 did not come back"));
    }

    #[test]
    fn a_fixed_driver_whose_request_the_device_never_saw_is_no_proof() {
        let scenario = Scenario {
            fault: "early-free-fixed".into(),
            ..scenario()
        };
        let mut evidence = Evidence::default();
        for said in [
            device("request", 254),
            device("answer", 254),
            reaped(),
            fired(0),
        ] {
            evidence.note(&said, &scenario);
        }
        let missing = evidence.proves_survival(&scenario).unwrap_err();
        assert!(missing.contains("never reached the device"), "{missing}");
        evidence.note(&device("request", 254), &scenario);
        evidence.note(&device("cancelled", 254), &scenario);
        assert_eq!(evidence.proves_survival(&scenario), Ok(()));
    }

    #[test]
    fn rubbish_is_ignored() {
        check(
            &[
                Said::Device(json!("x")),
                Said::Module(json!([1, {"event": 3}])),
            ],
            Err("the device was asked 0 times and answered 0 times, the scenario asks it 1 times"),
        );
    }
}
