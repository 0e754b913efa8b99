//! What the status pages say: every meter in its place and state, what is wrong with the remedy, and never a number
//! for what is not known.

use metergate::page::{self, MeterLink, Part};
use metergate::status::{Number, Status, Unit, UnitState};

use crate::support::page_fixture;
use crate::support::page_tags::{between, tags, text};

#[test]
fn every_meter_hangs_on_its_wire_in_order_with_its_state_in_a_word() {
    let status = page_fixture::overview(false);
    let html = page::overview(&status, Part::Main);
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
fn each_state_has_a_word_and_a_shape_of_its_own() {
    let mut shapes = Vec::new();
    for state in UnitState::ALL {
        let mut status = page_fixture::healthy();
        status.units[0] = page_fixture::unit("riser-a", 1, None, state);
        let html = page::overview(&status, Part::Main);
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
    let html = page::overview(&page_fixture::unknown(), Part::Main);
    for id in 21..=23 {
        let row = row(&html, &format!("bus-0-line-{id}"));
        let cells = text(row).replace(&id.to_string(), "");
        assert_eq!(cells.matches("no data").count(), 4, "power, age, answer time, errors: {cells}");
        assert!(!cells.contains(|character: char| character.is_ascii_digit()), "{cells}");
    }
    assert!(!html.contains("kW"), "a sum over nothing is no sum");
    let port = text(between(&html, r#"id="bus-0-port""#, "<table"));
    assert!(port.contains("Not measured yet") && port.contains("not known yet"), "{port}");

    let html = page_fixture::meter_page(&page_fixture::unknown_meter(), Part::Main);
    assert!(text(between(&html, r#"class="headline"#, "</section>")).contains("no data"));
    assert!(text(&html).contains("they have not been read"), "an alert that was not read is not absent");
    assert!(html.contains("Nothing has been read in this time"));
}

#[test]
fn a_dead_meter_shows_its_last_values_with_their_age_and_marked_as_old() {
    let html = page::overview(&page_fixture::overview(true), Part::Main);
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
fn what_dead_meters_said_last_is_not_part_of_the_sum() {
    let mut status = page_fixture::healthy();
    for (unit, state) in status.units.iter_mut().zip([UnitState::Online, UnitState::Offline]) {
        unit.state = state;
        unit.headline[0].value = Some(Number::Float(10.0));
    }
    status.units.truncate(2);
    let facts = text(between(&page::overview(&status, Part::Main), "<ul class=\"facts\"", "</ul>"));
    assert!(facts.contains("1 of 2 meters on-line") && facts.contains("10.0 kW from 1 meter"), "{facts}");
}

#[test]
fn what_is_wrong_comes_first_worst_first_with_its_remedy() {
    let status = page_fixture::overview(false);
    let html = page::overview(&status, Part::Main);
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
    assert!(wrong.contains(r#"<a class="place" href="/units/5">Kitchen (unit 5)</a>"#));
    assert!(html.contains(r#"data-title="3 faults, 1 warning · "#));
}

#[test]
fn a_healthy_line_says_so() {
    let html = page::overview(&page_fixture::healthy(), Part::Main);
    assert!(text(&html).contains("Nothing: every port is open and every meter answers."));
    assert!(text(&html).contains("no faults found"));
}

#[test]
fn silence_without_a_finding_is_not_called_healthy() {
    let mut status = page_fixture::healthy();
    status.units[0].state = UnitState::NeverSeen;
    let html = page::overview(&status, Part::Main);
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
    let html = page::overview(&page_fixture::overview(false), Part::Main);
    assert!(
        html.contains(
            r#"aria-label="Line time now: clients 18 %, polling 41 %, failures 2.1 %, silence 38 %""#
        )
    );
}

#[test]
fn plots_say_in_words_what_they_show() {
    let html = page::overview(&page_fixture::overview(false), Part::Main);
    let row = row(&html, "bus-0-line-5");
    assert!(row.contains("Answer time over the last hour: now no data, lowest 5.2 ms"), "{row}");
    assert!(row.contains("Errors over the last hour: now 100 %, lowest 0 %, mean 6.7 %, highest 100 %"));
    let html = page_fixture::meter_page(&page_fixture::meter(), Part::Main);
    assert!(html.contains("Real power, one-minute means over the last 12 hours: now 1"));
    assert!(html.contains("; 35 minutes without data"));
}

#[test]
fn points_come_with_value_unit_and_age_or_the_reason_why_not() {
    let html = page_fixture::meter_page(&page_fixture::meter(), Part::Main);
    let points = text(between(&html, r#"id="points""#, "</section>"));
    assert!(
        points.contains("Real power, all phases together real_power_total · register 261 13.42 kW 0.7 s"),
        "{points}"
    );
    assert!(points.contains("no data not for this system type"));
    assert!(points.contains("no data not read yet –"));
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
    let html = page::overview(&status, Part::Page);
    assert!(html.len() < PAGE_MAX, "{} bytes", html.len());
}

#[test]
fn an_empty_gateway_has_a_page() {
    assert!(text(&page::overview(&Status::default(), Part::Main)).contains("0 of 0 meters on-line"));
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
    let html = page::overview(&page_fixture::overview(false), Part::Main);
    let events = between(&html, "id=\"events\"", "</section>");
    let rows: Vec<String> = events.split("<tr").skip(2).map(text).collect();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].contains("2026-11-22 14:02:11") && rows[0].contains("goes on"), "{}", rows[0]);
    assert!(rows[0].contains("line riser-a"), "{}", rows[0]);
    assert!(rows[1].contains("27 min 12 s") && rows[1].contains("Tenant &lt;3&gt;"), "{}", rows[1]);
    assert!(rows[2].contains("gateway") && rows[2].contains("metergate started"), "{}", rows[2]);
    let (status, quiet) = (page_fixture::overview(false), Vec::new());
    let html = page::overview(&Status { events: quiet, ..status }, Part::Main);
    assert!(!html.contains("What happened"), "no empty list");
}
