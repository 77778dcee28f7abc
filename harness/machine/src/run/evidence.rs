//! What proves that a run did what it was to do: the device was asked, the URBs came back, the fault code
//! ran. A survived run without it is worth nothing. Reads no dump.
use recrash_agent::event::GuestEvent;
use recrash_agent::plan::{Scenario, Setup, Step, UrbTarget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::Said;
use crate::usbpcap::Traffic;

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
    /// What the module says on the console.
    pub console: ModuleWords,
    /// The same, as the agent read it from the kernel log of a guest that survived.
    pub log: ModuleWords,
    /// Times the agent came back from the fault code.
    pub fault_returned: u64,
    /// Why QEMU's record of a physical device's traffic tells nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_traffic: Option<String>,
}

/// How often repro-module reported what a fault is about (`repro-module/core.c`, `early_free.c`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleWords {
    /// The fault code ran to its end without an error.
    pub fired: u64,
    /// It did what a step asked, without an error.
    #[serde(default)]
    pub acted: u64,
    /// A buffer was freed while its transfer was in flight.
    pub freed_in_flight: u64,
    /// A transfer was cancelled while it was in flight.
    pub cancelled_in_flight: u64,
}

impl ModuleWords {
    fn note(&mut self, report: &Value) {
        let in_flight = || report.get("in_flight").and_then(Value::as_bool) == Some(true);
        let done = || report.get("error").and_then(Value::as_i64) == Some(0);
        match report.get("event").and_then(Value::as_str) {
            Some("fired") => self.fired += u64::from(done()),
            Some("acted") => self.acted += u64::from(done()),
            Some("freed") => self.freed_in_flight += u64::from(in_flight()),
            Some("cancel") => self.cancelled_in_flight += u64::from(in_flight()),
            _ => {}
        }
    }

