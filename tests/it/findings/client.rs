//! Findings about clients of a listener.

use std::time::{Duration, Instant, SystemTime};

use metergate::findings::{Kind, Severity, certificate, client_port_closed, misframed};
use metergate::modbus::AduFraming;

#[test]
fn a_client_of_another_framing_is_named_until_it_has_not_tried_for_a_while() {
    let (first, quiet) = (Instant::now(), Duration::from_secs(120));
    let (listener, client) = (&"127.0.0.1:502".parse().unwrap(), &"10.0.0.9".parse().unwrap());
    let last = first + quiet;
    let found = |at| misframed(listener, client, AduFraming::Rtu, first, last, at);
    let one = found(last).expect("just seen");
    assert!(one.what.starts_with("Client 10.0.0.9 speaks RTU over TCP"), "{}", one.what);
    assert_eq!((one.active_since, one.last_seen), (first, last));
    assert!(found(last + quiet).is_some());
    assert_eq!(found(last + quiet + Duration::from_secs(1)), None);
    let other = misframed(listener, client, AduFraming::Tcp, first, last, last).expect("just seen");
    assert_eq!((one.kind, other.kind), (Kind::RtuOverTcp, Kind::TcpToRtu));
    let expected =
        "Client 10.0.0.9 speaks Modbus TCP to the listener 127.0.0.1:502, which speaks RTU over TCP";
    assert_eq!(other.what, expected);
    assert_eq!(
        other.remedy.to_string(),
        "Set that client to RTU over TCP, or give it a listener of its own with `framing: tcp`"
    );
}

#[test]
fn a_certificate_is_to_be_renewed_a_month_before_it_expires() {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let found = |expires| certificate("listener 127.0.0.1:802", expires, now, Instant::now());
    assert_eq!(found(now + 31 * day), None);
    let soon = found(now + 12 * day).expect("a finding");
    assert_eq!((soon.kind, soon.severity), (Kind::CertificateExpires, Severity::Warning));
    assert_eq!(soon.what, "The certificate of the listener 127.0.0.1:802 expires in 12 days");
    let late = found(now - day).expect("a finding");
    assert_eq!(late.severity, Severity::Fault);
    assert!(late.what.ends_with("has expired: no client accepts it"), "{}", late.what);
}

#[test]
fn a_closed_port_of_a_serial_client_is_named_with_its_reason() {
    let listener = "/dev/ttyUSB1".parse().unwrap();
    let found = client_port_closed(&listener, "the device has gone", Instant::now());
    let expected =
        "The serial client at /dev/ttyUSB1 cannot be served, its port is closed: the device has gone";
    assert_eq!((found.what.as_str(), found.kind), (expected, Kind::ClientPortClosed));
    assert_eq!(found.severity, Severity::Fault);
}
