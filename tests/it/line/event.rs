//! Events as text, as in the log.

use metergate::line::{LineEvent, UnitId};

use crate::support::settings;

#[test]
fn an_event_names_its_unit_as_clients_know_it() {
    let mut line = settings::line(&[7, 8, 9]);
    line.units[0].name = Some("Tenant 7".to_owned());
    line.units[1].name = Some("Tenant 8".to_owned());
    line.units[1].client_id = 108;
    let text =
        |unit| LineEvent::Suspected { unit: UnitId::new(unit).expect("not 0") }.describe(&line).to_string();
    assert!(text(7).starts_with("unit 7 (Tenant 7) stopped answering"), "{}", text(7));
    assert!(text(8).starts_with("unit 108 (Tenant 8, 8 on the line) stopped"), "{}", text(8));
    assert!(text(9).starts_with("unit 9 stopped answering"), "{}", text(9));
}
