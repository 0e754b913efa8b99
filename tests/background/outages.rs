//! Units and ports that are gone: how it is found out that they are back, and what is served meanwhile.

use super::*;

#[test]
fn a_unit_never_heard_is_probed_with_the_first_pair_of_its_first_block() {
    let mut rig = Rig::start(Pace::Every(SECOND));
    while !rig.view.units[0].state.to_string().contains("off") {
        assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
        // Until its guard is over.
        let until = rig.now + 1200 * MS;
        while let Some(at) = rig.line.poll_timeout().filter(|at| *at <= until && rig.sent.is_empty()) {
            rig.now = at;
            rig.line.handle_timeout(at);
            rig.drain();
        }
    }
    assert_eq!(rig.next_sent(), Some((1, registers(256, 2).request())));
}
