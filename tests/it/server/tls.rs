//! Modbus/TCP Security: who is let in, with which role, for how long; on real sockets, with rustls as the client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use metergate::line::{Answer, BusId};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, exception_reply};
use metergate::serial::BusHandle;
use metergate::server::{
    HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS, ListenerSettings, ListenerState, Permission,
    REVERIFY_PERIOD, Routes, Rule,
};
use metergate::tls::{self, CHAIN_MAX, CLIENT_HELLO_TIMEOUT, ClientIdentity, HandshakeFailure, TlsServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::{HandshakeKind, version};

use crate::support::certificates::{ClientCertificate, Odd, Site, client_hello, connect, connect_over, utf8};
use crate::support::clients::{self, Peer, READ, Server, WRITE, settings, units};

/// A bus whose units carry out everything, and answer with the request.
fn echoing_bus() -> BusHandle {
    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-a");
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let reply = request.pdu.bytes().clone();
            request.to.send(Answer::Reply(reply));
        }
    });
    bus
}

/// Engineers may write, others may read.
fn rules() -> Vec<Rule> {
    let rule = |roles: &[&str], may| Rule {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        from: Vec::new(),
        units: BTreeSet::new(),
        registers: None,
        may,
    };
    vec![rule(&["Engineer"], Permission::Write), rule(&[], Permission::Read)]
}

fn secure(server: &Arc<TlsServer>) -> ListenerSettings {
    ListenerSettings { tls: Some(Arc::clone(server)), rules: rules(), ..settings() }
}

fn serve(server: &Arc<TlsServer>) -> Server {
    clients::serve(secure(server), vec![(echoing_bus(), units([1]))])
}

/// Replaces the settings as a reload does.
fn reload(gateway: &Server, settings: ListenerSettings) {
    let before = gateway.listening.load();
    let routes = Routes::new(vec![(echoing_bus(), units([1]))]);
    let metrics = Arc::clone(&before.metrics);
    gateway.listening.store(Arc::new(ListenerState { metrics, ..ListenerState::new(settings, routes) }));
    gateway.listening.load().close_unaccepted_clients(SystemTime::now());
}

/// Waits until something is so that must become so.
async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

fn failures(gateway: &Server, wanted: HandshakeFailure) -> u64 {
    let state = gateway.listening.load();
    state.metrics.tls.failures().find(|(failure, _)| *failure == wanted).unwrap().1
}

/// Whether a client with this certificate gets an answer.
async fn is_served(site: &Site, gateway: &Server, client: Option<&ClientCertificate>) -> bool {
    let Ok(stream) = site.connect(gateway.address, client).await else { return false };
    let mut peer = Peer::new(stream);
    // With TLS 1.3 the client has finished before the server looks at its certificate.
    if peer.stream.write_all(&clients::bytes_of(1, 1, READ)).await.is_err() {
        return false;
    }
    peer.receive().await.is_some()
}

fn forbidden(function: u8) -> Bytes {
    exception_reply(FunctionCode(function), ExceptionCode::ILLEGAL_FUNCTION)
}

#[tokio::test]
async fn the_role_of_the_certificate_decides_by_the_rules() {
    let site = Site::new();
    let gateway = serve(&site.server());
    for (roles, may_write) in [
        (&[utf8("Engineer")][..], true),
        (&[utf8("Operator")], false),
        (&[utf8("engineer")], false),
        (&[], false),
        (&[utf8("Engineer"), utf8("Engineer")], false),
        (&[b"Engineer".to_vec()], false),
        (&[b"\x13\x08Engineer".to_vec()], false),
    ] {
        let client = site.client("client", roles, Odd::Nothing);
        let mut peer = Peer::new(site.connect(gateway.address, Some(&client)).await.unwrap());
        assert_eq!(&peer.ask(1, READ).await.unwrap()[..], READ, "{roles:02X?}");
        let expected = if may_write { Bytes::from_static(WRITE) } else { forbidden(6) };
        assert_eq!(peer.ask(1, WRITE).await.unwrap(), expected, "{roles:02X?}");
    }
}

