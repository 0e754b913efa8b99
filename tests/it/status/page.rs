//! What the pages for people make of a published: order, shares, rates, findings, bytes, and words for what is missing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use metergate::audit::AuditState;
use metergate::line::{
    Cause, Outcome, Received, Record, RxSegment, SegmentKind, Source, Stray, Target, Transaction, UnitId,
    UnitState,
};
use metergate::modbus::pdu::ExceptionCode;
use metergate::modbus::{AduFraming, rtu};
use metergate::server::{DEPARTED_KEPT, DEPARTED_MAX};
use metergate::status::{DoctorReport, History, Published};
use metergate::web::{Documents, SharedEvents, SharedHistory};
use serde_json::Value;

use crate::support::certificates::Site;
use crate::support::page_tags::text;
use crate::support::published::{
    FLOATS, SECOND, SETTINGS, TWO_LINES, ask, ask_for, change, change_unit, config, float, json, page,
    published, read,
};

fn first_page(published: &Published, history: &History, now: Instant) -> String {
    page(published, history, "/", now)
}

fn findings(published: &Published, history: &History, now: Instant) -> Vec<String> {
    let found: Value = serde_json::from_str(&page(published, history, "/api/v1/findings", now)).unwrap();
    found.as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn certificates_that_expire_soon_are_findings_of_the_listener_and_of_the_page() {
    let (site, time, day) = (Site::new(), SystemTime::now(), Duration::from_secs(86_400));
    site.date_server(time - day, time + 10 * day);
    let (folder, now) = (site.folder.display(), Instant::now());
    let text = format!(
        "listeners: [{{address: '127.0.0.1:802', tls: {{certificate: {folder}/server.pem, key: {folder}/server.key, \
         client_ca: {folder}/ca.pem}}}}]\n\
         buses:\n  - {{name: a, device: /dev/a, units: [{{id: 1}}]}}\n  - {{name: b, device: /dev/b, units: [{{id: 2}}]}}\n"
    );
    let at = |time, page_expires| {
        let published = Published { time, page_expires, ..published(&text, now) };
        findings(&published, &History::default(), now)
    };
    assert_eq!(at(time, None), ["certificate_expires"]);
    assert_eq!(at(time, Some(time + 20 * day)), ["certificate_expires", "certificate_expires"]);
    assert_eq!(at(time, Some(time + 40 * day)), ["certificate_expires"]);
    assert_eq!(at(time - 25 * day, None), [""; 0]);
}

#[test]
fn an_audit_file_that_lacks_writes_is_a_finding_once_and_until_the_next_start() {
    let (now, state) = (Instant::now(), Arc::new(AuditState::new("/var/lib/metergate/audit.jsonl".into())));
    let text = "listeners: [{address: '127.0.0.1:502'}]\n\
         buses:\n  - {name: a, device: /dev/a, units: [{id: 1}]}\n  - {name: b, device: /dev/b, units: [{id: 2}]}\n";
    let found = || {
        let published = Published { audit: Some(Arc::clone(&state)), ..published(text, now) };
        let found = page(&published, &History::default(), "/api/v1/findings", now);
        let metrics = page(&published, &History::default(), "/metrics", now);
        let found: Value = serde_json::from_str(&found).unwrap();
        let found = found.as_array().unwrap().iter();
        let found = found.map(|one| format!("{}: {}", one["severity"], one["what"]).replace('"', ""));
        let lost = metrics.lines().find_map(|line| line.strip_prefix("metergate_audit_writes_lost_total "));
        (found.collect::<Vec<_>>(), lost.map(str::to_owned))
    };
    assert_eq!(found(), (vec![], Some("0".to_owned())));
    state.note_lost(3);
    state.note_problem("cannot write: no space".to_owned(), now);
    let file = "The audit file /var/lib/metergate/audit.jsonl";
    let failing = format!("fault: {file} is not written: cannot write: no space; 3 writes are missing there");
    assert_eq!(found(), (vec![failing], Some("3".to_owned())));
    state.end_problem();
    let incomplete =
        format!("warning: {file} is incomplete: 3 writes are missing there, and it is written again");
    assert_eq!(found().0, [incomplete]);
}

/// A meter without profile was asked for two registers and gave them.
fn transaction(number: u64, unit: u8, begun: Instant) -> Transaction {
    let answer = Bytes::from(vec![unit, 3, 4, 0xAB, 0xCD, 0xEF, 0x01, 0x5A, 0xA5]);
    let segment =
        RxSegment { kind: SegmentKind::Answer, start: 0, length: answer.len(), at: begun + SECOND / 100 };
    Transaction {
        framing: AduFraming::Rtu,
        number,
        cause: Cause::Client,
        source: Some(Source { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)).into(), connection: 1 }),
        clients: 3,
        target: Target::Unit(UnitId::new(unit).unwrap()),
        attempt: 2,
        request: Bytes::from(vec![unit, 3, 0x01, 0x00, 0x00, 0x02, 0xC5, 0xF7]),
        received: Received {
            total: answer.len(),
            bytes: answer,
            segments: vec![segment],
            ..Received::default()
        },
        sent_at: begun,
        wire_end: begun + SECOND / 200,
        ended_at: begun + SECOND / 50,
        outcome: Outcome::Answered,
    }
}

