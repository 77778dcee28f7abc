//! Dialogues with a guest, as transcripts.
use super::*;
use proptest::prelude::*;

const RULES: &str = "
    summary = 'test'
    vendor = 0x1209
    product = 1
    strings = { product = 'Vir' }
    [[interface]]
    class = 0xff
    [[interface.endpoint]]
    address = 0x81
    kind = 'bulk'
    max_packet = 512
    [[rule]]
    match = { value = 0x0302, length = 254 }
    delay_ms = 300
    [[rule]]
    match = { value = 0x0301 }
    timeout = true
    [[rule]]
    match = { value = 0x0300 }
    nth = 2
    bytes = '01 02 03'
    short = 2
    [[rule]]
    match = { value = 0x0100 }
    stall = true
";

fn greeted() -> (Session, Codec) {
    let device: Device = toml::from_str(RULES).unwrap();
    device.check().unwrap();
    let mut session = Session::new(Arc::new(device));
    let mut guest = Codec::new(Caps::OURS);
    let mut hello = Vec::new();
    guest.encode(&Packet::hello("guest", Caps::OURS), &mut hello);
    session.on_bytes(Duration::ZERO, &hello);
    guest.feed(&session.take_output());
    (session, guest)
}

fn read(guest: &mut Codec) -> Vec<Packet> {
    std::iter::from_fn(|| guest.take().unwrap())
        .map(|found| match found {
            Found::Packet(packet) => packet,
            Found::Unknown { kind, .. } => panic!("unknown packet {kind}"),
        })
        .collect()
}

/// GET_DESCRIPTOR.
fn get(id: u64, value: u16, length: u16) -> Packet {
    let body = Body::Control {
        endpoint: 0x80,
        request: 6,
        request_type: 0x80,
        status: 0,
        value,
        index: 0x0409,
        length,
    };
    Packet::new(id, body)
}

fn cancel(id: u64) -> Packet {
    Packet::new(id, Body::CancelDataPacket {})
}