#[tokio::test]
async fn connections_are_counted_by_role_while_they_last() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let roles = || gateway.listening.load().metrics.tls.roles();
    let (engineer, nobody) = (site.client_with_role("Engineer"), site.client("x", &[], Odd::Nothing));
    let mut peers = Vec::new();
    for client in [&engineer, &engineer, &nobody] {
        let mut peer = Peer::new(site.connect(gateway.address, Some(client)).await.unwrap());
        peer.ask(1, READ).await.unwrap();
        peers.push(peer);
    }
    assert_eq!(roles(), [(None, 1), (Some("Engineer".to_owned()), 2)].into());
    drop(peers);
    wait_until("no connections", || roles().is_empty()).await;
}

#[tokio::test]
async fn clients_without_an_accepted_certificate_are_not_served_and_counted_by_cause() {
    let (site, other) = (Site::new(), Site::new());
    let revoked = site.client_with_role("Engineer");
    let gateway = serve(&site.server_that_revokes(&[&revoked]));
    let odd = |odd| site.client("odd", &[utf8("Engineer")], odd);
    for (client, cause) in [
        (None, HandshakeFailure::NoCertificate),
        (Some(odd(Odd::Expired)), HandshakeFailure::Expired),
        (Some(odd(Odd::NotYetValid)), HandshakeFailure::NotYetValid),
        (Some(odd(Odd::ForServers)), HandshakeFailure::BadCertificate),
        (Some(other.client_with_role("Engineer")), HandshakeFailure::UnknownAuthority),
        (Some(revoked), HandshakeFailure::Revoked),
    ] {
        assert!(!is_served(&site, &gateway, client.as_ref()).await, "{cause:?}");
        wait_until(cause.word(), || failures(&gateway, cause) == 1).await;
    }
    // A client that does not trust the gateway, and one that does not speak TLS.
    let good = site.client_with_role("Engineer");
    assert!(!is_served(&other, &gateway, Some(&good)).await);
    wait_until("refused by the client", || failures(&gateway, HandshakeFailure::RefusedByClient) == 1).await;
    let mut plain = Peer::new(TcpStream::connect(gateway.address).await.unwrap());
    assert_eq!(plain.stream.write(&clients::bytes_of(1, 1, READ)).await.unwrap(), 12);
    let mut answer = Vec::new();
    let _reset_or_closed = plain.stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(&[0, 1, 0, 0]), "no answer in clear: {answer:02X?}");
    wait_until("no TLS", || failures(&gateway, HandshakeFailure::NotTls) == 1).await;
    assert!(is_served(&site, &gateway, Some(&good)).await);
    assert_eq!(gateway.listening.load().metrics.totals().accepted, 1, "only the last was a connection");
}

#[test]
fn a_client_that_shows_too_many_certificates_is_refused() {
    let site = Site::new();
    let server = site.server();
    let client = site.client_with_role("Engineer").certificate.der().clone();
    for (shown, expected) in [(CHAIN_MAX, Ok(())), (CHAIN_MAX + 1, Err(HandshakeFailure::BadCertificate))] {
        let identity = ClientIdentity::of(vec![client.clone(); shown]).unwrap();
        assert_eq!(server.verify(&identity, SystemTime::now()), expected, "{shown}");
    }
}

#[test]
fn a_revoked_authority_between_client_ca_and_the_client_counts_where_its_revocation_is_at_hand() {
    let site = Site::new();
    let intermediate = site.intermediate();
    let client = ClientIdentity::of(intermediate.client()).unwrap();
    let verify = |lists: &str| site.server_with_lists(lists).unwrap().verify(&client, SystemTime::now());
    let of_client = intermediate.list();
    assert_eq!(verify(&of_client), Ok(()), "the list of the authority above is not needed");
    assert_eq!(verify(&(of_client.clone() + &site.list(&[]))), Ok(()));
    assert_eq!(verify(&(of_client + &site.list(&[&intermediate.serial]))), Err(HandshakeFailure::Revoked));
    assert_eq!(verify(&site.list(&[])), Err(HandshakeFailure::RevocationUnknown));
}

