//! A status page whose address somebody else has: nothing else waits for it.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use metergate::config::{self, Config};
use metergate::gateway::Gateway;
use nix::sys::signal::Signal;

use crate::support::at_last::at_last;
use crate::support::page::{PATIENCE, get, request};
use crate::support::program::{Folder, Program};

const WORD: &str = "Authorization: Bearer correct-horse-battery-staple";

fn text(folder: &Folder, address: SocketAddr) -> String {
    use std::os::unix::fs::PermissionsExt;
    let token = folder.write("token", "correct-horse-battery-staple\n");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\nbuses: [{{name: riser, device: {}, units: [{{id: 1}}]}}]\n\
         status: {{address: '{address}', token_file: {}}}\n",
        folder.path("none").display(),
        token.display()
    )
}

/// A port of all addresses that no test gets by asking for any: below those the system hands out.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    let mut ports =
        std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).unwrap()
}

/// A configuration in which nobody asked for the page, as far as the gateway knows.
fn unasked(folder: &Folder, address: SocketAddr) -> Config {
    let loaded = config::parse(&text(folder, address), "test.yaml").unwrap_or_else(|found| panic!("{found}"));
    let mut config = loaded.config;
    config.status.as_mut().unwrap().given = false;
    config
}

#[test]
fn a_page_that_a_reload_could_not_move_comes_when_its_address_is_free() {
    let port = port();
    let theirs = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let (old, all) = (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0, 0, 0, 0], port)));
    let folder = Folder::new();
    let file = folder.write("metergate.yaml", &text(&folder, old));
    let mut gateway = Program::start(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(gateway.status_page(), old);

    // The old page is in the way of the new one, and when it has gone, the other program still is.
    folder.write("metergate.yaml", &text(&folder, all));
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("status page closed");
    let said = gateway.line_with(&format!("no status page: cannot listen on {all}"));
    assert!(said.contains(" WARN ") && said.ends_with("; retrying every 10s"), "{said}");
    gateway.line_with("INFO reloaded");

    // From here on nobody tells the gateway anything.
    drop(theirs);
    assert_eq!(gateway.status_page(), all);
    assert_eq!(request(old, "GET", "/", &[WORD]).status, 200);
    gateway.signal(Signal::SIGTERM);
    let (status, said) = gateway.exit();
    assert_eq!((status.code(), said.matches("no status page").count()), (Some(0), 1), "{said}");
}

#[tokio::test]
async fn a_page_that_nobody_asked_for_is_done_without_until_a_reload_finds_its_address_free() {
    let theirs = TcpListener::bind(("127.0.0.1", port())).unwrap();
    let address = theirs.local_addr().unwrap();
    let folder = Folder::new();
    let config = unasked(&folder, address);
    let mut gateway = Gateway::start(&config).unwrap();
    assert_eq!(gateway.status_address(), None, "it is somebody else's");
    gateway.reload(&config).await.unwrap();
    assert_eq!(gateway.status_address(), None, "it is still somebody else's");
    drop(theirs);
    // More than one reload only where a program that another test starts has the socket, too, for a moment.
    let until = Instant::now() + PATIENCE;
    while gateway.status_address().is_none() && Instant::now() < until {
        gateway.reload(&config).await.unwrap();
    }
    assert_eq!(gateway.status_address(), Some(address));
    assert_eq!(get(address, "/health").status, 200);
    gateway.stop().await;
    at_last(|| TcpListener::bind(address).map_err(|error| format!("the page outlives the gateway: {error}")));
}

#[tokio::test]
async fn a_page_that_somebody_asks_for_is_refused_where_its_address_is_taken() {
    let theirs = TcpListener::bind(("127.0.0.1", port())).unwrap();
    let folder = Folder::new();
    let mut config = unasked(&folder, theirs.local_addr().unwrap());
    let mut gateway = Gateway::start(&config).unwrap();
    config.status.as_mut().unwrap().given = true;
    let refused = gateway.reload(&config).await.unwrap_err().to_string();
    assert!(refused.contains("cannot listen on 127.0.0.1:"), "{refused}");
    gateway.stop().await;
}