#[test]
fn meters_stand_in_the_order_of_the_file_and_so_do_the_ways_between_them() {
    let text = "listeners: [{address: 127.0.0.1:502}]\nbuses:\n  - name: a\n    device: /dev/ttyS0\n    units: \
                [{id: 9}, {id: 2-3, as: 102}, {id: 5}]\n";
    let now = Instant::now();
    let published = published(text, now);
    let html = first_page(&published, &History::default(), now);
    let places: Vec<_> =
        [9, 2, 3, 5].iter().map(|id| html.find(&format!("id=\"bus-0-line-{id}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    let meter = page(&published, &History::default(), "/units/102", now);
    assert!(meter.contains(r#"<a href="/units/9">Previous: Unit 9</a>"#), "{meter}");
    assert!(meter.contains(r#"<a href="/units/103">Next: Unit 103</a>"#), "{meter}");
    // What is written back keeps the order as well.
    let again = config(&config(text).to_yaml());
    assert_eq!(again.buses[0].wire.iter().map(|id| id.get()).collect::<Vec<_>>(), [9, 2, 3, 5]);
}

#[test]
fn line_time_is_shared_out_over_the_last_ten_seconds() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let none = first_page(&published, &history, start);
    assert!(none.contains("Not measured yet."), "{none}");
    for second in 0..40_u32 {
        // Until twenty seconds ago clients had all of it.
        let before = second.min(20);
        let after = second - before;
        change(&mut published, 0, |view| {
            view.statistics.clients = SECOND * before + SECOND / 5 * after;
            view.statistics.background = SECOND / 4 * after;
            view.statistics.probes = SECOND / 20 * after;
            view.statistics.failures = SECOND / 10 * after;
        });
        history.sample(&published, start + SECOND * second);
    }
    let html = first_page(&published, &history, start + 40 * SECOND);
    let expected = "Line time now: clients 20 %, polling 30 %, failures 10 %, silence 40 %";
    assert!(html.contains(expected), "{html}");
}

#[test]
fn what_came_once_is_found_as_long_as_it_may_go_on_and_leaves_then() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let now = |seconds: u32| start + SECOND * seconds;
    history.sample(&published, now(0));
    change(&mut published, 0, |view| {
        view.counters.transactions = 100;
        view.counters.noise_bytes = 500;
    });
    for second in 1..=1000 {
        history.sample(&published, now(second));
        let expected = if second <= 16 { vec!["noise"] } else { vec![] };
        if second < 20 || second % 60 == 1 {
            assert_eq!(findings(&published, &history, now(second)), expected, "{second}");
        }
    }
    let gauge = page(&published, &history, "/metrics", now(1001));
    assert!(gauge.contains("metergate_findings{severity=\"warning\"} 0\n"), "{gauge}");
}

#[test]
fn a_line_that_was_started_anew_is_not_compared_with_the_one_before() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    change(&mut published, 0, |view| {
        view.counters.transactions = 1000;
        view.counters.noise_bytes = 1000;
    });
    history.sample(&published, start);
    change(&mut published, 0, |view| {
        view.counters.transactions = 0;
        view.counters.noise_bytes = 0;
    });
    history.sample(&published, start + SECOND);
    change(&mut published, 0, |view| {
        view.counters.transactions = 100;
        view.counters.noise_bytes = 200;
    });
    history.sample(&published, start + 2 * SECOND);
    assert_eq!(findings(&published, &history, start + 2 * SECOND), ["noise"]);
}

#[test]
fn a_finding_has_its_meter_as_clients_know_it() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now - 100 * SECOND);
    change_unit(&mut published, 1, 1, |unit| {
        unit.state = UnitState::Offline;
        unit.last_good = Some(now - 30 * SECOND);
        (unit.counters.transactions, unit.counters.timeouts) = (10, 9);
    });
    change_unit(&mut published, 1, 2, |unit| unit.state = UnitState::Online);
    let found: Value =
        serde_json::from_str(&page(&published, &History::default(), "/api/v1/findings", now)).unwrap();
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["bus"], &found[0]["unit"], &found[0]["line_unit"], &found[0]["severity"]),
        (&"riser b/c".into(), &11.into(), &1.into(), &"fault".into())
    );
    // On the page of another meter it has no place.
    assert!(page(&published, &History::default(), "/units/11", now).contains("trouble fault"));
    assert!(!page(&published, &History::default(), "/units/1", now).contains("trouble fault"));
}