#[tokio::test]
async fn the_role_is_bound_to_the_session_and_its_resumption() {
    let site = Site::new();
    let gateway = serve(&site.server());
    for version in [&version::TLS12, &version::TLS13] {
        let engineer = site.client_with_role("Engineer");
        let config = site.client_config(Some(&engineer), version);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut peer = Peer::new(connect(&config, gateway.address).await.unwrap());
            assert_eq!(&peer.ask(1, WRITE).await.unwrap()[..], WRITE, "{version:?} {expected:?}");
            assert_eq!(peer.stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_closes_the_revoked_and_resumes_none_of_their_sessions() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let (kept, gone) = (site.client_with_role("Engineer"), site.client_with_role("Engineer"));
    let config = site.client_config(Some(&gone), &version::TLS13);
    let mut revoked = Peer::new(connect(&config, gateway.address).await.unwrap());
    let mut other = Peer::new(site.connect(gateway.address, Some(&kept)).await.unwrap());
    for peer in [&mut revoked, &mut other] {
        assert_eq!(&peer.ask(1, WRITE).await.unwrap()[..], WRITE);
    }
    site.renew_server();
    reload(&gateway, secure(&site.server_that_revokes(&[&gone])));
    assert!(revoked.receive().await.is_none(), "closed without having sent a request");
    assert_eq!(&other.ask(1, WRITE).await.unwrap()[..], WRITE, "not disturbed by the new certificate");
    let again = connect(&config, gateway.address).await;
    let is_served = match again {
        Ok(stream) => {
            let mut peer = Peer::new(stream);
            peer.stream.write_all(&clients::bytes_of(1, 1, READ)).await.is_ok()
                && peer.receive().await.is_some()
        }
        Err(_) => false,
    };
    assert!(!is_served);
    wait_until("counted", || failures(&gateway, HandshakeFailure::Revoked) >= 1).await;
}

#[tokio::test]
async fn plain_connections_end_when_a_reload_demands_tls() {
    let site = Site::new();
    let gateway = clients::serve(settings(), vec![(echoing_bus(), units([1]))]);
    let mut plain = Peer::connect(&gateway).await;
    assert_eq!(&plain.ask(1, READ).await.unwrap()[..], READ);
    reload(&gateway, secure(&site.server()));
    assert_eq!(plain.ask(1, READ).await, None);
    assert!(is_served(&site, &gateway, Some(&site.client_with_role("x"))).await);
}

#[tokio::test]
async fn half_handshakes_are_bounded_by_address_and_cost_no_other_client() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let good = site.client_with_role("Engineer");
    let hello = client_hello(&site.client_config(Some(&good), &version::TLS13));
    let mut half = Vec::new();
    for _ in 0..HANDSHAKES_PER_ADDRESS {
        let mut peer = Peer::connect_from([127, 0, 0, 9], &gateway).await;
        peer.stream.write_all(&hello).await.unwrap();
        half.push(peer);
    }
    let mut one_more = Peer::connect_from([127, 0, 0, 9], &gateway).await;
    assert!(one_more.receive().await.is_none(), "turned away at once");
    assert_eq!(failures(&gateway, HandshakeFailure::TooMany), 1);
    assert!(is_served(&site, &gateway, Some(&good)).await, "another address");
    drop(half);
    let closed = || failures(&gateway, HandshakeFailure::Closed) == HANDSHAKES_PER_ADDRESS as u64;
    wait_until("the half handshakes have ended", closed).await;
    let again = Peer::connect_from([127, 0, 0, 9], &gateway).await;
    let config = site.client_config(Some(&good), &version::TLS13);
    let mut again = Peer::new(connect_over(&config, again.stream).await.unwrap());
    assert_eq!(&again.ask(1, READ).await.unwrap()[..], READ, "there is room again");
}

#[tokio::test]
async fn clients_of_one_address_that_all_connect_at_once_are_all_served() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let config = site.client_config(Some(&site.client_with_role("Engineer")), &version::TLS13);
    let clients = (0..HANDSHAKES_PER_ADDRESS).map(async |_| {
        let stream = Peer::connect_from([127, 0, 0, 9], &gateway).await.stream;
        let mut client = Peer::new(connect_over(&config, stream).await.unwrap());
        client.ask(1, READ).await.unwrap()
    });
    for reply in futures_util::future::join_all(clients).await {
        assert_eq!(&reply[..], READ);
    }
}

