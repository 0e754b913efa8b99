//! Lines of the log that clients can cause: so many of a kind within a minute, and how many were held back.

use metergate::io::log_rate_limiter::{PERIOD, WRITE_LINES};
use metergate::io::settings::{ListenerSettings, Writes};

use crate::support::captured::{Act, Rig};
use crate::support::clients::{self, WRITE};
use crate::support::log::Log;

#[tokio::test(start_paused = true)]
async fn writes_are_logged_up_to_a_number_a_minute_and_the_rest_are_counted() {
    let log = Log::start();
    let said = |text: &str| log.text().matches(text).count();
    let mut rig = Rig::start(ListenerSettings { writes: Writes::Allow, ..clients::settings() });
    let mut peer = rig.connect("10.0.0.5:40001", "10.0.0.1:502");
    rig.script(WRITE, [Act::Reply(WRITE.to_vec())]);
    let first = tokio::time::Instant::now();
    let logged = usize::try_from(WRITE_LINES).unwrap();
    for _ in 0..logged + 5 {
        assert_eq!(peer.ask(1, WRITE).await.unwrap()[..], *WRITE);
    }
    assert!(first.elapsed() < PERIOD, "all of them within one period");
    assert_eq!((said("write: answered"), said("held_back")), (logged, 0));
    tokio::time::sleep(PERIOD).await;
    peer.ask(1, WRITE).await.unwrap();
    assert_eq!((said("write: answered"), said("held_back=5")), (logged + 1, 1));
}
