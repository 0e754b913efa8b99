//! Readers of the traffic delay neither lines nor clients.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use metergate::line::BusId;
use metergate::modbus::AduFraming;
use metergate::modbus::mbap::Adu;
use metergate::traffic::{
    FOLLOWER_EVENTS, FRESH_EVENTS, FRESH_OF_CLIENTS, Followed, Link, Message, RING_EVENTS, Sender, Traffic,
};

use crate::support::captured::{Act, Rig};
use crate::support::clients::{self, READ};

fn message(transaction_id: u16) -> Message {
    let address = |text: &str| text.parse().unwrap();
    let link = Link {
        identity: None,
        client: address("10.0.0.5:40001"),
        listener: address("10.0.0.1:502"),
        framing: AduFraming::Tcp,
        connection: 1,
    };
    let adu = Adu { transaction_id, unit: 1, pdu: Bytes::from_static(READ) };
    Message { link: Arc::new(link), sender: Sender::Client, adu, at: Instant::now() }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_holds_what_is_kept_delays_neither_a_bus_nor_a_client() {
    let mut rig = Rig::start(clients::settings());
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    rig.script(READ, [Act::Reply(vec![3, 4, 1, 2, 3, 4])]);
    peer.ask(1, READ).await.unwrap();
    let (entered, inside) = channel();
    let (let_go, release) = channel::<()>();
    let traffic = Arc::clone(&rig.traffic);
    let reader = thread::spawn(move || {
        traffic
            .last(BusId(0), 1, |_| {
                entered.send(()).unwrap();
                // Let go when the test drops its end.
                let _ = release.recv();
                true
            })
            .len()
    });
    inside.recv().unwrap();
    // The reader is in the midst of it, and stays there for as long as the test wants.
    for _ in 0..10 {
        assert_eq!(peer.ask(1, READ).await.unwrap()[..2], [3, 4]);
    }
    drop(let_go);
    assert_eq!(reader.join().unwrap(), 1);
    // Of each transaction the request, the line and the answer.
    assert_eq!(rig.traffic.kept().len(), 3 * 11);
    assert_eq!(rig.traffic.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn traffic_not_collected_in_time_is_lost_counted_and_reported_to_followers() {
    let traffic = Arc::<Traffic>::default();
    let (_, mut follower) = traffic.follow();
    for number in 0..FRESH_OF_CLIENTS + 5 {
        traffic.note_message(message(u16::try_from(number).unwrap()));
    }
    assert_eq!(traffic.lost(), 5);
    const { assert!(FRESH_OF_CLIENTS < FRESH_EVENTS, "the records of lines still find room") };
    // The follower is slow, too: it is behind by more than is kept for it.
    traffic.collect();
    let behind = FRESH_OF_CLIENTS - FOLLOWER_EVENTS;
    assert_eq!(follower.next().await, Followed::Lost(behind as u64));
    for number in behind..FRESH_OF_CLIENTS {
        let Followed::Event(event) = follower.next().await else { panic!("nothing more is missing") };
        assert_eq!(event.number, number as u64 + 1);
    }
    traffic.note_message(message(0));
    assert_eq!(follower.next().await, Followed::Lost(5));
    let Followed::Event(event) = follower.next().await else { panic!("nothing more is missing") };
    assert_eq!(event.number, FRESH_OF_CLIENTS as u64 + 5 + 1);
    assert_eq!(traffic.kept().len(), RING_EVENTS.min(FRESH_OF_CLIENTS + 1));
}