#[tokio::test]
async fn half_handshakes_of_many_addresses_shut_nobody_out() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let good = site.client_with_role("Engineer");
    let hello = client_hello(&site.client_config(Some(&good), &version::TLS13));
    let mut half = Vec::new();
    for number in 0..HANDSHAKES_MAX {
        let host = u8::try_from(10 + number / HANDSHAKES_PER_ADDRESS).unwrap();
        let mut peer = Peer::connect_from([127, 0, 0, host], &gateway).await;
        peer.stream.write_all(&hello).await.unwrap();
        half.push(peer);
    }
    assert!(is_served(&site, &gateway, Some(&good)).await);
    assert_eq!(failures(&gateway, HandshakeFailure::TooMany), 1, "one gave way");
    let oldest = timeout(CLIENT_HELLO_TIMEOUT, half[0].stream.read_to_end(&mut Vec::new())).await;
    assert!(oldest.is_ok(), "the oldest of those that have most");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_first_message_is_waited_for_shorter_than_one_with() {
    let site = Site::new();
    let server = site.server();
    let hello = client_hello(&site.client_config(None, &version::TLS13));
    let (first_byte, whole) = (hello[..1].to_vec(), hello);
    for (sent, expected) in [
        (Vec::new(), Some(HandshakeFailure::TimedOut)),
        (first_byte, Some(HandshakeFailure::TimedOut)),
        (whole, None),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(&sent).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let begun = Instant::now();
        let ended = timeout(HANDSHAKE_TIMEOUT, tls::accept(&server, stream)).await;
        let failure = ended.ok().map(|ended| ended.expect_err("a client that sends no more is not let in"));
        assert_eq!(failure, expected, "after {} bytes", sent.len());
        let waited = if expected.is_some() { CLIENT_HELLO_TIMEOUT } else { HANDSHAKE_TIMEOUT };
        assert!(begun.elapsed().abs_diff(waited) < Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_connection_ends_within_an_hour_after_its_certificate_has_expired() {
    let site = Site::new();
    // Longer than the hour that passes below: no connection ends for being idle.
    let settings = ListenerSettings { idle_timeout: Duration::from_secs(86_400), ..secure(&site.server()) };
    let gateway = clients::serve(settings, vec![(echoing_bus(), units([1]))]);
    let brief = site.client("brief", &[utf8("Engineer")], Odd::ExpiresIn(Duration::from_secs(5)));
    let expired = SystemTime::now() + Duration::from_secs(6);
    let brief = site.client_config(Some(&brief), &version::TLS13);
    let lasting = site.client_config(Some(&site.client_with_role("Engineer")), &version::TLS13);
    let mut peers = Vec::new();
    for config in [&brief, &lasting] {
        let mut peer = Peer::new(connect(config, gateway.address).await.unwrap());
        assert_eq!(&peer.ask(1, READ).await.unwrap()[..], READ);
        peers.push(peer);
    }
    wait_until("expired", || SystemTime::now() > expired).await;
    assert_eq!(&peers[0].ask(1, READ).await.unwrap()[..], READ, "not noticed yet");
    let mut resumed = Peer::new(connect(&brief, gateway.address).await.unwrap());
    assert_eq!(resumed.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(resumed.receive().await.is_none(), "a session is no way around the end of its certificate");
    wait_until("counted", || failures(&gateway, HandshakeFailure::Expired) == 1).await;
    tokio::time::pause();
    tokio::time::advance(REVERIFY_PERIOD).await;
    tokio::time::resume();
    assert!(peers[0].receive().await.is_none());
    assert_eq!(&peers[1].ask(1, READ).await.unwrap()[..], READ, "its certificate is still valid");
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_in_any_split() {
    let site = Site::new();
    let gateway = serve(&site.server());
    let client = site.client_with_role("Engineer");
    let mut peer = Peer::new(site.connect(gateway.address, Some(&client)).await.unwrap());
    let mut bytes = Vec::new();
    for transaction in 0..500 {
        bytes.extend_from_slice(&clients::bytes_of(transaction, 1, WRITE));
    }
    let (mut reader, mut writer) = tokio::io::split(peer.stream);
    let sending = tokio::spawn(async move {
        for part in bytes.chunks(7) {
            writer.write_all(part).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer
    });
    let mut replies = vec![0; 500 * 12];
    reader.read_exact(&mut replies).await.unwrap();
    let found: BTreeSet<[u8; 2]> = replies.chunks(12).map(|reply| [reply[0], reply[1]]).collect();
    assert_eq!(found.len(), 500);
    peer = Peer::new(reader.unsplit(sending.await.unwrap()));
    assert_eq!(&peer.ask(1, READ).await.unwrap()[..], READ);
}
