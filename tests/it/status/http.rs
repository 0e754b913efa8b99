//! The status page's server, in the built program: who gets in, what is refused, and what holds under abuse.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metergate::web::{MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUESTS, MAX_VIEWERS};
use nix::sys::signal::Signal;

use crate::support::page::{PATIENCE, connect, get, get_until, parse, read_all, request, say};
use crate::support::program::{Folder, Program};

const WORD: &str = "correct-horse-battery-staple";
/// `anybody:` and the word, as a browser sends them.
const BASIC: &str = "Authorization: Basic YW55Ym9keTpjb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxl";

/// A gateway whose one unit is on a device that is not there.
struct Site {
    folder: Folder,
    gateway: Program,
    page: SocketAddr,
}

fn config(folder: &Folder, status: &str) -> PathBuf {
    let device = folder.path("none");
    let text = format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - name: riser\n    device: {}\n    units:\n      \
         - {{id: 1, name: '<script>alert(\"1\\2\")</script>'}}\n{status}\n",
        device.display()
    );
    folder.write("metergate.yaml", &text)
}

fn run(config: &Path) -> Program {
    Program::start(["run".as_ref(), "--config".as_ref(), config.as_os_str()])
}

fn write_token(folder: &Folder, word: &str) -> PathBuf {
    let path = folder.write("token", word);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

impl Site {
    fn start() -> Self {
        Self::start_with("status: {address: '127.0.0.1:0'}", Folder::new())
    }

    fn start_with(status: &str, folder: Folder) -> Self {
        let mut gateway = run(&config(&folder, status));
        let page = gateway.status_page();
        Self { folder, gateway, page }
    }

    fn with_token() -> Self {
        let folder = Folder::new();
        let token = write_token(&folder, WORD);
        Self::start_with(
            &format!("status: {{address: '127.0.0.1:0', token_file: {}}}", token.display()),
            folder,
        )
    }
}

#[test]
fn every_page_and_every_refusal_has_the_headers_and_no_script_of_its_own() {
    let site = Site::start();
    let pages = [
        "/",
        "/assets/style.css",
        "/units/1",
        "/units/200",
        "/health",
        "/metrics",
        "/api/v1/status",
        "/api/v1/nothing",
        "/nothing",
    ];
    let answers = pages.iter().map(|path| get(site.page, path));
    let refused = request(site.page, "DELETE", "/", &[]);
    for answer in answers.chain([refused]) {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("connection"), Some("close"));
        let html = answer.header("content-type").unwrap().starts_with("text/html");
        for inline in ["<script>", "<style", "onclick", "javascript:"] {
            assert!(!html || !answer.body.contains(inline), "{}", answer.body);
        }
    }
}

#[test]
fn a_browser_may_keep_the_files_of_a_page_and_nothing_else() {
    let site = Site::start();
    let html = get(site.page, "/").body;
    let addresses: Vec<_> =
        html.split('"').filter(|word| word.starts_with("/assets/") && word.contains("?v=")).collect();
    assert_eq!(addresses.len(), 3, "{html}");
    for address in addresses {
        let answer = get(site.page, address);
        let kept = Some("private, max-age=31536000, immutable");
        assert_eq!((answer.status, answer.header("cache-control")), (200, kept), "{address}");
        assert!(answer.header("content-security-policy").is_some(), "{address}");
    }
}

#[test]
fn what_is_not_get_or_head_is_refused_and_so_is_a_body() {
    let site = Site::start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = request(site.page, method, "/", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for length in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        assert_eq!(request(site.page, "GET", "/", &[length]).status, 413, "{length}");
    }
    let (head, whole) =
        (request(site.page, "HEAD", "/assets/style.css", &[]), get(site.page, "/assets/style.css"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()));
}

