//! A session by its bytes: what it sends, what it accepts, how it ends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::mqtt::{
    BrokerAddress, BrokerSettings, Credentials, Loss, LossCause, Message, Password, Qos, Session,
    SessionEvent,
};

fn settings() -> BrokerSettings {
    BrokerSettings {
        address: BrokerAddress::parse("mqtt://broker.example").unwrap(),
        tls: None,
        client_id: "metergate-harbour".to_owned(),
        credentials: None,
        status_topic: "site/status".to_owned(),
    }
}

fn message(text: &'static str) -> Message {
    Message {
        topic: "site/riser/1/floats".into(),
        payload: Bytes::from_static(text.as_bytes()),
        retained: false,
        begun: None,
    }
}

/// A session that the broker has accepted, whose bytes were sent.
fn open(now: Instant) -> Session {
    let mut session = Session::new(&settings(), now);
    session.advance(session.output().len());
    session.handle_bytes(&[0x20, 2, 0, 0], now);
    assert_eq!(session.poll_event(), Some(SessionEvent::Connected));
    session
}

fn end(session: &mut Session) -> String {
    match session.poll_event() {
        Some(SessionEvent::Closed(why)) => why.to_string(),
        other => panic!("not closed but {other:?}"),
    }
}

#[test]
fn a_session_begins_with_the_will_and_what_identifies_it() {
    let credentials =
        Credentials { username: "riser".to_owned(), password: Some(Password::parse("secret").unwrap()) };
    let settings = BrokerSettings { credentials: Some(credentials), ..settings() };
    let session = Session::new(&settings, Instant::now());
    let mut expected = b"\x10\x42\0\x04MQTT\x04\xEE\0\x1E".to_vec();
    for text in ["metergate-harbour", "site/status", "offline", "riser", "secret"] {
        expected.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        expected.extend(text.bytes());
    }
    assert_eq!(session.output(), expected);
    assert!(!session.is_open() && !session.has_room(32));
}

#[test]
fn a_message_is_in_flight_until_it_is_acknowledged() {
    let now = Instant::now();
    let mut session = open(now);
    session.publish(message("1"), now);
    session.publish(message("2"), now);
    assert!(
        session.output().starts_with(b"\x32\x18\0\x13site/riser/1/floats\0\x011"),
        "{:?}",
        session.output()
    );
    assert!(!session.is_idle());
    session.handle_bytes(&[0x40, 2, 0, 2], now);
    assert_eq!(session.poll_event(), Some(SessionEvent::Acknowledged(message("2"))));
    let left = session.take_in_flight();
    assert_eq!(left, [message("1")]);
}

#[test]
fn a_message_with_qos_0_is_never_in_flight() {
    let now = Instant::now();
    let mut session = open(now);
    session.send(&message("1"), now);
    assert_eq!(session.output(), b"\x30\x16\0\x13site/riser/1/floats1");
    assert!(session.is_idle() && session.has_room(1));
}

#[test]
fn a_subscription_asks_for_the_qos_it_is_given() {
    let now = Instant::now();
    for (qos, code) in [(Qos::AtMostOnce, 0), (Qos::AtLeastOnce, 1)] {
        let mut session = open(now);
        session.subscribe(&["a/b".to_owned()], qos, now);
        assert_eq!(session.output(), [0x82, 8, 0, 1, 0, 3, b'a', b'/', b'b', code]);
    }
}

#[test]
fn the_number_of_messages_in_flight_is_bounded() {
    let now = Instant::now();
    let mut session = open(now);
    let mut sent = 0;
    while session.has_room(32) {
        session.publish(message("x"), now);
        sent += 1;
    }
    assert_eq!(sent, 32);
    session.handle_bytes(&[0x40, 2, 0, 1], now);
    assert!(session.has_room(32) && !session.has_room(31));
}

#[test]
fn each_refusal_is_said_in_words_with_its_remedy() {
    for (code, words) in [
        (1, "does not speak MQTT 3.1.1"),
        (2, "set another with `client_id`"),
        (3, "not available"),
        (4, "check `username` and `password_file`"),
        (5, "check `username`, `password_file` and the broker's ACL"),
    ] {
        let mut session = Session::new(&settings(), Instant::now());
        session.handle_bytes(&[0x20, 2, 0, code], Instant::now());
        let why = end(&mut session);
        assert!(why.contains(words), "{why}");
        assert!(!session.is_open());
    }
}

