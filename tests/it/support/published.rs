//! What gateways that do not run might have published, by their configuration.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use metergate::config::{Config, parse};
use metergate::line::{
    Block, BusId, PollingView, PortState, Snapshot, UnitId, UnitSettings, UnitState, UnitView, View,
};
use metergate::modbus::pdu::{FunctionCode, ReadRange};
use metergate::serial::PortView;
use metergate::status::{History, Published, PublishedBus, PublishedListener};
use metergate::web::{Documents, SharedEvents, SharedHistory};
use serde_json::Value;

/// Two lines; unit 1 of the second is 11 for clients, and both have a 2.
pub(crate) const TWO_LINES: &str = "
listeners:
  - {address: 127.0.0.1:502, buses: [riser-a], max_age: 5s}
  - {address: 127.0.0.1:503, buses: [riser b/c]}
buses:
  - name: riser-a
    device: /dev/ttyS0
    units:
      - {id: 1, name: Panel 1, profile: leviton-4000r}
      - {id: 2}
  - name: riser b/c
    device: /dev/ttyS1
    units:
      - {id: 1, as: 11, profile: leviton-4000r, blocks: [integers, configuration]}
      - {id: 2}
";

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Where the 4000-R's floats, integers and settings begin, and how many there are.
pub(crate) const FLOATS: ReadRange = range(256, 90);
pub(crate) const INTEGERS: ReadRange = range(0, 52);
pub(crate) const SETTINGS: ReadRange = range(128, 26);

const fn range(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

pub(crate) fn config(text: &str) -> Config {
    parse(text, "m.yaml").unwrap_or_else(|problems| panic!("{problems}")).config
}

/// The gateway as it is when it has just been started and every port is open.
pub(crate) fn published(text: &str, now: Instant) -> Published {
    let config = config(text);
    let bus = |(number, bus): (u32, &metergate::config::Bus)| {
        let unit = |unit: &UnitSettings| Arc::new(UnitView::new(unit));
        PublishedBus {
            id: BusId(number),
            settings: Arc::new(bus.clone()),
            view: Arc::new(View {
                port: PortState::Open,
                polling: PollingView { interval: SECOND, slowdown: 1.0, ..PollingView::default() },
                units: bus.line.units.iter().map(unit).collect(),
                ..View::default()
            }),
            port: Arc::new(PortView { since: Some(now), openings: 1, ..PortView::default() }),
            restarts: 0,
        }
    };
    let buses: Vec<_> = (0..).zip(&config.buses).map(bus).collect();
    let listener = |listener: &metergate::config::Listener| PublishedListener {
        address: listener.settings.endpoint(),
        port: None,
        settings: listener.settings.clone(),
        buses: listener.buses.iter().map(|&index| buses[index].id).collect(),
        metrics: Arc::default(),
    };
    let listeners = config.listeners.iter().map(listener).collect();
    Published {
        at: now,
        generation: 0,
        started: now,
        buses,
        listeners,
        page_expires: None,
        audit: None,
        brokers: Vec::new(),
        traffic: Arc::default(),
        site: None,
        time: SystemTime::UNIX_EPOCH,
        clock: String::new(),
    }
}

/// Changes what a line published.
pub(crate) fn change(published: &mut Published, bus: usize, change: impl FnOnce(&mut View)) {
    change(Arc::make_mut(&mut published.buses[bus].view));
}

/// Changes what a line published of one unit.
pub(crate) fn change_unit(
    published: &mut Published,
    bus: usize,
    id: u8,
    change_it: impl FnOnce(&mut UnitView),
) {
    change(published, bus, |view| {
        let id = UnitId::new(id).unwrap();
        let unit = view.units.iter_mut().find(|unit| unit.id == id).unwrap();
        change_it(Arc::make_mut(unit));
    });
}

/// The unit was read: all registers of the range, zero but for these, by address.
pub(crate) fn read(
    published: &mut Published,
    (bus, id): (usize, u8),
    range: ReadRange,
    words: &[(u16, u16)],
    begun: Instant,
    generation: u64,
) {
    let mut registers = vec![0_u16; usize::from(range.quantity)];
    for (address, word) in words {
        registers[usize::from(address - range.start)] = *word;
    }
    let mut reply = vec![3, u8::try_from(registers.len() * 2).unwrap()];
    reply.extend(registers.iter().flat_map(|word| word.to_be_bytes()));
    change_unit(published, bus, id, |unit| {
        unit.state = UnitState::Online;
        unit.last_good = Some(begun);
        let block = Block::new(range, Bytes::from(reply), begun, generation);
        unit.snapshot = Arc::new(Snapshot::clone(&unit.snapshot).with(block));
    });
}

/// The two words of a float at an address.
pub(crate) fn float(address: u16, value: f32) -> [(u16, u16); 2] {
    let [a, b, c, d] = value.to_be_bytes();
    [(address, u16::from_be_bytes([a, b])), (address + 1, u16::from_be_bytes([c, d]))]
}

/// The document at a path, which has to be there.
pub(crate) fn page(published: &Published, history: &History, path: &str, now: Instant) -> String {
    let response = ask(published, history, path, now);
    assert_eq!(response.status(), StatusCode::OK, "{path}: {response:?}");
    response.into_body()
}

/// What is answered to a path.
pub(crate) fn ask(published: &Published, history: &History, path: &str, now: Instant) -> Response<String> {
    let published = Published { at: now, ..published.clone() };
    ask_for(
        &Documents::new(
            move || published.clone(),
            SharedHistory::new(history.clone()),
            SharedEvents::default(),
        ),
        path,
    )
}

/// The same of these documents.
pub(crate) fn ask_for(documents: &Documents, path: &str) -> Response<String> {
    let router = TowerToHyperService::new(documents.router());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (head, body) = router.call(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
    })
}

pub(crate) fn json(published: &Published, path: &str, now: Instant) -> Value {
    serde_json::from_str(&page(published, &History::default(), path, now)).unwrap()
}