#[test]
fn the_last_transactions_of_a_unit_stand_on_its_page_with_their_bytes_the_newest_first() {
    let now = Instant::now() + 100 * SECOND;
    let published = published(TWO_LINES, now);
    let bus = published.buses[0].id;
    let note = |record| published.traffic.note_record(bus, Arc::new(record));
    for number in 1..=45 {
        note(Record::Transaction(transaction(
            number,
            2,
            now - 50 * SECOND + SECOND * u32::try_from(number).unwrap(),
        )));
    }
    note(Record::Transaction(transaction(46, 1, now)));
    let late = RxSegment { kind: SegmentKind::Late(UnitId::new(2).unwrap()), start: 0, length: 5, at: now };
    let bytes = Bytes::from(vec![2, 0x83, 2, 0x30, 0xF1]);
    let received =
        Received { total: 700, bytes, segments: vec![late], first_at: Some(now), last_at: Some(now) };
    note(Record::Stray(Stray { number: 47, framing: AduFraming::Rtu, received, ended_at: now }));
    let html = page(&published, &History::default(), "/units/2?bus=riser-a", now);
    let shown: Vec<u64> = html
        .split("id=\"exchange-")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect();
    let expected: Vec<u64> = [47].into_iter().chain((7..=45).rev()).collect();
    assert_eq!(shown, expected, "40 at most, none of unit 1");
    for said in [
        "read holding registers 257\u{2013}258, attempt 2",
        "client 10.0.0.7 and 2 clients",
        "02 03 01 00 00 02 C5 F7",
        "02 03 04 AB CD EF 01 5A A5",
        "a late answer",
        "695 more that were not kept",
        "5 s ago",
        "20 ms",
    ] {
        assert!(html.contains(said), "{said}: {html}");
    }
}

#[test]
fn connections_of_one_address_share_a_row_and_the_busiest_stands_first() {
    let start = Instant::now();
    let published = published(TWO_LINES, start);
    let mut history = History::default();
    let metrics = &published.listeners[0].metrics;
    let connect = |peer: &str| metrics.connected(peer.parse().unwrap(), start);
    let quiet: Vec<_> = (1..=20).map(|host| connect(&format!("10.1.0.{host}:1000"))).collect();
    let (one, other) = (connect("10.0.0.7:1000"), connect("10.0.0.7:1001"));
    history.sample(&published, start);
    for count in 0..100 {
        one.note_requests(1, 0, start);
        if count < 75 { other.note_hit() } else { other.note_miss() }
    }
    other.note_exception(ExceptionCode(0x0B));
    let html = first_page(&published, &history, start + 10 * SECOND);
    let rows: Vec<_> = html.split("<h2 id=\"clients\"").nth(1).unwrap().split("<tr").skip(2).collect();
    for said in ["10.0.0.7 (2 connections)", "10.0 a second", "75 %", "1 × 0x0B gateway target", "100 in all"]
    {
        assert!(rows[0].contains(said), "{said}: {}", rows[0]);
    }
    assert!(html.contains("And 1 client more."), "{html}");
    drop((one, other));
    let html = first_page(&published, &history, Instant::now());
    assert!(html.contains("<strong>20 clients</strong>"), "{html}");
    let gone = html.split("<tr role=\"row\" class=\"gone\"").nth(1).unwrap();
    for said in
        ["10.0.0.7 (2 connections)", "left under 0.1 s ago", "100 in all", "75 %", "1 × 0x0B gateway target"]
    {
        assert!(gone.contains(said), "{said}: {gone}");
    }
    drop(quiet);
}

