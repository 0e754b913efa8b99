//! A gateway behind a gateway, over Modbus TCP: what it reads, what it says of a meter that does not answer, and what
//! happens when a bus leads back to the gateway itself.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use metergate::config::{self, Config};
use metergate::gateway::Gateway;
use metergate::line::{Availability, UnitId, View};
use metergate::modbus::pdu::ExceptionCode;
use metergate::serial::PortDevice;
use metergate::server::ListenAt;
use metergate::simulator::{Chain, ChainSettings};
use tokio::time::timeout;
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{Reader, Slave};
use tokio_util::sync::CancellationToken;

use crate::support::log::Log;

fn gateway(device: &str, units: &str) -> Config {
    let text = format!(
        "status: off\nlisteners: [{{address: '127.0.0.1:0'}}]\nbuses:\n  - {{name: riser, device: '{device}', \
         response_timeout: 200ms, retries: 0, offline_after: {{failures: 3, time: 0s}}, units: [{units}]}}\n"
    );
    config::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems}")).config
}

async fn client(gateway: &Gateway, unit: u8) -> Context {
    tcp::connect_slave(gateway.addresses()[0], Slave(unit)).await.unwrap()
}

/// The registers, or the exception.
async fn read(client: &mut Context) -> Result<Vec<u16>, ExceptionCode> {
    client.read_holding_registers(256, 4).await.unwrap().map_err(|code| ExceptionCode(code.into()))
}

fn view(gateway: &Gateway) -> Arc<View> {
    gateway.views()[0].1.load_full()
}

/// Asks until the answer is the wanted one.
async fn read_until(client: &mut Context, is_wanted: impl Fn(&Result<Vec<u16>, ExceptionCode>) -> bool) {
    let asked = async { while !is_wanted(&read(client).await) {} };
    timeout(Duration::from_secs(20), asked).await.expect("it is answered so in time");
}

const NO_ANSWER: Result<Vec<u16>, ExceptionCode> = Err(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
const NO_PATH: Result<Vec<u16>, ExceptionCode> = Err(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meters_of_a_gateway_upstream_are_read_and_a_dead_one_goes_off_line_here_too() {
    let meters = ChainSettings::plain(19_200.try_into().unwrap(), Duration::from_millis(5), &[1], 1);
    let meters = Chain::open(meters).unwrap();
    let device = meters.device().to_str().unwrap().to_owned();
    let stop = CancellationToken::new();
    tokio::spawn(meters.run(stop.clone()));
    let upstream = Gateway::start(&gateway(&device, "{id: 1}, {id: 2}")).unwrap();
    let address = upstream.addresses()[0];
    let here = gateway(&format!("modbus-tcp://{address}"), "{id: 1}, {id: 2}, {id: 3}");
    // It is given longer than the gateway there needs to give up.
    let mut line = here.clone();
    for unit in &mut line.buses[0].line.units {
        unit.response_timeout = Duration::from_secs(2);
    }
    let here = Gateway::start(&line).unwrap();

    let (mut first, mut dead, mut unknown) =
        (client(&here, 1).await, client(&here, 2).await, client(&here, 3).await);
    read_until(&mut first, |answered| answered.as_ref().is_ok_and(|values| values.len() == 4)).await;
    read_until(&mut dead, |answered| *answered == NO_ANSWER).await;
    read_until(&mut unknown, |answered| *answered == NO_PATH).await;
    for (unit, client) in [(2, &mut dead), (3, &mut unknown)] {
        let unit = UnitId::new(unit).unwrap();
        read_until(client, |_| view(&here).availability(unit) == Availability::Offline).await;
        assert_eq!(read(client).await, NO_ANSWER, "refused here, at once");
    }
    assert!(read(&mut first).await.is_ok(), "a healthy one is not concerned");

    upstream.stop().await;
    read_until(&mut first, |answered| *answered == NO_PATH).await;
    let unit = UnitId::new(1).unwrap();
    assert_eq!(view(&here).availability(unit), Availability::Unreachable, "upstream gone");
    here.stop().await;
    stop.cancel();
}

#[tokio::test]
async fn a_bus_that_leads_back_is_answered_0x0a_and_named_once() {
    let log = Log::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = gateway("modbus-tcp://elsewhere.invalid:502", "{id: 1}");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    config.listeners[0].settings.at = ListenAt::Tcp(address);
    // As a name would that leads to this machine.
    config.buses[0].port.device = PortDevice::of_server(&format!("modbus-tcp://{address}")).unwrap();
    let gateway = Gateway::start(&config).unwrap();
    let mut client = client(&gateway, 1).await;
    read_until(&mut client, |answered| *answered == NO_PATH && view(&gateway).counters.transactions > 0)
        .await;
    assert_eq!(view(&gateway).units[0].last_exception, Some(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
    let told = "leads back to its listener";
    for _ in 0..3 {
        read(&mut client).await.unwrap_err();
    }
    let text = log.text();
    assert_eq!(text.matches(told).count(), 1, "{text}");
    gateway.stop().await;
}
