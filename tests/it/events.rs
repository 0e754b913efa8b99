//! The list of events and its file: conditions that begin and end, restarts, steps of the clock, bounds.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use metergate::endpoint::ClientAddress;
use metergate::events::{
    Condition, EVENTS_MAX, Event, EventFile, EventFileSettings, EventKind, EventList, Undecided, WRITERS_MAX,
    Writes,
};

use crate::support::program::Folder;

/// A wall clock and a monotonic one, moved by hand.
struct Clocks {
    wall: Timestamp,
    at: Instant,
}

impl Clocks {
    fn new() -> Self {
        Self { wall: "2026-11-22T02:13:00Z".parse().unwrap(), at: Instant::now() }
    }

    fn pass(&mut self, seconds: u64) {
        self.wall = self.wall.checked_add(SignedDuration::from_secs(seconds.try_into().unwrap())).unwrap();
        self.at += Duration::from_secs(seconds);
    }
}

fn outage(unit: u8, held_for: u64) -> Condition {
    Condition {
        kind: EventKind::Outage,
        bus: "riser-a".into(),
        unit: Some(unit),
        name: Some(format!("Tenant {unit}")),
        subject: None,
        held_for: Duration::from_secs(held_for),
        text: "no answer".into(),
    }
}

fn observe(list: &mut EventList, conditions: &[Condition], clocks: &Clocks) {
    list.observe(conditions, &Undecided::default(), clocks.wall, clocks.at);
}

fn started(clocks: &Clocks) -> EventList {
    EventList::restored(Vec::new(), clocks.wall, clocks.at)
}

/// The events of a kind, the oldest first.
fn of(list: &EventList, kind: EventKind) -> Vec<Event> {
    let mut events: Vec<Event> = list.newest_first().filter(|event| event.kind == kind).cloned().collect();
    events.reverse();
    events
}

#[test]
fn an_outage_begins_when_the_unit_fell_silent_and_ends_when_it_answers() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    clocks.pass(60);
    observe(&mut list, &[outage(7, 10)], &clocks);
    clocks.pass(8);
    observe(&mut list, &[outage(7, 18)], &clocks);
    observe(&mut list, &[], &clocks);
    let outages = of(&list, EventKind::Outage);
    assert_eq!(outages.len(), 1);
    let outage = &outages[0];
    assert_eq!((outage.unit, outage.name.as_deref()), (Some(7), Some("Tenant 7")));
    assert_eq!(outage.begin.to_string(), "2026-11-22T02:13:50Z");
    assert_eq!(outage.end.unwrap().to_string(), "2026-11-22T02:14:08Z");
    assert_eq!(outage.seconds, Some(18));
}

#[test]
fn what_cannot_be_known_at_the_moment_stays_open() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    observe(&mut list, &[outage(7, 0), outage(8, 0)], &clocks);
    clocks.pass(5);
    let undecided = Undecided { units: BTreeSet::from([("riser-a".to_owned(), 7)]), ..Undecided::default() };
    list.observe(&[], &undecided, clocks.wall, clocks.at);
    let open: Vec<_> =
        of(&list, EventKind::Outage).iter().map(|event| (event.unit, event.end.is_none())).collect();
    assert_eq!(open, [(Some(7), true), (Some(8), false)]);
}

#[test]
fn an_outage_goes_on_over_a_restart_and_keeps_its_beginning() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("events.jsonl"), max_size: 1_000_000 };
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    observe(&mut list, &[outage(7, 0)], &clocks);
    list.note(EventKind::Stop, "metergate stopped".into(), clocks.wall, clocks.at);
    save(&settings, &mut list);

    clocks.pass(42);
    let (_, events) = EventFile::open(settings.clone());
    let mut list = EventList::restored(events, clocks.wall, clocks.at);
    clocks.pass(10);
    observe(&mut list, &[outage(7, 10)], &clocks);
    clocks.pass(8);
    observe(&mut list, &[], &clocks);
    let outages = of(&list, EventKind::Outage);
    assert_eq!(outages.len(), 1, "{outages:?}");
    assert_eq!(outages[0].seconds, Some(60));
    let starts = of(&list, EventKind::Start);
    assert_eq!(starts.last().unwrap().seconds, Some(42), "so long it was not running");

    save(&settings, &mut list);
    let (_, events) = EventFile::open(settings);
    assert_eq!(
        events,
        list.newest_first().cloned().collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
    );
}

#[test]
fn an_end_without_a_stop_is_called_a_crash_or_a_loss_of_power() {
    let mut clocks = Clocks::new();
    let first = started(&clocks);
    clocks.pass(100);
    let events: Vec<Event> = first.newest_first().cloned().collect();
    let list = EventList::restored(events, clocks.wall, clocks.at);
    let text = &list.newest_first().next().unwrap().text;
    assert!(text.contains("a crash or a loss of power"), "{text}");
}