/// Plays the guest's packets at their milliseconds; the answers, one a line: time, id, packet's number, status,
/// data.
fn check(dialogue: &[(u64, Option<Packet>)], expected: &[&str]) {
    let (mut session, mut guest) = greeted();
    read(&mut guest);
    let mut found = Vec::new();
    for (at, packet) in dialogue {
        let now = Duration::from_millis(*at);
        let mut bytes = Vec::new();
        match packet {
            Some(packet) => {
                guest.encode(packet, &mut bytes);
                session.on_bytes(now, &bytes);
            }
            None => session.on_time(now),
        }
        guest.feed(&session.take_output());
        for Packet { id, body, data } in read(&mut guest) {
            let status = match body {
                Body::Control { status, .. }
                | Body::Bulk { status, .. }
                | Body::AltSettingStatus { status, .. }
                | Body::IsoStreamStatus { status, .. }
                | Body::InterruptReceivingStatus { status, .. }
                | Body::ConfigurationStatus { status, .. } => status.to_string(),
                _ => "-".into(),
            };
            found.push(format!("{at} {id} {} {status} {}", body.kind(), hex(&data)));
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn hello_is_followed_by_interfaces_endpoints_and_connect() {
    let (mut session, mut guest) = greeted();
    let kinds: Vec<u32> = read(&mut guest).iter().map(|p| p.body.kind()).collect();
    assert_eq!(kinds, [0, 4, 5, 1]);
    let hello = DeviceEvent::Hello {
        version: "guest".into(),
    };
    assert_eq!(session.take_events(), [DeviceEvent::Connected, hello]);
}

#[test]
fn an_answer_is_cut_to_what_was_asked_for() {
    check(
        &[(0, Some(get(1, 0x0302, 255))), (0, Some(get(2, 0x0302, 4)))],
        &["0 1 100 0 0803560069007200", "0 2 100 0 08035600"],
    );
}

#[test]
fn a_delayed_answer_comes_when_it_is_due() {
    check(
        &[(5, Some(get(1, 0x0302, 254))), (304, None), (305, None)],
        &["305 1 100 0 0803560069007200"],
    );
}

#[test]
fn only_a_pending_request_is_answered_as_cancelled() {
    check(
        &[
            (0, Some(get(1, 0x0302, 254))),
            (0, Some(get(2, 0x0301, 255))),
            (9999, Some(cancel(2))),
            (9999, Some(cancel(1))),
        ],
        &["9999 2 100 1 ", "9999 1 100 0 0803560069007200"],
    );
}

#[test]
fn rules_stall_replace_and_count() {
    check(
        &[
            (0, Some(get(1, 0x0100, 18))),
            (0, Some(get(2, 0x0300, 255))),
            (0, Some(get(3, 0x0300, 255))),
            (0, Some(get(4, 0x0300, 255))),
        ],
        &[
            "0 1 100 4 ",
            "0 2 100 0 04030904",
            "0 3 100 0 0102",
            "0 4 100 0 04030904",
        ],
    );
}

#[test]
fn configurations_and_settings_that_are_not_there_stall() {
    let set = |configuration| Packet::new(1, Body::SetConfiguration { configuration });
    let alt = |alt| Packet::new(2, Body::SetAltSetting { interface: 0, alt });
    check(
        &[
            (0, Some(set(1))),
            (0, Some(set(2))),
            (0, Some(alt(0))),
            (0, Some(alt(1))),
        ],
        &[
            "0 0 4 - ",
            "0 0 5 - ",
            "0 1 8 0 ",
            "0 1 8 4 ",
            "0 2 11 0 ",
            "0 2 11 4 ",
        ],
    );
}

#[test]
fn endpoints_that_are_not_there_are_invalid() {
    let bulk = |endpoint| {
        let (status, length, stream, length_high) = (0, 0, 0, 0);
        Packet::new(
            3,
            Body::Bulk {
                endpoint,
                status,
                length,
                stream,
                length_high,
            },
        )
    };
    let interrupt = Packet::new(4, Body::StartInterruptReceiving { endpoint: 0x82 });
    check(
        &[
            (0, Some(bulk(0x81))),
            (0, Some(bulk(0x82))),
            (0, Some(interrupt)),
        ],
        &["0 3 101 4 ", "0 3 101 2 ", "0 4 17 2 "],
    );
}

#[test]
fn a_reset_ends_what_is_pending() {
    check(
        &[
            (0, Some(get(1, 0x0301, 255))),
            (1, Some(Packet::new(0, Body::Reset {}))),
            (2, Some(cancel(1))),
        ],
        &["1 1 100 3 "],
    );
}

#[test]
fn a_connection_goes_on_from_its_state_without_a_hello() {
    let (mut session, mut guest) = greeted();
    read(&mut guest);
    let mut bytes = Vec::new();
    let configure = Packet::new(1, Body::SetConfiguration { configuration: 1 });
    guest.encode(&configure, &mut bytes);
    // The rule for the string of index 0 answers the second request; this is the first.
    guest.encode(&get(2, 0x0300, 255), &mut bytes);
    session.on_bytes(Duration::ZERO, &bytes);
    guest.feed(&session.take_output());
    read(&mut guest);
    let state = session.state().unwrap();
    // It is kept as JSON between two processes.
    let state = serde_json::to_string(&state).unwrap();
    let state: DeviceState = serde_json::from_str(&state).unwrap();

    let mut resumed = Session::resume(Arc::clone(&session.device), &state);
    assert!(resumed.take_output().is_empty());
    assert_eq!(
        resumed.take_events(),
        [DeviceEvent::Resumed { configuration: 1 }]
    );
    bytes.clear();
    guest.encode(&get(3, 0x0300, 255), &mut bytes);
    guest.encode(&Packet::new(4, Body::GetConfiguration {}), &mut bytes);
    resumed.on_bytes(Duration::ZERO, &bytes);
    guest.feed(&resumed.take_output());
    let answers = read(&mut guest);
    assert_eq!(answers[0].data, [1, 2], "the rule's second request");
    let Body::ConfigurationStatus { configuration, .. } = answers[1].body else {
        panic!("{:?}", answers[1]);
    };
    assert_eq!(configuration, 1);
}

#[test]
fn a_connection_with_something_on_its_way_has_no_state() {
    let device: Device = toml::from_str(RULES).unwrap();
    assert_eq!(
        Session::new(Arc::new(device)).state(),
        None,
        "before the hello"
    );
    let (mut session, mut guest) = greeted();
    read(&mut guest);
    assert!(session.state().is_some());
    let mut bytes = Vec::new();
    guest.encode(&get(1, 0x0302, 254), &mut bytes);
    session.on_bytes(Duration::ZERO, &bytes[..20]);
    assert_eq!(session.state(), None, "half a packet");
    session.on_bytes(Duration::ZERO, &bytes[20..]);
    assert_eq!(session.state(), None, "an answer that is due later");
    session.on_time(Duration::from_millis(300));
    assert_eq!(session.state(), None, "an answer that is not sent");
    session.take_output();
    assert!(session.state().is_some());
}

#[test]
fn pending_requests_have_a_limit() {
    let asked: Vec<_> = (0..=MOST_PENDING as u64)
        .map(|id| (0, Some(get(id, 0x0301, 255))))
        .collect();
    check(&asked, &["0 256 100 3 "]);
}

proptest! {
    #[test]
    fn any_bytes_after_the_hello_are_survived(
        pieces in prop::collection::vec((0_u32..110, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        let (mut session, _) = greeted();
        for (kind, body) in pieces {
            let mut bytes = kind.to_le_bytes().to_vec();
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend(&body);
            session.on_bytes(Duration::ZERO, &bytes);
            prop_assert!(session.pending.len() <= MOST_PENDING);
            prop_assert!(session.take_output().len() < 4096);
        }
    }
}
