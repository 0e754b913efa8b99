//! What the status pages say: every meter in its place and state, what is wrong with the remedy, and never a number
//! for what is not known.

use metergate::page::{self, MeterLink, OverviewView, Part, ViewQuery};
use metergate::status::{Number, Status, Unit, UnitState};

use crate::support::page_fixture;
use crate::support::page_tags::{between, tags, text};

fn view(query: &str) -> OverviewView {
    let uri: axum::http::Uri = format!("/?{query}").parse().unwrap();
    let query: axum::extract::Query<ViewQuery> = axum::extract::Query::try_from_uri(&uri).unwrap();
    OverviewView::new(&query)
}

/// The rows of meters, by the identifiers of the elements.
fn rows(html: &str) -> Vec<String> {
    html.split(r#"<tr role="row" id=""#)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_meter_hangs_on_its_wire_in_order_with_its_state_in_a_word() {
    let status = page_fixture::overview(false);
    let html = page::overview(&status, &page_fixture::wire_order(), Part::Main);
    let drawn: Vec<_> = tags(&html)
        .into_iter()
        .filter(|tag| tag.name == "tr" && tag.get("data-state").is_some())
        .map(|tag| (tag.get("id").unwrap().to_owned(), tag.get("data-state").unwrap().to_owned()))
        .collect();
    let mut expected = Vec::new();
    for (index, bus) in status.buses.iter().enumerate() {
        let row =
            |unit: &Unit<'_>| (format!("bus-{index}-line-{}", unit.line_unit), word(unit.state).to_owned());
        expected.extend(status.on_the_wire(bus).map(row));
    }
    assert_eq!(expected.len(), 11);
    assert_eq!(drawn, expected);
    for (id, word) in expected {
        assert!(text(row(&html, &id)).contains(&word), "{id}");
    }
}

#[test]
fn failures_come_first_and_the_wire_is_drawn_only_where_the_meters_stand_as_they_hang_on_it() {
    let status = page_fixture::overview(false);
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    let first: Vec<_> = rows(&html).into_iter().take(4).collect();
    assert_eq!(first, ["bus-0-line-5", "bus-0-line-8", "bus-0-line-6", "bus-0-line-1"]);
    assert_eq!(html.matches(r#"class="wire listed""#).count(), 1);
    assert_eq!(html.matches(r#"class="wire""#).count(), 1, "the three of riser-b stand as they hang");
    let html = page::overview(&status, &view("sort=wire"), Part::Main);
    assert_eq!(html.matches(r#"class="wire""#).count(), 2);
    let healthy = page::overview(&page_fixture::healthy(), &OverviewView::default(), Part::Main);
    assert!(healthy.contains(r#"class="wire""#) && !healthy.contains("listed"));
}

#[test]
fn a_broken_wire_is_drawn_between_the_meters_it_is_between() {
    let status = page_fixture::broken();
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    assert!(html.contains(r#"class="wire""#), "as they hang on the wire, though some fail");
    let place = |id: &str| html.find(&format!("id=\"{id}\"")).unwrap();
    assert!(place("bus-0-line-4") < place("line-0-break") && place("line-0-break") < place("bus-0-line-5"));
    let said = text(html.split("id=\"line-0-break\"").nth(1).unwrap().split("</tr>").next().unwrap());
    assert!(said.contains("the cable between Kitchen (unit 4) and Server room (unit 5)"), "{said}");
    let sorted = page::overview(&status, &view("sort=name"), Part::Main);
    assert!(!sorted.contains("line-0-break"), "in another order it is between others");
}

#[test]
fn each_meter_has_its_energy_and_nothing_is_added_up_along_the_line() {
    let html = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Main);
    assert!(
        text(row(&html, "bus-0-line-2")).contains("Energy 384 211.4 kWh"),
        "{}",
        row(&html, "bus-0-line-2")
    );
    let facts = text(between(&html, "<ul class=\"facts\"", "</ul>"));
    assert!(!facts.contains("kW"), "{facts}");
    assert!(!html.contains(r#"class="totals""#));
}

#[test]
fn a_group_is_folded_and_has_totals_of_those_that_answer() {
    let status = page_fixture::grouped();
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    let summary = |index: usize| {
        let group = html.split(&format!("id=\"group-{index}\"")).nth(1).unwrap();
        text(between(group, "<summary>", "</summary>"))
    };
    assert_eq!(summary(0), "Tenants East 2 meters, all on-line 9.71 kW 668 422.7 kWh");
    // Of 3, 4 and 5 the last is off-line.
    assert_eq!(
        summary(1),
        "Tenants West 3 meters, 2 on-line 22.5 kW from 2 of 3 meters 1 068 423.1 kWh from 2 of 3 meters"
    );
    assert!(summary(3).starts_with("Without a group"), "{}", summary(3));
    assert_eq!(rows(&html).len(), 11, "each meter once");
    let lines = page::overview(&status, &view("by=line"), Part::Main);
    assert!(!lines.contains("id=\"group-0\"") && rows(&lines).len() == 11);
    assert!(text(row(&lines, "bus-0-line-1")).contains("Tenants East"), "the row says its group");
    let folded = page::overview(&status, &view("fold=group-1"), Part::Main);
    assert!(folded.contains(r#"<details class="fold group" id="group-1" data-fold="group-1">"#));
    assert!(folded.contains(r#"<details class="fold group" id="group-0" data-fold="group-0" open>"#));
}

#[test]
fn a_group_of_which_none_answers_has_no_sum() {
    let mut status = page_fixture::grouped();
    status.units.iter_mut().for_each(|unit| unit.state = UnitState::Unreachable);
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    let group = html.split("id=\"group-0\"").nth(1).unwrap();
    let summary = text(between(group, "<summary>", "</summary>"));
    assert_eq!(summary, "Tenants East 2 meters, 0 on-line no sum: no meter of it answers");
}

#[test]
fn clients_that_left_stand_below_those_that_are_connected() {
    let html = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Main);
    let clients = between(&html, r#"id="connected""#, "</section>");
    let gone: Vec<String> = clients.split(r#"<tr role="row" class="gone""#).skip(1).map(text).collect();
    assert_eq!(gone.len(), 2);
    assert!(gone[0].contains("10.20.0.44") && gone[0].contains("left 5 min ago"), "{}", gone[0]);
    assert!(gone[1].contains("(211 connections)"), "{}", gone[1]);
}

#[test]
fn each_state_has_a_word_and_a_shape_of_its_own() {
    let mut shapes = Vec::new();
    for state in UnitState::ALL {
        let mut status = page_fixture::healthy();
        status.units[0] = page_fixture::unit("riser-a", 1, None, state);
        let html = page::overview(&status, &OverviewView::default(), Part::Main);
        let row = row(&html, "bus-0-line-1");
        assert!(text(row).contains(word(state)), "{state:?}");
        shapes.push(between(row, "<svg", "</svg>").split_once('>').unwrap().1.to_owned());
    }
    shapes.sort();
    shapes.dedup();
    assert_eq!(shapes.len(), UnitState::ALL.len(), "two states look alike");
}

#[test]
fn what_is_not_known_is_never_a_number() {
    let html = page::overview(&page_fixture::unknown(), &OverviewView::default(), Part::Main);
    for id in 21..=23 {
        let row = row(&html, &format!("bus-0-line-{id}"));
        let cells = text(row).replace(&id.to_string(), "");
        assert_eq!(cells.matches("no data").count(), 5, "power, energy, age, response time, errors: {cells}");
        assert!(!cells.contains(|character: char| character.is_ascii_digit()), "{cells}");
    }
    assert!(!html.contains(" kW"), "nothing was measured");
    let port = text(between(&html, r#"id="bus-0-port""#, "<table"));
    assert!(port.contains("Not measured yet") && port.contains("not known yet"), "{port}");

    let html = page_fixture::meter_page(&page_fixture::unknown_meter(), Part::Main);
    assert!(text(between(&html, r#"class="headline"#, "</section>")).contains("no data"));
    assert!(text(&html).contains("they have not been read"), "an alert that was not read is not absent");
    assert!(html.contains("Nothing has been read in this time"));
}

#[test]
fn a_dead_meter_shows_its_last_values_with_their_age_and_marked_as_old() {
    let html = page::overview(&page_fixture::overview(true), &OverviewView::default(), Part::Main);
    let row = row(&html, "bus-0-line-3");
    assert!(row.contains(r#"class="kw old""#));
    let said = text(row);
    assert!(said.contains("off-line") && said.contains("last known") && said.contains("4 min"), "{said}");
    let page = page_fixture::meter_page(&page_fixture::dead_meter(), Part::Main);
    assert!(text(&page).contains("the meter does not answer now"));
    assert!(
        !text(&page_fixture::meter_page(&page_fixture::meter(), Part::Main)).contains("does not answer now")
    );
}

#[test]
fn what_is_wrong_comes_first_worst_first_with_its_remedy() {
    let status = page_fixture::overview(false);
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    let wrong = between(&html, r#"<section class="troubles""#, "</section>");
    assert!(html.find(wrong) < html.find(r#"class="bus"#), "the chain is below it");
    let severities: Vec<_> = tags(wrong)
        .into_iter()
        .filter(|tag| tag.name == "li" && tag.get("class").is_some())
        .map(|tag| tag.get("class").unwrap().to_owned())
        .collect();
    assert_eq!(
        severities,
        ["trouble fault", "trouble fault", "trouble fault", "trouble warning", "trouble note"]
    );
    for finding in &status.findings {
        assert!(text(wrong).contains(&*finding.what), "{}", finding.what);
        let last_word = finding.remedy.to_string().replace([')', '`'], "");
        assert!(text(wrong).contains(last_word.split(' ').next_back().unwrap()), "{}", finding.remedy);
    }
    assert!(wrong.contains(r#"<span class="place"><a href="/units/5">Kitchen (unit 5)</a>"#));
    assert_eq!(
        (wrong.matches("<details>").count(), wrong.matches("<details open").count()),
        (5, 0),
        "one line each"
    );
    let unfolded = text(between(wrong, r#"<div class="remedy">"#, "</div>"));
    assert!(unfolded.starts_with("Active for 3 min 0 s, last seen 5.0 s ago."), "{unfolded}");
    assert!(html.contains(r#"data-title="(4) "#));
}

#[test]
fn a_healthy_line_says_so() {
    let html = page::overview(&page_fixture::healthy(), &OverviewView::default(), Part::Main);
    assert!(text(&html).contains("Nothing: every port is open and every meter answers."));
    assert!(text(&html).contains("no faults found"));
}

#[test]
fn silence_without_a_finding_is_not_called_healthy() {
    let mut status = page_fixture::healthy();
    status.units[0].state = UnitState::NeverSeen;
    let html = page::overview(&status, &OverviewView::default(), Part::Main);
    assert!(!text(&html).contains("every meter answers") && !html.contains(r#"class="well""#));
    let mut status = page_fixture::dead_meter();
    status.findings.clear();
    assert!(!page_fixture::meter_page(&status, Part::Main).contains(r#"class="well""#));
}

#[test]
fn a_unit_that_is_there_twice_is_told_apart_by_its_line() {
    let meter = MeterLink { unit: 7, name: None, bus: Some("riser a&b/2") };
    assert_eq!(meter.href(), "/units/7?bus=riser%20a%26b%2F2");
    assert_eq!(MeterLink { bus: None, ..meter }.href(), "/units/7");
}

#[test]
fn line_time_is_split_and_what_remains_is_silence() {
    let html = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Main);
    assert!(
        html.contains(
            r#"aria-label="Line time now: clients 18 %, polling 41 %, failures 2.1 %, silence 38 %""#
        )
    );
}

#[test]
fn plots_say_in_words_what_they_show() {
    let html = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Main);
    let row = row(&html, "bus-0-line-5");
    assert!(row.contains("Response time over the last hour: now no data, lowest 5.2 ms"), "{row}");
    assert!(row.contains("Errors over the last hour: now 100 %, lowest 0 %, mean 6.7 %, highest 100 %"));
    let html = page_fixture::meter_page(&page_fixture::meter(), Part::Main);
    assert!(html.contains("Real power over the last 12 hours: now 1"));
    assert!(html.contains("; 35 minutes without data"));
}

#[test]
fn points_come_with_value_unit_and_age_or_the_reason_why_not() {
    let html = page_fixture::meter_page(&page_fixture::meter(), Part::Main);
    let points = text(between(&html, r#"id="points""#, "</section>"));
    assert!(points.contains("Real power, total real_power_total · register 261 13.420 kW 0.7 s"), "{points}");
    assert!(points.contains("no data not for this system type"));
    assert!(text(between(&html, r#"id="settings""#, "</section>")).contains("no data not read yet –"));
    let table = between(&html, r#"<table class="phases""#, "</table>");
    let lines: Vec<String> = table.split("<tr").skip(1).map(text).collect();
    assert_eq!(lines[0], "Quantity A B C Total Age");
    assert_eq!(
        lines[3], "Real power , kW A 4.412 B 4.510 Total 13.420 0.7 s",
        "no phase C under this wiring"
    );
    assert_eq!(lines[6], "Voltage L-N , V A 276.90 B 277.40 C no data Total average 277.31 0.7 s");
    assert!(lines[7].starts_with("Voltage L-L , V A A-B 480.10"), "{}", lines[7]);
    let now = text(between(&html, r#"id="now""#, "</section>"));
    for said in [
        "Real power 13.420 kW",
        "Real energy 184 211.2 kWh",
        "Voltage L-N, average 277.30 V",
        "Power factor 0.901",
    ] {
        assert!(now.contains(said), "{said}: {now}");
    }
    let mut status = page_fixture::meter();
    status.units[2].detail.as_mut().unwrap().points[0].value = Some(Number::Float(f32::NAN));
    let html = page_fixture::meter_page(&status, Part::Main);
    assert!(text(between(&html, r#"id="points""#, "</section>")).contains("register 257 no data"));
}

#[test]
fn transactions_show_their_bytes_and_how_many_were_not_kept() {
    let mut status = page_fixture::meter();
    status.units[2].detail.as_mut().unwrap().records[0].received_total = 1000;
    let html = page_fixture::meter_page(&status, Part::Main);
    assert!(html.contains("<code>03 03 01 00 00 34 44 03</code>"));
    assert!(html.contains("Received, 1000 bytes") && html.contains("and 891 more that were not kept"));
    let failed = text(between(&html, r#"id="exchange-89998""#, "</li>"));
    assert!(
        text(between(&html, r#"id="exchange-89996""#, "</li>"))
            .contains("Answered with exception 0x02 illegal data address")
    );
    let good = text(
        html.split(r#"id="exchange-90000""#).nth(1).unwrap().split(r#"id="exchange-89999""#).next().unwrap(),
    );
    let fields =
        "Function 0x03 read holding registers Start 257 Quantity 52 Answer real_energy_total_f 184 211.2 kWh";
    assert!(good.contains(fields), "{good}");
    assert!(failed.contains("no answer") && failed.contains("Received, 0 bytes nothing"), "{failed}");
}

#[test]
fn a_history_that_is_too_long_is_drawn_as_far_as_there_is_room() {
    let mut status = page_fixture::meter();
    let plain = page_fixture::meter_page(&status, Part::Main).len();
    for reading in &mut status.units[2].detail.as_mut().unwrap().readings {
        let means = std::mem::take(&mut reading.means);
        reading.means = vec![Some(1e9); 100_000];
        reading.means.extend(means);
    }
    assert!(page_fixture::meter_page(&status, Part::Main).len() < plain + 10_000);
}

#[test]
fn a_page_of_all_the_units_there_can_be_is_bounded() {
    let status = page_fixture::full();
    assert_eq!(status.buses.iter().map(|bus| bus.wire.len()).sum::<usize>(), 247);
    let html = page::overview(&status, &OverviewView::default(), Part::Page);
    assert!(html.len() < PAGE_MAX, "{} bytes", html.len());
}

#[test]
fn an_empty_gateway_has_a_page() {
    assert!(
        text(&page::overview(&Status::default(), &OverviewView::default(), Part::Main))
            .contains("0 of 0 meters on-line")
    );
}

/// A state as people read it.
fn word(state: UnitState) -> &'static str {
    match state {
        UnitState::NeverSeen => "never seen",
        UnitState::Online => "on-line",
        UnitState::Offline => "off-line",
        UnitState::Confirming => "being confirmed",
        UnitState::Unreachable => "unreachable",
    }
}

fn row<'a>(html: &'a str, id: &str) -> &'a str {
    between(html, &format!(r#"<tr role="row" id="{id}""#), "</tr>")
}

/// Of 247 units in trouble: 4 KiB each.
const PAGE_MAX: usize = 247 * 4096;

#[test]
fn events_are_listed_with_their_beginning_duration_and_meter() {
    let html = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Main);
    let events = between(&html, "id=\"events\"", "</section>");
    let rows: Vec<String> = events.split("<tr").skip(2).map(text).collect();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].contains("2026-11-22 14:02:11") && rows[0].contains("goes on"), "{}", rows[0]);
    assert!(rows[0].contains("line riser-a"), "{}", rows[0]);
    assert!(rows[1].contains("27 min 12 s") && rows[1].contains("Tenant &lt;3&gt;"), "{}", rows[1]);
    assert!(rows[2].contains("gateway") && rows[2].contains("metergate started"), "{}", rows[2]);
    let (status, quiet) = (page_fixture::overview(false), Vec::new());
    let html = page::overview(&Status { events: quiet, ..status }, &OverviewView::default(), Part::Main);
    assert!(!html.contains("What happened"), "no empty list");
}
