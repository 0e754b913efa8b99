//! Running out of file descriptors. A program of its own, because the limit applies to the process.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "it/support/clients.rs"]
#[allow(dead_code, reason = "the other program uses the rest")]
mod clients;

use std::fs::File;

use clients::{Peer, READ, answer, answering_bus, serve, settings, units};
use metergate::line::BusId;
use metergate::serial::BusHandle;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpSocket;

/// Every descriptor the process may still have.
fn take_all() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// One test, because descriptors are shared by all tests of a program.
#[tokio::test]
async fn running_out_of_descriptors_costs_only_the_longest_idle_client() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 100, hard).unwrap();

    let (bus, mut requests) = BusHandle::new(BusId(0), "riser-b");
    let server = serve(settings(), vec![(answering_bus("riser-a"), units([1])), (bus, units([2]))]);
    let mut busy = Peer::connect(&server).await;
    busy.send(1, 2, READ).await;
    let request = requests.recv().await.unwrap();
    let mut idle = Peer::connect(&server).await;
    assert!(idle.ask(1, READ).await.is_some());
    let mut neighbour = Peer::connect(&server).await;
    assert!(neighbour.ask(1, READ).await.is_some());

    // The new client's own end takes the last descriptor: the listener has none for it.
    let socket = TcpSocket::new_v4().unwrap();
    let taken = take_all();
    let mut newcomer = Peer::new(socket.connect(server.address).await.unwrap());
    assert_eq!(idle.receive().await, None, "the idle client should have made room");
    assert!(newcomer.ask(1, READ).await.is_some());
    // There is still none to spare, but no client waits for one either.
    assert!(neighbour.ask(1, READ).await.is_some());
    drop(taken);

    // With no idle connection, the new client waits until descriptors are free again.
    newcomer.send(2, 2, READ).await;
    let second = requests.recv().await.unwrap();
    drop((idle, neighbour));
    let socket = TcpSocket::new_v4().unwrap();
    let taken = take_all();
    let mut late = Peer::new(socket.connect(server.address).await.unwrap());
    late.send(3, 1, READ).await;
    answer(request);
    assert_eq!(busy.receive().await.unwrap().transaction_id, 1);
    drop(taken);
    assert_eq!(late.receive().await.unwrap().transaction_id, 3);
    answer(second);
    assert_eq!(newcomer.receive().await.unwrap().transaction_id, 2);
}