    /// The larger count of each: both tell of the same events, and either may have been garbled or cut.
    fn or(self, other: Self) -> Self {
        Self {
            fired: self.fired.max(other.fired),
            acted: self.acted.max(other.acted),
            freed_in_flight: self.freed_in_flight.max(other.freed_in_flight),
            cancelled_in_flight: self.cancelled_in_flight.max(other.cancelled_in_flight),
        }
    }
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
            Said::Module(report) => self.console.note(report),
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
                GuestEvent::ModuleReport { report } => self.log.note(report),
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
        if !device_setups(scenario).any(|wanted| wanted == setup) {
            return;
        }
        match event.get("event").and_then(Value::as_str) {
            Some("request") => self.asked += 1,
            Some("answer") => self.answered += 1,
            Some("cancelled") => self.cancelled += 1,
            _ => {}
        }
    }

    /// Takes what QEMU recorded of a physical device's traffic, after all else: nobody else saw what that was asked.
    /// QEMU 7.2 does not record the end of a transfer on xhci that the device did not answer at once, so an answer is
    /// also what came back to the scenario's process with bytes.
    pub fn traffic(&mut self, traffic: &Traffic, scenario: &Scenario) {
        for transfer in &traffic.transfers {
            if device_setups(scenario).any(|wanted| on_the_bus(wanted) == transfer.setup) {
                self.asked += 1;
                self.answered += u64::from(transfer.status == Some(0));
            }
        }
        let came_back = self.urbs.iter().filter(|urb| {
            urb.status == 0 && urb.actual_length > 0 && asks_device(scenario, urb.step)
        });
        self.answered = self.answered.max(came_back.count() as u64);
    }

    /// Whether a survived run is a control worth something.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn proves_survival(&self, scenario: &Scenario) -> Result<(), String> {
        if let Some(why) = &self.unread_traffic {
            return Err(format!(
                "what the device was asked is not known: QEMU's record of its traffic: {why}"
            ));
        }
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
        self.urbs_came_back(scenario)?;
        let faults = scenario
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Fault))
            .count() as u64;
        let module = self.console.or(self.log);
        if module.fired < faults {
            return Err(format!(
                "the fault code ran {} times, the scenario fires it {faults} times",
                module.fired
            ));
        }
        let acts = scenario
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Module { .. }))
            .count() as u64;
        if module.acted < acts {
            return Err(format!(
                "the module did {} of the {acts} things that the scenario has it do",
                module.acted
            ));
        }
        // Each control differs from its fault in one thing, which must have been put to the test.
        match scenario.fault.as_str() {
            "early-free" if module.freed_in_flight < faults => {
                Err("the answer had come before the buffer was freed".into())
            }
            "early-free-fixed" if module.cancelled_in_flight < faults => {
                Err("the answer had come before the transfer was cancelled".into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a run on the other side of a comparison came as far as this one did, which has shown the bug: the device
    /// was asked as often, each URB that came back here before the fault came back there alike, the fault code ran.
    /// Bytes are compared only where the device is the same.
    ///
    /// # Errors
    /// What is missing there, in words.
    pub fn reached_by(
        &self,
        other: &Self,
        scenario: &Scenario,
        same_device: bool,
    ) -> Result<(), String> {
        if let Some(why) = &other.unread_traffic {
            return Err(format!(
                "what the device was asked is not known: QEMU's record of its traffic: {why}"
            ));
        }
        if other.asked < self.asked {
            return Err(format!(
                "the device was asked {} times, and {} times where the bug showed",
                other.asked, self.asked
            ));
        }
        let fault = scenario
            .steps
            .iter()
            .position(|step| matches!(step, Step::Fault));
        let fault = fault.unwrap_or(scenario.steps.len());
        for urb in self.urbs.iter().filter(|urb| (urb.step as usize) < fault) {
            let there = other.urbs.iter().find(|there| there.step == urb.step);
            let Some(there) = there else {
                return Err(format!("the URB of step {} did not come back", urb.step));
            };
            if there.status != urb.status {
                return Err(format!(
                    "the URB of step {} came back with status {}, and with {} where the bug showed",
                    urb.step, there.status, urb.status
                ));
            }
            if same_device && there.actual_length != urb.actual_length {
                return Err(format!(
                    "the URB of step {} brought {} bytes, and {} where the bug showed",
                    urb.step, there.actual_length, urb.actual_length
                ));
            }
        }
        let fired = |of: &Self| of.console.or(of.log).fired;
        if fired(other) < fired(self) {
            return Err(format!(
                "the fault code ran {} times, and {} times where the bug showed",
                fired(other),
                fired(self)
            ));
        }
        Ok(())
    }

    fn urbs_came_back(&self, scenario: &Scenario) -> Result<(), String> {
        for (step, _) in urbs(scenario) {
            match self.urbs.iter().find(|urb| urb.step as usize == step) {
                None => return Err(format!("the URB of step {step} did not come back")),
                Some(Urb { status: 0, .. }) => {}
                Some(Urb { status, .. }) => {
                    return Err(format!(
                        "the URB of step {step} came back with status {status}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether the step of this index asks the device.
fn asks_device(scenario: &Scenario, step: u32) -> bool {
    let step = usize::try_from(step)
        .ok()
        .and_then(|at| scenario.steps.get(at));
    matches!(
        step,
        Some(Step::Urb {
            to: UrbTarget::Device,
            ..
        })
    )
}

/// A setup packet's bytes (USB 2.0, 9.3).
fn on_the_bus(setup: Setup) -> [u8; 8] {
    let [value, index, length] = [setup.value, setup.index, setup.length].map(u16::to_le_bytes);
    [
        setup.request_type,
        setup.request,
        value[0],
        value[1],
        index[0],
        index[1],
        length[0],
        length[1],
    ]
}

/// Whether a fault of repro-module asks the device once more, with the scenario's own setup packet.
fn asks_itself(fault: &str) -> bool {
    matches!(fault, "early-free" | "early-free-fixed")
}

/// The steps that ask the device or its root hub, by index.
fn urbs(scenario: &Scenario) -> impl Iterator<Item = (usize, &Step)> {
    let steps = scenario.steps.iter().enumerate();
    steps.filter(|(_, step)| matches!(step, Step::Urb { .. }))
}

/// What the steps ask the device.
fn device_setups(scenario: &Scenario) -> impl Iterator<Item = Setup> {
    scenario.steps.iter().filter_map(|step| match step {
        Step::Urb {
            to: UrbTarget::Device,
            setup,
        } => Some(*setup),
        Step::Urb { .. } | Step::Fault | Step::Module { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usbpcap::Transfer;
    use recrash_agent::event::GuestReport;
    use serde_json::json;

    const SETUP: Setup = Setup {
        request_type: 0x80,
        request: 6,
        value: 0x0302,
        index: 0x0409,
        length: 254,
    };

    fn scenario(fault: &str) -> Scenario {
        let urb = |to| Step::Urb { to, setup: SETUP };
        Scenario {
            summary: "s".into(),
            comm: "c".into(),
            cpu: 0,
            fault: fault.into(),
            device: None,
            golden: None,
            needs: Vec::new(),
            steps: vec![urb(UrbTarget::Device), Step::Fault, urb(UrbTarget::RootHub)],
        }
    }

    fn device(event: &str, length: u16) -> Said {
        Said::Device(json!({"event": event, "id": 1, "setup": Setup { length, ..SETUP }}))
    }

    fn guest(event: GuestEvent) -> Said {
        Said::Guest(GuestReport { at_ms: 0, event })
    }

    fn reaped(step: u32, status: i32) -> Said {
        guest(GuestEvent::UrbReaped {
            step,
            status,
            actual_length: 56,
        })
    }

    fn fired(error: i32) -> Said {
        Said::Module(json!({"event": "fired", "fault": "none", "error": error}))
    }

    /// One word a thing that is said.
    fn said(word: &str) -> Said {
        match word {
            "asked" => device("request", 254),
            "answered" => device("answer", 254),
            "cancelled" => device("cancelled", 254),
            "kernel-asked" => device("request", 255),
            "kernel-answered" => device("answer", 255),
            "urb" => reaped(0, 0),
            "urb-failed" => reaped(0, -71),
            "hub" => reaped(2, 0),
            "hub-failed" => reaped(2, -32),
            "fired" => fired(0),
            "fired-badly" => fired(-61),
            "fired-log" => guest(GuestEvent::ModuleReport {
                report: json!({"event": "fired", "error": 0}),
            }),
            "acted" => Said::Module(json!({"event": "acted", "act": "follow-victim", "error": 0})),
            "acted-badly" => Said::Module(json!({"event": "acted", "error": -16})),
            "freed-late" => Said::Module(json!({"event": "freed", "in_flight": false})),
            "freed" => Said::Module(json!({"event": "freed", "in_flight": true})),
            "cancel-late" => Said::Module(json!({"event": "cancel", "in_flight": false})),
            "cancel" => guest(GuestEvent::ModuleReport {
                report: json!({"event": "cancel", "in_flight": true}),
            }),
            other => panic!("no such word: {other}"),
        }
    }

    fn check(fault: &str, words: &str, expected: Result<(), &str>) {
        check_of(&scenario(fault), words, expected);
    }

    fn check_of(scenario: &Scenario, words: &str, expected: Result<(), &str>) {
        let mut evidence = Evidence::default();
        for word in words.split(' ') {
            evidence.note(&said(word), scenario);
        }
        let found = evidence.proves_survival(scenario);
        assert_eq!(
            found.as_ref().map(|&()| ()).map_err(String::as_str),
            expected,
            "{}: {words}",
            scenario.fault
        );
    }

    #[test]
    fn asked_answered_reaped_and_fired_is_proof() {
        check("none", "asked answered urb fired hub", Ok(()));
        check("none", "asked answered urb fired-log hub", Ok(()));
    }

    #[test]
    fn the_kernels_own_question_is_no_proof() {
        check(
            "none",
            "kernel-asked kernel-answered urb fired hub",
            Err("the device was asked 0 times and answered 0 times, the scenario asks it 1 times"),
        );
    }

    #[test]
    fn a_fault_that_failed_is_no_proof() {
        check(
            "none",
            "asked answered urb fired-badly hub",
            Err("the fault code ran 0 times, the scenario fires it 1 times"),
        );
    }

    #[test]
    fn what_console_and_kernel_log_both_tell_counts_once() {
        let scenario = scenario("none");
        let mut evidence = Evidence::default();
        evidence.note(&said("fired"), &scenario);
        evidence.note(&said("fired-log"), &scenario);
        assert_eq!(evidence.console.or(evidence.log).fired, 1);
    }

    #[test]
    fn what_the_module_was_to_do_besides_must_have_been_done() {
        let mut scenario = scenario("none");
        scenario.steps.push(Step::Module {
            act: recrash_agent::plan::Act::FollowVictim,
        });
        check_of(&scenario, "asked answered urb fired hub acted", Ok(()));
        let missing = Err("the module did 0 of the 1 things that the scenario has it do");
        check_of(&scenario, "asked answered urb fired hub", missing);
        check_of(
            &scenario,
            "asked answered urb fired hub acted-badly",
            missing,
        );
    }

    #[test]
    fn a_urb_that_never_came_back_is_no_proof() {
        let missing = Err("the URB of step 0 did not come back");
        check("none", "asked answered fired hub", missing);
        let missing = Err("the URB of step 2 did not come back");
        check("none", "asked answered urb fired", missing);
    }

    #[test]
    fn a_urb_that_failed_is_no_proof() {
        let failed = Err("the URB of step 0 came back with status -71");
        check("none", "asked answered urb-failed fired hub", failed);
        let failed = Err("the URB of step 2 came back with status -32");
        check("none", "asked answered urb fired hub-failed", failed);
    }

    #[test]
    fn a_fixed_driver_whose_request_the_device_never_saw_is_no_proof() {
        check(
            "early-free-fixed",
            "asked answered urb cancel fired hub",
            Err("the request that the fault early-free-fixed makes never reached the device"),
        );
    }

    #[test]
    fn a_fixed_driver_must_cancel_what_is_in_flight() {
        check(
            "early-free-fixed",
            "asked answered urb asked cancel cancelled freed-late fired hub",
            Ok(()),
        );
        check(
            "early-free-fixed",
            "asked answered urb asked answered cancel-late freed-late fired hub",
            Err("the answer had come before the transfer was cancelled"),
        );
    }

    #[test]
    fn a_broken_driver_must_free_what_is_in_flight() {
        let words = "asked answered urb asked freed answered fired hub";
        check("early-free", words, Ok(()));
        check(
            "early-free",
            "asked answered urb asked answered freed-late fired hub",
            Err("the answer had come before the buffer was freed"),
        );
    }

    /// How often the device was asked and answered in a run of which only QEMU's record of the traffic and the guest
    /// tell: each transfer as its wLength and its status, and words as in [`said`].
    fn check_traffic(transfers: &[(u16, Option<i32>)], words: &[&str], expected: [u64; 2]) {
        let transfers = transfers.iter().map(|&(length, status)| Transfer {
            setup: on_the_bus(Setup { length, ..SETUP }),
            status,
            length: 0,
        });
        let traffic = Traffic {
            transfers: transfers.collect(),
            cut: None,
        };
        let scenario = scenario("none");
        let mut evidence = Evidence::default();
        for word in words {
            evidence.note(&said(word), &scenario);
        }
        evidence.traffic(&traffic, &scenario);
        assert_eq!([evidence.asked, evidence.answered], expected);
    }

    #[test]
    fn a_physical_devices_traffic_counts_as_its_own_word_would() {
        check_traffic(&[(255, Some(0)), (254, Some(0))], &[], [1, 1]);
        check_traffic(&[(254, Some(-121)), (254, None)], &[], [2, 0]);
        check_traffic(&[(255, Some(0))], &[], [0, 0]);
    }

    #[test]
    fn an_answer_whose_end_qemu_did_not_record_is_known_from_the_guest() {
        check_traffic(&[(254, None)], &["urb"], [1, 1]);
        check_traffic(&[(254, None)], &["urb-failed"], [1, 0]);
        // The root hub is no device.
        check_traffic(&[(254, None)], &["hub"], [1, 0]);
    }

    #[test]
    fn a_record_that_cannot_be_read_proves_nothing() {
        let mut evidence = Evidence {
            unread_traffic: Some("it is empty".into()),
            ..Evidence::default()
        };
        let scenario = scenario("none");
        for word in ["asked", "answered", "urb", "fired", "hub"] {
            evidence.note(&said(word), &scenario);
        }
        let why = evidence.proves_survival(&scenario).unwrap_err();
        assert!(
            why.ends_with("QEMU's record of its traffic: it is empty"),
            "{why}"
        );
    }

    fn evidence(words: &str) -> Evidence {
        let mut evidence = Evidence::default();
        for word in words.split_whitespace() {
            evidence.note(&said(word), &scenario("none"));
        }
        evidence
    }

    /// Whether a run of which this is said came as far as one that crashed behind the fault.
    fn check_reached(words: &str, expected: Result<(), &str>) {
        let crashed = evidence("asked answered urb fired");
        let found = crashed.reached_by(&evidence(words), &scenario("none"), true);
        assert_eq!(
            found.as_ref().map(|&()| ()).map_err(String::as_str),
            expected,
            "{words}"
        );
    }

    #[test]
    fn a_run_that_did_what_the_crashed_one_did_came_as_far() {
        check_reached("asked answered urb fired", Ok(()));
        check_reached("asked answered urb fired hub", Ok(()));
        check_reached("asked answered asked urb fired-log", Ok(()));
    }

    #[test]
    fn a_run_that_lacks_a_part_of_it_did_not() {
        check_reached(
            "",
            Err("the device was asked 0 times, and 1 times where the bug showed"),
        );
        check_reached("asked fired", Err("the URB of step 0 did not come back"));
        check_reached(
            "asked answered urb-failed fired",
            Err("the URB of step 0 came back with status -71, and with 0 where the bug showed"),
        );
        check_reached(
            "asked answered urb",
            Err("the fault code ran 0 times, and 1 times where the bug showed"),
        );
    }

    #[test]
    fn another_device_may_answer_other_bytes() {
        let crashed = evidence("asked answered urb fired");
        let mut other = crashed.clone();
        other.urbs[0].actual_length = 4;
        let scenario = scenario("none");
        assert_eq!(
            crashed.reached_by(&other, &scenario, true),
            Err("the URB of step 0 brought 4 bytes, and 56 where the bug showed".into())
        );
        assert_eq!(crashed.reached_by(&other, &scenario, false), Ok(()));
    }

    #[test]
    fn rubbish_is_ignored() {
        let scenario = scenario("none");
        let mut evidence = Evidence::default();
        evidence.note(&Said::Device(json!("x")), &scenario);
        evidence.note(&Said::Module(json!([1, {"event": 3}])), &scenario);
        evidence.note(
            &Said::Module(json!({"event": "freed", "in_flight": 1})),
            &scenario,
        );
        assert_eq!(evidence, Evidence::default());
    }
}
