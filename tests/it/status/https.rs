//! The status address over TLS, and to whom a token is sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use metergate::client::{HttpFailure, PageServer, Response};
use metergate::config::{API_HEADER, Token, parse};
use metergate::tls::{TlsFiles, TlsServer, Trust};
use metergate::web;
use nix::unistd::Uid;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::certificates::Site;

/// A server that answers `hello` and counts its requests.
async fn serve(site: Option<&Site>) -> (SocketAddr, Arc<AtomicUsize>) {
    let tls = site.map(|site| {
        let files = TlsFiles { client_ca: None, ..site.files() };
        Arc::new(TlsServer::load(&files).unwrap_or_else(|fault| panic!("{fault}")))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let page = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { ([(API_HEADER, "1")], "hello") }
    };
    let router = Router::new().route("/", get(page));
    tokio::spawn(web::run(listener, router, tls, CancellationToken::new()));
    (address, requests)
}

fn server(address: SocketAddr, trust: Option<Trust>) -> PageServer {
    PageServer {
        host: address.ip().to_string(),
        port: address.port(),
        token: Some(Token::parse("a-token-of-some-length").unwrap()),
        trust,
        users: BTreeSet::from([Uid::effective().as_raw()]),
    }
}

async fn ask(server: &PageServer) -> Result<String, HttpFailure> {
    let page = Response::get(server, "/").await?.whole(1000).await?;
    Ok(String::from_utf8(page).unwrap())
}

#[tokio::test]
async fn a_page_over_tls_is_read_from_the_server_that_is_trusted_and_from_no_other() {
    let (site, other) = (Site::new(), Site::new());
    let (address, requests) = serve(Some(&site)).await;
    let exactly = Trust::load(&site.folder.join("server.pem")).unwrap();
    assert_eq!(ask(&server(address, Some(exactly))).await.unwrap(), "hello");
    let authority = Trust::load(&site.folder.join("ca.pem")).unwrap();
    assert_eq!(ask(&server(address, Some(authority))).await.unwrap(), "hello");
    for wrong in [Some(Trust::load(&other.folder.join("ca.pem")).unwrap()), None] {
        let failure = ask(&server(address, wrong)).await.unwrap_err();
        assert!(matches!(failure, HttpFailure::Broken(_)), "{failure}");
    }
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn on_the_loopback_a_token_goes_to_listeners_of_trusted_users_only() {
    let (address, requests) = serve(None).await;
    let trusted = server(address, None);
    assert_eq!(ask(&trusted).await.unwrap(), "hello");
    let strangers = PageServer { users: BTreeSet::from([Uid::effective().as_raw() + 1]), ..trusted.clone() };
    let failure = ask(&strangers).await.unwrap_err();
    assert!(matches!(&failure, HttpFailure::Withheld(why) if why.contains("listens there")), "{failure}");
    let without = PageServer { token: None, ..strangers };
    assert_eq!(ask(&without).await.unwrap(), "hello");
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[test]
fn an_https_address_needs_a_certificate_to_trust() {
    let report = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_metergate")).arg("report").args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = report(&["--status", "https://127.0.0.1:1"]);
    assert!(code == Some(2) && said.contains("needs --ca FILE"), "{said}");
    let (code, said) = report(&["--status", "127.0.0.1:1", "--ca", "/dev/null"]);
    assert!(code == Some(2) && said.contains("--ca is for --status https://"), "{said}");
}

#[test]
fn the_files_of_the_page_are_read_and_written_back() {
    let site = Site::new();
    let folder = site.folder.display();
    let text = format!(
        "listeners: [{{address: '127.0.0.1:502'}}]\nbuses: [{{name: a, device: /dev/a, units: [{{id: 1}}]}}]\nstatus: {{tls: \
         {{certificate: {folder}/server.pem, key: {folder}/server.key}}}}\n"
    );
    let config = parse(&text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config;
    assert!(config.status.as_ref().unwrap().settings.tls.is_some());
    assert_eq!(parse(&config.to_yaml(), "m.yaml").unwrap().config, config);
    let wrong = parse(&text.replace("server.key", "none.key"), "m.yaml").expect_err("no key");
    assert!(wrong.to_string().contains("status.tls.key: there is no file"), "{wrong}");
}