#[test]
fn a_clock_that_is_set_moves_the_events_of_this_run_and_no_duration() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    observe(&mut list, &[outage(7, 0)], &clocks);
    clocks.pass(5);
    let step = SignedDuration::from_hours(24);
    clocks.wall = clocks.wall.checked_add(step).unwrap();
    list.step_clock(step, clocks.wall, clocks.at);
    clocks.pass(5);
    observe(&mut list, &[], &clocks);
    let outage = &of(&list, EventKind::Outage)[0];
    assert_eq!(outage.begin.to_string(), "2026-11-23T02:13:00Z");
    assert_eq!(outage.seconds, Some(10));
    assert_eq!(of(&list, EventKind::ClockStep)[0].text, "the clock was set forward by 1 day 0 h");
}

#[test]
fn writes_of_a_client_within_an_hour_are_one_event() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    let client: ClientAddress = "10.0.0.5".parse().unwrap();
    list.note_writes(client.clone(), writes(2, 1), clocks.wall, clocks.at);
    clocks.pass(1_000);
    list.note_writes(client.clone(), writes(1, 0), clocks.wall, clocks.at);
    list.note_writes("10.0.0.6".parse().unwrap(), writes(1, 0), clocks.wall, clocks.at);
    observe(&mut list, &[], &clocks);
    clocks.pass(2_600);
    list.end_writes(clocks.wall, clocks.at);
    list.note_writes(client, writes(1, 0), clocks.wall, clocks.at);
    let noted = of(&list, EventKind::Writes);
    let texts: Vec<_> = noted.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(texts, ["3 writes, 1 refused", "1 write", "1 write"]);
    assert_eq!(noted.iter().map(|event| event.end.is_some()).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn the_list_is_bounded_and_what_goes_on_stays() {
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    observe(&mut list, &[outage(7, 0)], &clocks);
    for _ in 0..2 * EVENTS_MAX {
        list.note(EventKind::Reload, "taken over".into(), clocks.wall, clocks.at);
    }
    assert_eq!(list.newest_first().count(), EVENTS_MAX);
    assert!(of(&list, EventKind::Outage)[0].end.is_none());
}

#[test]
fn the_file_is_bounded_and_keeps_the_newest() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("events.jsonl"), max_size: 4_000 };
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    let (mut file, _) = EventFile::open(settings.clone());
    for number in 0..200 {
        list.note(EventKind::Reload, format!("reload {number}"), clocks.wall, clocks.at);
        let changed = list.take_changed();
        let all: Vec<Event> = oldest_first(&list);
        file.save(&changed, &all).unwrap();
        assert!(fs::metadata(&settings.file).unwrap().len() <= settings.max_size);
    }
    let (_, events) = EventFile::open(settings);
    assert_eq!(events.last().unwrap().text, "reload 199");
    assert!(events.len() > 10, "{}", events.len());
}

#[test]
fn half_a_line_and_strange_lines_are_skipped_and_nothing_else_is_lost() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("events.jsonl"), max_size: 1_000_000 };
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    save(&settings, &mut list);
    let mut text = fs::read_to_string(&settings.file).unwrap();
    text.push_str("no event\n{\"id\":9,\"ki");
    fs::write(&settings.file, &text).unwrap();

    let (mut file, events) = EventFile::open(settings.clone());
    assert_eq!(events.len(), 1);
    list.note(EventKind::Reload, "taken over".into(), clocks.wall, clocks.at);
    file.save(&list.take_changed(), &[]).unwrap();
    let (_, events) = EventFile::open(settings.clone());
    assert_eq!(events.len(), 2, "{}", fs::read_to_string(&settings.file).unwrap());
}

#[test]
fn a_file_that_cannot_be_written_loses_nothing() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("later/events.jsonl"), max_size: 1_000_000 };
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    let (mut file, _) = EventFile::open(settings.clone());
    let changed = list.take_changed();
    assert!(file.save(&changed, &oldest_first(&list)).is_err());
    list.mark_changed(&changed);
    fs::create_dir(directory.path("later")).unwrap();
    file.save(&list.take_changed(), &oldest_first(&list)).unwrap();
    let (_, events) = EventFile::open(settings);
    assert_eq!(events.len(), 1);
}

fn save(settings: &EventFileSettings, list: &mut EventList) {
    let (mut file, _) = EventFile::open(settings.clone());
    let changed = list.take_changed();
    file.save(&changed, &oldest_first(list)).unwrap();
}

fn oldest_first(list: &EventList) -> Vec<Event> {
    let mut events: Vec<Event> = list.newest_first().cloned().collect();
    events.reverse();
    events
}

fn writes(total: u64, refused: u64) -> Writes {
    Writes { total, refused }
}

#[test]
fn strangers_who_write_do_not_push_out_what_happened() {
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    for stranger in 0..1_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0A00_0000 + stranger);
        list.note_writes(ClientAddress::Ip(address.into()), writes(1, 1), clocks.wall, clocks.at);
    }
    let noted = of(&list, EventKind::Writes);
    assert_eq!(noted.len(), WRITERS_MAX + 1);
    assert_eq!(noted.last().unwrap().text, "950 writes of further clients, 950 refused");
}