#[test]
fn a_client_is_listed_for_an_hour_after_it_left_and_of_too_many_the_first_to_leave_goes() {
    let published = published(TWO_LINES, Instant::now());
    let metrics = &published.listeners[0].metrics;
    let come_and_go = |host: usize| {
        let address = std::net::SocketAddr::from((
            [10, 1, u8::try_from(host / 256).unwrap(), u8::try_from(host % 256).unwrap()],
            1000,
        ));
        drop(metrics.connected(address.into(), Instant::now()));
    };
    (0..=DEPARTED_MAX).for_each(come_and_go);
    let now = Instant::now();
    let departed = |now: Instant| {
        let clients = json(&published, "/api/v1/clients", now);
        let listed = clients["departed"].as_array().unwrap().iter();
        listed.map(|one| one["client"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let listed = departed(now);
    assert_eq!((listed.len(), listed[0].as_str()), (DEPARTED_MAX, "10.1.1.0"), "{listed:?}");
    assert!(!listed.contains(&"10.1.0.0".to_owned()), "the first to leave is forgotten");
    let html = first_page(&published, &History::default(), now);
    assert_eq!(html.matches("class=\"gone\"").count(), 20);
    assert!(html.contains("And 236 clients more that left within the last hour"), "{html}");
    let back = metrics.connected("10.1.1.0:2000".parse().unwrap(), now);
    assert!(!departed(now).contains(&"10.1.1.0".to_owned()), "it is connected again");
    drop(back);
    assert_eq!(departed(Instant::now() + DEPARTED_KEPT + SECOND), Vec::<String>::new());
}

#[test]
fn a_transaction_is_decoded_by_the_profile_and_failures_can_be_shown_alone() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let exponents = [(137, 0), (138, 0), (139, 0xFFFF), (140, 0)];
    read(&mut published, (0, 1), SETTINGS, &exponents, now - 2 * SECOND, 1);
    let bus = published.buses[0].id;
    let note = |record| published.traffic.note_record(bus, Arc::new(record));
    let exchange = |number: u64, request: &[u8], answer: &[u8], outcome: Outcome| {
        let answer = if answer.is_empty() { Bytes::new() } else { rtu::encode(1, answer) };
        let segment = RxSegment { kind: SegmentKind::Answer, start: 0, length: answer.len(), at: now };
        let segments = if answer.is_empty() { vec![] } else { vec![segment] };
        let received = Received { total: answer.len(), bytes: answer, segments, ..Received::default() };
        note(Record::Transaction(Transaction {
            attempt: 1,
            clients: 1,
            request: rtu::encode(1, request),
            received,
            outcome,
            ..transaction(number, 1, now - SECOND)
        }));
    };
    // Real power as a count of tenths, a float of 231.456 79 V, a reserved register that was not asked for.
    exchange(1, &[3, 0, 2, 0, 1], &[3, 2, 0x04, 0xD2], Outcome::Answered);
    exchange(2, &[3, 1, 14, 0, 2], &[3, 4, 0x43, 0x67, 0x74, 0xF0], Outcome::Answered);
    exchange(3, &[3, 0, 60, 0, 2], &[0x83, 2], Outcome::Exception(ExceptionCode(2)));
    exchange(4, &[6, 0, 141, 0, 15], &[6, 0, 141, 0, 15], Outcome::Answered);
    exchange(5, &[4, 0, 60, 0, 2], &[4, 4, 0x30, 0x39, 0, 7], Outcome::Answered);
    exchange(6, &[3, 0, 2, 0, 1], &[], Outcome::Silent);
    let html = page(&published, &History::default(), "/units/1", now);
    let shown = |number: u64| {
        let item = html.split(&format!("id=\"exchange-{number}\"")).nth(1).unwrap();
        text(item.split("</li></ol>").next().unwrap().split("id=\"exchange-").next().unwrap())
    };
    for (number, said) in [
        (
            1,
            "Unit on the line 1 Function 0x03 read holding registers Start 3 Quantity 1 Answer real_power_total 123.4 kW",
        ),
        (2, "voltage_ln_avg_f 231.46 V"),
        (3, "Answered with exception 0x02 illegal data address"),
        (4, "Written phase_loss_threshold 15 % The unit confirmed the write."),
        (5, "Answer 61 12 345 62 7"),
        (6, "Received, 0 bytes nothing"),
    ] {
        let all = shown(number);
        assert!(all.contains(said), "{number}: {said}: {all}");
    }
    let failed = page(&published, &History::default(), "/units/1?transactions=failed", now);
    let numbers: Vec<&str> =
        failed.split("id=\"exchange-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(numbers, ["6", "3"]);
    assert!(failed.contains(r#"<a href="/units/1">All</a>"#), "{failed}");
    assert!(
        html.contains(r#"<a href="/units/1?transactions=failed">Only failures and exceptions</a>"#),
        "{html}"
    );
}

#[test]
fn a_plot_begins_with_the_first_readings_and_goes_on_with_minutes() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    let mut plots = |from: u32, to: u32| {
        for second in from..to {
            let at = start + SECOND * second;
            read(&mut published, (0, 1), FLOATS, &float(260, 10.0), at, u64::from(second) + 1);
            history.sample(&published, at);
        }
        let html = page(&published, &history, "/units/1", start + SECOND * (to - 1));
        html.split("id=\"history\"").nth(1).unwrap().split("</section>").next().unwrap().to_owned()
    };
    let first = plots(0, 1);
    assert!(first.contains("Over the last 15 seconds") && first.contains("<span>15 s ago</span>"), "{first}");
    assert!(first.contains("Real power over the last 15 seconds: now 10.0"), "{first}");
    assert!(plots(1, 100).contains("Over the last 2 minutes"));
    assert!(plots(100, 590).contains("Over the last 10 minutes"));
    let minutes = plots(590, 1300);
    assert!(
        minutes.contains("Over the last 30 minutes") && minutes.contains("<span>20 min</span>"),
        "{minutes}"
    );
    assert!(!minutes.contains("Real energy"), "a total is no plot");
}

#[test]
fn response_times_errors_and_line_time_are_drawn_from_the_first_second_on() {
    let start = Instant::now();
    let mut published = published(TWO_LINES, start);
    let mut history = History::default();
    history.sample(&published, start);
    change_unit(&mut published, 0, 1, |unit| {
        (unit.counters.transactions, unit.counters.timeouts) = (10, 1);
        unit.response_time = Some(Duration::from_millis(8));
    });
    change(&mut published, 0, |view| view.statistics.clients = SECOND);
    history.sample(&published, start + 2 * SECOND);
    let html = first_page(&published, &history, start + 2 * SECOND);
    for said in [
        "Response time over the last minute: now 8.0 ms",
        "Errors over the last minute: now 10 %",
        "Line time in use over the last minute: now 50 %",
    ] {
        assert!(html.contains(said), "{said}: {html}");
    }
    let kept = json(&published, "/api/v1/units/1/history", start + 2 * SECOND);
    assert_eq!(kept["health"], serde_json::json!([]), "JSON has full minutes");
}

#[test]
fn every_view_of_the_overview_has_an_address() {
    let now = Instant::now();
    let mut published = published(TWO_LINES, now);
    for (bus, id, state) in [(0, 1, UnitState::Online), (0, 2, UnitState::Offline), (1, 1, UnitState::Online)]
    {
        change_unit(&mut published, bus, id, |unit| unit.state = state);
    }
    let rows = |path: &str| {
        let html = page(&published, &History::default(), path, now);
        let tags = html.split("<tr role=\"row\" id=\"").skip(1);
        tags.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["bus-0-line-2", "bus-0-line-1", "bus-1-line-2", "bus-1-line-1"];
    assert_eq!(rows("/"), all, "failures first");
    assert_eq!(rows("/?sort=wire"), ["bus-0-line-1", "bus-0-line-2", "bus-1-line-1", "bus-1-line-2"]);
    assert_eq!(rows("/?state=offline"), ["bus-0-line-2"]);
    assert_eq!(rows("/?q=PANEL%201"), ["bus-0-line-1"]);
    assert_eq!(rows("/?q=riser+b&state=online"), ["bus-1-line-1"]);
    assert_eq!(rows("/?sort=nonsense&state=%3Cb%3E&by=x&fold=x"), all);
    let html = page(&published, &History::default(), "/?q=%3Cscript%3E&fold=line-1&refresh=off", now);
    assert!(html.contains(r#"value="&lt;script&gt;""#) && html.contains("0 of 4 meters shown"), "{html}");
    assert!(html.contains(r#"<details class="fold" id="line-1" data-fold="line-1">"#), "{html}");
    assert!(html.contains(r#"<details class="fold" id="line-0" data-fold="line-0" open>"#), "{html}");
    assert!(!html.contains("http-equiv=\"refresh\"") && html.contains("Not refreshed"), "{html}");
    assert!(html.contains(r#"href="/?q=%3Cscript%3E&amp;fold=line-1">Go on</a>"#), "{html}");
}

#[test]
fn what_has_no_value_says_why_and_what_means_nothing_here_says_so() {
    let now = Instant::now() + 100 * SECOND;
    let mut published = published(TWO_LINES, now);
    let html = page(&published, &History::default(), "/units/1", now);
    assert!(html.contains("not read yet") && html.contains("Not known: they have not been read."), "{html}");
    // A delta has no voltage to neutral; the frequency is missing for a reason of the meter's own.
    let words = [float(260, 12.5), [(270, 0x7FC0), (271, 0)], [(306, 0x7FC0), (307, 0)]].concat();
    read(&mut published, (0, 1), FLOATS, &words, now - SECOND, 1);
    read(&mut published, (0, 1), SETTINGS, &[(129, 31)], now - SECOND, 2);
    let html = page(&published, &History::default(), "/units/1", now);
    let cell = |name: &str| {
        let row = html.split(&format!("<code>{name}</code>")).nth(1).unwrap();
        row.split("</tr>").next().unwrap().to_owned()
    };
    assert!(cell("voltage_ln_avg_f").contains("not for this system type"), "{}", cell("voltage_ln_avg_f"));
    assert!(cell("frequency_f").contains("the meter has none"), "{}", cell("frequency_f"));
    assert!(cell("real_power_total_f").contains("<b>12.500</b> kW"), "{}", cell("real_power_total_f"));
    assert!(cell("system_type").contains("31: delta, three wires"), "{}", cell("system_type"));
    assert!(html.contains("None is set."), "{html}");
}

#[test]
fn units_of_one_identifier_are_told_apart_by_their_bus_and_no_others() {
    let now = Instant::now();
    let published = published(TWO_LINES, now);
    let html = first_page(&published, &History::default(), now);
    for href in ["/units/1\"", "/units/11\"", "/units/2?bus=riser-a\"", "/units/2?bus=riser%20b%2Fc\""] {
        assert!(html.contains(&format!("href=\"{href}")), "{href}: {html}");
    }
    for (path, expected) in [("/units/2", 409), ("/units/3", 404), ("/units/2?bus=riser%20b%2Fc", 200)] {
        let response = ask(&published, &History::default(), path, now);
        assert_eq!(response.status(), expected, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
    }
}

#[test]
fn a_file_may_be_kept_only_under_the_address_that_has_its_hash() {
    let now = Instant::now();
    let published = published(TWO_LINES, now);
    let ask = |path: &str| ask(&published, &History::default(), path, now);
    for asset in metergate::page::ASSETS {
        let kept = ask(&asset.href());
        assert_eq!(kept.headers()["content-type"], asset.content_type);
        assert!(kept.headers()["cache-control"].to_str().unwrap().ends_with("immutable"), "{kept:?}");
        assert_eq!(kept.body(), asset.body);
        for other in [asset.path.to_owned(), format!("{}?v=0", asset.path), format!("{}&x", asset.href())] {
            let response = ask(&other);
            assert_eq!(response.status(), 200, "{other}");
            assert!(!response.headers().contains_key("cache-control"), "the guard says no-store: {other}");
        }
    }
    let main = page(&published, &History::default(), "/?part=main", now);
    assert!(main.starts_with("<main ") && main.ends_with("</main>"), "{main}");
}

#[test]
fn one_rendering_of_a_page_is_shared_by_all_who_ask_within_a_second() {
    let start = Instant::now();
    let shown = Arc::new(Mutex::new(published(TWO_LINES, start)));
    let source = Arc::clone(&shown);
    let documents = Documents::new(
        move || source.lock().unwrap().clone(),
        SharedHistory::default(),
        SharedEvents::default(),
    );
    let publish = |name: &str, at: Instant, generation: u64| {
        let mut shown = shown.lock().unwrap();
        (shown.site, shown.at, shown.generation) = (Some(name.to_owned()), at, generation);
        change_unit(&mut shown, 0, 1, |unit| unit.counters.transactions += 1);
    };
    let page = |path: &str| ask_for(&documents, path).into_body();
    let transactions =
        || serde_json::from_str::<Value>(&page("/api/v1/units/1")).unwrap()["transactions"].clone();
    let paths = ["/", "/?part=main", "/?sort=power&part=main", "/units/1", "/units/11"];
    publish("one", start, 0);
    let first = paths.map(page);
    assert!(first[0].contains("<h1>one</h1>") && first[1].starts_with("<main "), "{first:?}");
    publish("two", start + SECOND - Duration::from_millis(1), 0);
    assert_eq!(paths.map(page), first, "within the second");
    assert_eq!(transactions(), 2, "the ages and counters of JSON are exact");
    publish("three", start + SECOND, 0);
    let later = paths.map(page);
    assert!(later[0].contains("<h1>three</h1>") && later[3] != first[3], "a second later");
    publish("four", start + SECOND, 1);
    assert!(page("/").contains("<h1>four</h1>"), "a reload is seen at once");
}

#[test]
fn a_histogram_counts_up_to_each_bound_and_errors_stand_under_one_cause_each() {
    let now = Instant::now();
    let mut published = published(TWO_LINES, now);
    change_unit(&mut published, 0, 1, |unit| {
        for millis in [1, 4, 5, 6000] {
            unit.statistics.answer_times.note(Duration::from_millis(millis));
        }
        (unit.counters.crc_errors, unit.statistics.truncated) = (5, 2);
    });
    let metrics = page(&published, &History::default(), "/metrics", now);
    let labels = r#"bus="riser-a",unit="1""#;
    for expected in [
        format!(r#"metergate_unit_answer_duration_seconds_bucket{{{labels},le="0.001"}} 1"#),
        format!(r#"metergate_unit_answer_duration_seconds_bucket{{{labels},le="0.002"}} 1"#),
        format!(r#"metergate_unit_answer_duration_seconds_bucket{{{labels},le="0.005"}} 3"#),
        format!(r#"metergate_unit_answer_duration_seconds_bucket{{{labels},le="5.0"}} 3"#),
        format!(r#"metergate_unit_answer_duration_seconds_bucket{{{labels},le="+Inf"}} 4"#),
        format!("metergate_unit_answer_duration_seconds_sum{{{labels}}} 6.01"),
        format!("metergate_unit_answer_duration_seconds_count{{{labels}}} 4"),
        format!(r#"metergate_unit_errors_total{{{labels},cause="crc"}} 3"#),
        format!(r#"metergate_unit_errors_total{{{labels},cause="truncated"}} 2"#),
    ] {
        assert!(metrics.lines().any(|line| line == expected), "{expected}");
    }
}

#[test]
fn no_more_answers_are_told_than_were_asked_for() {
    let now = Instant::now();
    let mut published = published(TWO_LINES, now);
    change_unit(&mut published, 0, 1, |unit| {
        unit.counters.transactions = 28;
        (0..29).for_each(|_| unit.statistics.answer_times.note(Duration::from_millis(5)));
    });
    let report = DoctorReport::of(&published, &History::default());
    let unit = report.buses[0].units.iter().find(|unit| unit.line_unit == 1).unwrap();
    assert_eq!((unit.asked, unit.answered), (28, 28));
}
