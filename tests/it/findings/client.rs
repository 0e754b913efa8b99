//! Findings about clients of a listener.

use std::time::{Duration, Instant};

use metergate::findings::rtu_over_tcp;

#[test]
fn a_client_that_speaks_rtu_is_named_until_it_has_not_tried_for_a_while() {
    let (first, quiet) = (Instant::now(), Duration::from_secs(120));
    let (listener, client) = ("127.0.0.1:502".parse().unwrap(), "10.0.0.9".parse().unwrap());
    let last = first + quiet;
    let found = |at| rtu_over_tcp(listener, client, first, last, at);
    let one = found(last).expect("just seen");
    assert!(one.what.starts_with("Client 10.0.0.9 speaks RTU over TCP"), "{}", one.what);
    assert_eq!((one.active_since, one.last_seen), (first, last));
    assert!(found(last + quiet).is_some());
    assert_eq!(found(last + quiet + Duration::from_secs(1)), None);
}