#[test]
fn what_was_wrong_before_a_restart_stays_open_until_the_line_is_tried() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    let lost = Condition { kind: EventKind::PortLost, unit: None, name: None, ..outage(7, 0) };
    let noise = Condition {
        kind: EventKind::Finding,
        unit: None,
        name: None,
        subject: Some("noise".into()),
        ..outage(7, 0)
    };
    observe(&mut list, &[lost, noise], &clocks);
    clocks.pass(10);
    let mut list = EventList::restored(oldest_first(&list), clocks.wall, clocks.at);
    let bus = BTreeSet::from(["riser-a".to_owned()]);
    let open = |list: &EventList| list.newest_first().filter(|event| event.end.is_none()).count();
    let untried = Undecided { ports: bus.clone(), lines: bus.clone(), ..Undecided::default() };
    list.observe(&[], &untried, clocks.wall, clocks.at);
    assert_eq!(open(&list), 2);
    let silent_so_far = Undecided { lines: bus, ..Undecided::default() };
    list.observe(&[], &silent_so_far, clocks.wall, clocks.at);
    assert_eq!(open(&list), 1, "the port is open");
    observe(&mut list, &[], &clocks);
    assert_eq!(open(&list), 0);
}

#[test]
fn another_file_keeps_what_it_holds_and_what_goes_on_outlasts_its_bound() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("events.jsonl"), max_size: 4_000 };
    let clocks = Clocks::new();
    let mut before = started(&clocks);
    before.note(EventKind::Reload, "of earlier".into(), clocks.wall, clocks.at);
    save(&settings, &mut before);

    let mut list = started(&clocks);
    observe(&mut list, &[outage(7, 0)], &clocks);
    let (mut file, earlier) = EventFile::open(settings.clone());
    list.prepend(earlier);
    file.save(&list.take_changed(), &oldest_first(&list)).unwrap();
    let (_, events) = EventFile::open(settings.clone());
    assert_eq!(events.len(), 4, "{events:#?}");
    assert!(events.iter().any(|event| event.text == "of earlier"));

    for number in 0..100 {
        list.note(EventKind::Reload, format!("reload {number}"), clocks.wall, clocks.at);
        file.save(&list.take_changed(), &oldest_first(&list)).unwrap();
    }
    let (_, events) = EventFile::open(settings);
    let outage = events.iter().find(|event| event.kind == EventKind::Outage).expect("it goes on");
    assert_eq!(outage.end, None);
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let directory = Folder::new();
    let text = "Nov 27 02:13:50 router kernel: link up\n".repeat(1_000);
    let settings = EventFileSettings { file: directory.write("syslog", &text), max_size: 4_000 };
    let clocks = Clocks::new();
    let mut list = started(&clocks);
    let (mut file, events) = EventFile::open(settings.clone());
    assert_eq!(events, []);
    assert!(file.save(&list.take_changed(), &oldest_first(&list)).is_err());
    assert_eq!(fs::read_to_string(&settings.file).unwrap(), text);
}

#[test]
fn events_are_listed_in_the_order_in_which_they_began() {
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    clocks.pass(100);
    list.note(EventKind::Reload, "configuration applied".into(), clocks.wall, clocks.at);
    // It began before that, and is known only now.
    clocks.pass(5);
    observe(&mut list, &[outage(7, 9)], &clocks);
    let listed: Vec<EventKind> = list.newest_first().map(|event| event.kind).collect();
    assert_eq!(listed, [EventKind::Reload, EventKind::Outage, EventKind::Start]);
    let recorded: Vec<EventKind> = list.oldest_first().iter().map(|event| event.kind).collect();
    assert_eq!(recorded, [EventKind::Start, EventKind::Reload, EventKind::Outage], "as the file has them");
}

#[test]
fn a_file_that_another_program_removed_or_shortened_is_written_anew_with_all_events() {
    let directory = Folder::new();
    let settings = EventFileSettings { file: directory.path("events.jsonl"), max_size: 1_000_000 };
    let (mut file, _) = EventFile::open(settings.clone());
    let mut clocks = Clocks::new();
    let mut list = started(&clocks);
    let mut save = |list: &mut EventList, text: &str| {
        clocks.pass(20);
        list.note(EventKind::Reload, text.into(), clocks.wall, clocks.at);
        file.save(&list.take_changed(), &list.oldest_first()).unwrap();
        EventFile::open(settings.clone()).1.len()
    };
    assert_eq!(save(&mut list, "first"), 2);
    fs::remove_file(directory.path("events.jsonl")).unwrap();
    assert_eq!(save(&mut list, "second"), 3);
    fs::write(directory.path("events.jsonl"), "").unwrap();
    assert_eq!(save(&mut list, "third"), 4);
    fs::write(directory.path("events.jsonl"), "of another\n").unwrap();
    file.save(&list.take_changed(), &list.oldest_first()).unwrap_err();
    assert_eq!(fs::read_to_string(directory.path("events.jsonl")).unwrap(), "of another\n", "left alone");
}