#[test]
fn a_path_is_no_file_and_is_never_said_back() {
    let site = Site::start();
    for path in [
        "/../../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/style.css/",
        "/assets/../style.css",
        "/units/1/",
        "/units/%3Cscript%3E",
        "/api/v1/units/1/../../../etc/passwd",
        "/api/v1/units/%3Cscript%3Ealert(1)%3C/script%3E",
        "/api/v1/units/1%00",
        "/api/v1/units/256",
        "/api/v1/units/-1",
        "/api/v1/buses/%ff",
        "/api/v1/buses/%",
        "/api/v1/buses/%3Cscript%3E",
        "/api/v1/units/1?bus=%3Cscript%3E",
        "/api/v1/",
        "/api/v2/status",
    ] {
        let answer = get(site.page, path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        for said in ["<script>", "%3C", "&lt;", "alert(1)", "root:", "passwd"] {
            assert!(!answer.body.contains(said), "{path}: {}", answer.body);
        }
    }
    for bad in ["/api/v1/units/1?bus=%f", "/<script>"] {
        let answer = get(site.page, bad);
        assert_eq!(answer.status, 400, "{bad}");
        assert!(!answer.body.contains("script"), "{}", answer.body);
    }
}

#[test]
fn a_name_somebody_chose_stays_text_on_the_page_in_json_and_in_metrics() {
    let site = Site::start();
    let page = get(site.page, "/").body;
    assert!(page.contains("&lt;script&gt;alert(&quot;1\\2&quot;)&lt;/script&gt;"), "{page}");
    let units = get(site.page, "/api/v1/units").json();
    assert_eq!(units[0]["name"], "<script>alert(\"1\\2\")</script>");
    let metrics = get(site.page, "/metrics").body;
    assert!(metrics.contains(r#"name="<script>alert(\"1\\2\")</script>""#), "{metrics}");
}

#[test]
fn without_a_token_only_addresses_and_localhost_are_names_of_this_machine() {
    let site = Site::start();
    let port = site.page.port();
    let with = |hosts: &[String]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        say(site.page, format!("GET /api/v1/status HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n").as_bytes())
            .status
    };
    for ours in
        ["127.0.0.1".to_owned(), format!("127.0.0.1:{port}"), format!("localhost:{port}"), "[::1]:80".into()]
    {
        assert_eq!(with(std::slice::from_ref(&ours)), 200, "{ours}");
    }
    for other in
        ["evil.example", "evil.example:8502", "127.0.0.1.evil.example", "localhost.evil.example", "a:b:c", ""]
    {
        assert_eq!(with(&[other.to_owned()]), 421, "{other}");
    }
    assert_eq!(with(&["127.0.0.1".to_owned(), "evil.example".to_owned()]), 421);
    assert_eq!(with(&[]), 421);
    assert_eq!(say(site.page, b"GET /health HTTP/1.0\r\n\r\n").status, 200);
    for (path, status) in [("/health", 200), ("/ready", 503)] {
        let by_name = format!("GET {path} HTTP/1.1\r\nHost: meters.example\r\nConnection: close\r\n\r\n");
        assert_eq!(
            say(site.page, by_name.as_bytes()).status,
            status,
            "{path} is for supervisors under any name"
        );
    }
}

#[test]
fn a_request_is_bounded_in_headers_and_in_bytes() {
    let site = Site::start();
    let headers = |count: usize| -> Vec<String> { (0..count).map(|index| format!("X-{index}: 1")).collect() };
    let ask = |headers: &[String]| {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        request(site.page, "GET", "/health", &headers).status
    };
    // Two are there already: the host, and how the connection ends.
    assert_eq!(ask(&headers(MAX_HEADERS - 2)), 200);
    assert_eq!(ask(&headers(MAX_HEADERS - 1)), 431);
    assert_eq!(ask(&[format!("X: {}", "x".repeat(MAX_HEADER_BYTES / 2))]), 200);
    assert_eq!(ask(&[format!("X: {}", "x".repeat(MAX_HEADER_BYTES * 2))]), 431);
    let long = get(site.page, &format!("/{}", "x".repeat(MAX_HEADER_BYTES * 5))).status;
    assert!(long == 414 || long == 431, "{long}");
    assert_eq!(say(site.page, b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01\r\n\r\n").status, 400);
    assert_eq!(get(site.page, "/health").status, 200);
}

#[test]
fn clients_that_say_nothing_make_room_for_those_who_ask_and_are_sent_away() {
    let site = Site::start();
    let mut silent: Vec<_> = (0..MAX_CONNECTIONS + 4).map(|_| connect(site.page)).collect();
    silent[MAX_CONNECTIONS].write_all(b"GET / HT").unwrap();
    assert_eq!(get(site.page, "/health").status, 200);
    for stream in &mut silent {
        let said = read_all(stream);
        assert!(said.is_empty() || parse(&said).status == 408, "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn a_connection_serves_a_bounded_number_of_requests() {
    let site = Site::start();
    let mut stream = connect(site.page);
    let ask = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", site.page);
    for _ in 0..MAX_REQUESTS {
        stream.write_all(ask.as_bytes()).unwrap();
    }
    let said = String::from_utf8(read_all(&mut stream)).unwrap();
    assert_eq!(said.matches("HTTP/1.1 200 ").count(), MAX_REQUESTS);
    let (first, last) = (said.find("connection: close"), said.rfind("HTTP/1.1 200 "));
    assert!(first > last && said.matches("connection: close").count() == 1, "only the last one ends it");
}

#[test]
fn idle_connections_make_room_for_others() {
    let site = Site::start();
    let ask = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", site.page);
    let idle: Vec<_> = (0..MAX_CONNECTIONS)
        .map(|_| {
            let mut stream = connect(site.page);
            stream.write_all(ask.as_bytes()).unwrap();
            let mut begun = [0; 12];
            stream.read_exact(&mut begun).unwrap();
            stream
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut stream = connect(site.page);
        let last = ask.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let sent = stream.write_all(last.as_bytes());
        if sent.is_ok() && read_all(&mut stream).starts_with(b"HTTP/1.1 200 ") {
            break;
        }
        assert!(Instant::now() < until, "idle connections keep their places");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(idle);
}

#[test]
fn metrics_are_openmetrics_for_those_who_accept_them() {
    let site = Site::start();
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = request(site.page, "GET", "/metrics", &[accept]);
    let expected = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!((answer.header("content-type"), answer.header("vary")), (expected, Some("accept")));
    assert!(
        answer.body.ends_with("\n# EOF\n") && answer.body.contains("# TYPE process_cpu_seconds counter\n")
    );
    let answer = get(site.page, "/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(
        !answer.body.contains("# EOF") && answer.body.contains("# TYPE process_cpu_seconds_total counter\n")
    );
}

#[test]
fn events_come_one_after_another_and_viewers_are_bounded() {
    let site = Site::start();
    let ask = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", site.page);
    let open = || {
        let mut stream = connect(site.page);
        stream.write_all(ask.as_bytes()).unwrap();
        stream
    };
    let mut viewers: Vec<_> = (0..MAX_VIEWERS).map(|_| open()).collect();
    for viewer in &mut viewers {
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        while seen.matches("data: ").count() < 2 || !seen.ends_with("\n\n\r\n") {
            let length = viewer.read(&mut buffer).unwrap();
            assert!(length > 0, "{seen}");
            seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        assert!(seen.contains("content-type: text/event-stream"), "{seen}");
        let event = seen.rsplit_once("data: ").unwrap().1.split('\n').next().unwrap();
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["buses"][0]["bus"], "riser");
    }
    assert_eq!(get(site.page, "/api/v1/events").status, 503);
    assert_eq!(get(site.page, "/health").status, 200);
    viewers.pop();
    let mut again = loop {
        let mut stream = open();
        let mut buffer = [0; 12];
        stream.read_exact(&mut buffer).unwrap();
        if &buffer == b"HTTP/1.1 200" {
            break stream;
        }
        std::thread::yield_now();
    };
    site.gateway.signal(Signal::SIGTERM);
    assert_eq!(site.gateway.exit().0.code(), Some(0), "viewers do not hold up a stop");
    read_all(&mut again);
}

#[test]
fn with_a_token_nothing_but_two_words_is_said_to_strangers() {
    let site = Site::with_token();
    for path in ["/", "/style.css", "/metrics", "/api/v1/status", "/api/v1/events", "/nothing"] {
        let answer = get(site.page, path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="), "{answer:?}");
        assert!(!answer.body.contains("riser") && !answer.body.contains(WORD));
    }
    for wrong in
        ["Authorization: Bearer correct-horse-battery-stapl", "Authorization: Bearer", "Cookie: token=x"]
    {
        assert_eq!(request(site.page, "GET", "/", &[wrong]).status, 401, "{wrong}");
    }
    assert_eq!(get(site.page, "/health").body, "alive\n");
    assert_eq!(get(site.page, "/ready").status, 503);
    for right in [format!("Authorization: Bearer {WORD}"), BASIC.to_owned()] {
        for path in ["/", "/metrics", "/api/v1/status"] {
            assert_eq!(request(site.page, "GET", path, &[&right]).status, 200, "{right} {path}");
        }
    }
    // Whoever knows the token may call the machine what he likes.
    let named = format!("GET / HTTP/1.1\r\nHost: meters.example\r\nConnection: close\r\n{BASIC}\r\n\r\n");
    assert_eq!(say(site.page, named.as_bytes()).status, 200);
}

#[test]
fn a_new_token_shuts_out_who_had_the_old_one_streams_included() {
    let folder = Folder::new();
    let token = write_token(&folder, WORD);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let status = format!("status: {{address: '{free}', token_file: {}}}", token.display());
    let mut site = Site::start_with(&status, folder);
    let mut stream = connect(site.page);
    let ask = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n{BASIC}\r\n\r\n", site.page);
    stream.write_all(ask.as_bytes()).unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();

    site.gateway.signal(Signal::SIGHUP);
    site.gateway.line_with("INFO reloaded");
    assert_eq!(request(site.page, "GET", "/", &[BASIC]).status, 200, "nothing changed");

    write_token(&site.folder, "another-word-of-some-length");
    site.gateway.signal(Signal::SIGHUP);
    site.gateway.line_with("status page closed");
    assert_eq!(site.gateway.status_page(), free);
    site.gateway.line_with("INFO reloaded");
    read_all(&mut stream);
    assert_eq!(request(site.page, "GET", "/", &[BASIC]).status, 401);
    let new = "Authorization: Bearer another-word-of-some-length";
    assert_eq!(request(site.page, "GET", "/", &[new]).status, 200);
}

#[test]
fn a_reload_opens_moves_and_closes_the_page() {
    let folder = Folder::new();
    let mut gateway = run(&config(&folder, "status: off"));
    gateway.line_with("started");
    config(&folder, "status: {address: '127.0.0.1:0'}");
    gateway.signal(Signal::SIGHUP);
    let page = gateway.status_page();
    assert_eq!(get_until(page, "/health", |answer| answer.status == 200).body, "alive\n");
    // The history and the uptime are those of the gateway, not of the page.
    config(&folder, "status: {address: '127.0.0.2:0'}");
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("status page closed");
    let moved = gateway.status_page();
    assert_eq!(moved.ip().to_string(), "127.0.0.2");
    assert_eq!(get(moved, "/health").status, 200);
    config(&folder, "status: off");
    gateway.signal(Signal::SIGHUP);
    gateway.line_with("status page closed");
    gateway.line_with("INFO reloaded");
    assert!(std::net::TcpStream::connect(moved).is_err());
}

#[test]
fn a_reload_moves_the_page_from_one_address_to_all_on_its_port_and_back() {
    let mut site = Site::with_token();
    let token = site.folder.path("token");
    let port = site.page.port();
    for address in [([0, 0, 0, 0], port), ([127, 0, 0, 1], port)].map(SocketAddr::from) {
        let status = format!("status: {{address: '{address}', token_file: {}}}", token.display());
        config(&site.folder, &status);
        site.gateway.signal(Signal::SIGHUP);
        site.gateway.line_with("status page closed");
        assert_eq!(site.gateway.status_page(), address);
        site.gateway.line_with("INFO reloaded");
        assert_eq!(request(site.page, "GET", "/", &[BASIC]).status, 200);
    }
}

#[test]
fn a_viewer_of_a_stream_that_says_nothing_is_probed_by_the_kernel() {
    let site = Site::start();
    let mut viewer = connect(site.page);
    let ask = format!("GET /api/v1/trace HTTP/1.1\r\nHost: {}\r\n\r\n", site.page);
    viewer.write_all(ask.as_bytes()).unwrap();
    viewer.read_exact(&mut [0; 12]).unwrap();
    // The gateway's end, as the kernel lists it: ports in hexadecimal, state 01 established, timer 02 keep-alive.
    let (here, there) = (site.page.port(), viewer.local_addr().unwrap().port());
    let until = Instant::now() + PATIENCE;
    loop {
        let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|fields| {
            fields[1].ends_with(&format!(":{here:04X}")) && fields[2].ends_with(&format!(":{there:04X}"))
        });
        let ours = ours.expect("the connection is there");
        assert_eq!(ours[3], "01", "{ours:?}");
        if ours[5].starts_with("02:") {
            break;
        }
        assert!(Instant::now() < until, "no probe is ever sent: {ours:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_taken_address_stops_only_who_asked_for_the_page() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (status, said) = run(&config(&folder, &format!("status: {{address: '{address}'}}"))).exit();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(
        said.contains(&format!("cannot listen on {address} (`status.address`)"))
            && !said.contains("cannot open the port"),
        "{said}"
    );
    // Ours, or that of somebody else who runs on this machine: it is taken.
    let _taken = TcpListener::bind("127.0.0.1:8502");
    let mut gateway = run(&config(&folder, ""));
    let said = gateway.line_with("no status page: cannot listen on 127.0.0.1:8502");
    assert!(said.contains("Address already in use") && said.contains("the key `status`"), "{said}");
    gateway.line_with("started");
}