#[test]
fn a_broker_that_does_not_answer_is_given_up() {
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    let mut session = Session::new(&settings(), start);
    assert_eq!(session.poll_timeout(), Some(later(10)));
    session.handle_timeout(later(10));
    assert_eq!(end(&mut session), "the broker has not accepted the connection for 10s");

    let mut session = open(start);
    session.advance(session.output().len());
    let ping = session.poll_timeout().unwrap();
    assert_eq!(ping, later(30));
    session.handle_timeout(ping);
    assert_eq!(session.output(), [0xC0, 0], "a PINGREQ");
    session.handle_timeout(later(40));
    assert_eq!(end(&mut session), "the broker has not answered a ping for 10s");

    let mut session = open(start);
    session.publish(message("1"), start);
    session.handle_timeout(later(30));
    assert_eq!(end(&mut session), "the broker has not acknowledged a message for 30s");
}

#[test]
fn a_pong_keeps_the_session() {
    let start = Instant::now();
    let mut session = open(start);
    for round in 1..5 {
        let now = start + round * Duration::from_secs(30);
        session.handle_timeout(now);
        session.handle_bytes(&[0xD0, 0], now);
        assert_eq!(session.poll_event(), None);
    }
    assert!(session.is_open());
}

#[test]
fn whatever_is_no_mqtt_ends_the_session_and_nothing_else() {
    let hostile: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n",
        &[0x20, 2, 0, 9],
        &[0x20, 0],
        &[0x40, 2, 0, 9],
        &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x31, 5, 0, 9, b'a', b'b', b'c'],
        &[0x31, 4, 0, 2, 0xFF, 0xFE],
        &[0x00, 0],
        &[0xF0, 0],
        &[0x10, 0],
        &[0x90, 3, 0, 1, 7],
    ];
    for bytes in hostile {
        for accepted in [false, true] {
            let now = Instant::now();
            let mut session = if accepted { open(now) } else { Session::new(&settings(), now) };
            session.handle_bytes(bytes, now);
            let Some(SessionEvent::Closed(why)) = session.poll_event() else {
                panic!("not closed by {bytes:?}, accepted: {accepted}")
            };
            let words = if accepted || bytes[0] == 0x20 {
                "the broker "
            } else {
                "what answers there is no MQTT broker"
            };
            assert!(why.to_string().starts_with(words), "{bytes:?}: {why}");
            assert_eq!(session.poll_event(), None, "{bytes:?}: said once");
            // Further bytes do no harm.
            session.handle_bytes(bytes, now);
        }
    }
}

#[test]
fn bytes_may_come_in_any_pieces() {
    let now = Instant::now();
    let mut session = Session::new(&settings(), now);
    let mut bytes = vec![0x20, 2, 0, 0];
    bytes.extend(crate::support::mqtt_broker::publish("site/riser/1/state", "{}"));
    for byte in bytes {
        session.handle_bytes(&[byte], now);
    }
    assert_eq!(session.poll_event(), Some(SessionEvent::Connected));
    let received = SessionEvent::Received {
        topic: "site/riser/1/state".to_owned(),
        payload: b"{}".to_vec(),
        is_retained: true,
    };
    assert_eq!(session.poll_event(), Some(received));
}

#[test]
fn what_a_broker_sends_without_end_ends_the_session() {
    let messages = crate::support::mqtt_broker::publish("a", "b").repeat(1000);
    let pongs = [0xD0, 0].repeat(1000);
    for many in [messages, pongs] {
        let now = Instant::now();
        let mut session = open(now);
        let mut end = None;
        for _ in 0..200 {
            session.handle_bytes(&many, now);
            while let Some(event) = session.poll_event() {
                if let SessionEvent::Closed(why) = event {
                    end = Some(why);
                }
            }
        }
        let end = end.expect("200,000 packets were accepted");
        assert_eq!(end, Loss::new(LossCause::Protocol, "the broker sends packets without end"));
    }
}

#[test]
fn what_is_retained_and_the_acknowledgements_do_not_count_as_without_end() {
    let now = Instant::now();
    let mut session = open(now);
    session.expect_retained(100_000);
    let many = crate::support::mqtt_broker::publish("a", "b").repeat(1000);
    for _ in 0..250 {
        session.handle_bytes(&many, now);
        while session.poll_event().is_some() {}
    }
    assert!(session.is_open());
    for _ in 0..100_000_u32 {
        session.publish(message("1"), now);
        let id = session.output()[session.output().len() - 3..][..2].to_vec();
        session.advance(session.output().len());
        session.handle_bytes(&[0x40, 2, id[0], id[1]], now);
        assert!(matches!(session.poll_event(), Some(SessionEvent::Acknowledged(_))));
    }
    assert!(session.is_open());
}

#[test]
fn a_connection_is_accepted_once() {
    let now = Instant::now();
    let mut session = open(now);
    session.handle_bytes(&[0x20, 2, 0, 0], now);
    assert!(end(&mut session).starts_with("the broker broke the protocol"));
    assert!(!session.is_open());
}
