//! The built program with brokers that speak TLS: here a front before the broker of the tests.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metergate::tls::{TlsFiles, TlsServer, accept};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::program::Site;
use crate::support::certificates::Site as Certificates;
use crate::support::mqtt_broker::{Broker, Seen};
use crate::support::page::get_until;
use crate::support::program::chain;

/// Takes TLS connections for a broker; closes them when dropped.
struct Front {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Front {
    fn start(server: Arc<TlsServer>, broker: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let Ok((mut outer, _)) = accept(&server, stream).await else { return };
                    let mut inner = TcpStream::connect(broker).await.unwrap();
                    let _ended = copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self { address, _runtime: runtime }
    }
}

fn without_clients(certificates: &Certificates) -> Arc<TlsServer> {
    let files = TlsFiles { client_ca: None, ..certificates.files() };
    Arc::new(TlsServer::load(&files).unwrap_or_else(|fault| panic!("{fault}")))
}

#[test]
fn a_broker_with_certificates_on_both_sides_gets_readings_and_the_goodbye() {
    let (broker, certificates) = (Broker::start(), Certificates::new());
    certificates.write_client(&certificates.client_with_role("Publisher"));
    let front = Front::start(certificates.server(), broker.address());
    let folder = certificates.folder.display();
    let keys = format!(
        "    ca: {folder}/ca.pem\n    certificate: {folder}/client.pem\n    key: {folder}/client.key\n"
    );
    let site = Site::new(front.address, "");
    site.configure(&site.entry(front.address, &keys).replace("mqtt://", "mqtts://"), "1-2");
    let _meters = chain(&site.line, "1-2");
    let mut program = site.run();
    program.line_with("connected as metergate-test");
    for _ in 0..3 {
        broker.message("site/riser-a/1/floats");
    }
    program.signal(nix::sys::signal::Signal::SIGTERM);
    broker.message_with("site/status", |status| status.payload == "offline");
    broker.wait_for("DISCONNECT", |seen| (seen == Seen::Disconnect).then_some(()));
    assert!(program.exit().0.success());
}

#[test]
fn what_is_wrong_with_a_handshake_is_said_in_words() {
    let (broker, certificates, other) = (Broker::start(), Certificates::new(), Certificates::new());
    let dated = Certificates::new();
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    dated.date_server(now - 2 * day, now - day);
    let trusted = Front::start(without_clients(&certificates), broker.address());
    let expired = Front::start(without_clients(&dated), broker.address());
    let nameless = Certificates::new();
    nameless.date_server(now - day, now + day);
    let misnamed = Front::start(without_clients(&nameless), broker.address());
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            // The gateway may have closed it.
            let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let cases = [
        (trusted.address, &other, "no trusted authority signed its certificate; check `ca`"),
        (expired.address, &dated, "its certificate has expired"),
        (misnamed.address, &nameless, "its certificate is for another name; connect by the name in it"),
        (plain_address, &certificates, "it does not speak TLS there"),
    ];
    let site = Site::new(broker.address(), "");
    let entry = |(address, trust, _): &(SocketAddr, &Certificates, &str)| {
        let keys = format!("    ca: {}/ca.pem\n", trust.folder.display());
        site.entry(*address, &keys).replace("mqtt://", "mqtts://")
    };
    site.configure(&cases.iter().map(entry).collect::<String>(), "1-2");
    let mut program = site.run();
    let page = program.status_page();
    let status = get_until(page, "/api/v1/status", |answer| {
        answer.json()["brokers"].as_array().unwrap().iter().all(|broker| broker["last_error"].is_string())
    });
    let status = status.json();
    for (broker, (_, _, words)) in status["brokers"].as_array().unwrap().iter().zip(cases) {
        assert_eq!(broker["last_error"], format!("TLS failed: {words}"), "{broker}");
    }
}
