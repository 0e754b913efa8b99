//! The chain on its streams: in memory with a paused clock, and as a device that programs open.

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use metergate::modbus::rtu;
use metergate::simulator::chain::serve;
use metergate::simulator::{Chain, ChainSettings, DeviceLink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::SerialPortBuilderExt;
use tokio_util::sync::CancellationToken;

fn settings() -> ChainSettings {
    ChainSettings::plain(NonZeroU32::new(19200).unwrap(), Duration::from_millis(5), &[1, 2], 1)
}

/// A place of its own for each test, so that they may run at once.
fn folder(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("metergate-chain-{}-{test}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_served_until_it_is_stopped() {
    let (mut client, meters) = tokio::io::duplex(1024);
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(meters, settings(), stop.clone()));
    for unit in [1, 2, 1] {
        client.write_all(&rtu::encode(unit, &[3, 0, 0, 0, 52])).await.unwrap();
        let mut reply = [0; 109];
        client.read_exact(&mut reply).await.unwrap();
        assert!(reply[0] == unit && rtu::crc_is_right(&reply));
    }
    stop.cancel();
    let counters = served.await.unwrap().unwrap();
    assert_eq!((counters.requests, counters.replies), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_no_error() {
    let (client, meters) = tokio::io::duplex(1024);
    drop(client);
    assert!(serve(meters, settings(), CancellationToken::new()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_loses_bytes_and_the_line_goes_on() {
    let (mut client, meters) = tokio::io::duplex(16);
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(meters, settings(), stop.clone()));
    client.write_all(&rtu::encode(1, &[3, 0, 0, 0, 52])).await.unwrap();
    // The clock is paused: this returns as soon as no task has anything to do before it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut left = [0; 64];
    assert_eq!(client.read(&mut left).await.unwrap(), 16, "what had room");
    client.write_all(&rtu::encode(2, &[3, 0, 0, 0, 1])).await.unwrap();
    let mut reply = [0; 7];
    client.read_exact(&mut reply).await.unwrap();
    assert!(reply[0] == 2 && rtu::crc_is_right(&reply));
    stop.cancel();
    assert_eq!(served.await.unwrap().unwrap().replies, 2);
}

#[tokio::test]
async fn a_client_may_close_the_device_and_open_it_again() {
    let chain = Chain::open(settings()).unwrap();
    let device = chain.device().to_owned();
    let stop = CancellationToken::new();
    let running = tokio::spawn(chain.run(stop.clone()));
    for unit in [1, 2] {
        let name = device.to_str().unwrap();
        let mut port = tokio_serial::new(name, 19200).open_native_async().unwrap();
        port.write_all(&rtu::encode(unit, &[3, 0, 0, 0, 52])).await.unwrap();
        let mut reply = [0; 109];
        port.read_exact(&mut reply).await.unwrap();
        assert!(reply[0] == unit && rtu::crc_is_right(&reply));
    }
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().replies, 2);
    assert!(!device.exists(), "the device is gone with its chain");
}

#[tokio::test]
async fn a_meter_answers_who_has_set_the_device_to_its_rate() {
    let mut settings = settings();
    settings.meters[1].baud_rate = NonZeroU32::new(9600);
    let chain = Chain::open(settings).unwrap();
    let device = chain.device().to_str().unwrap().to_owned();
    let stop = CancellationToken::new();
    let running = tokio::spawn(chain.run(stop.clone()));
    // At one rate for all, the second one would be silent.
    for (unit, rate) in [(1, 19200), (2, 9600), (1, 19200)] {
        let mut port = tokio_serial::new(&device, rate).open_native_async().unwrap();
        port.write_all(&rtu::encode(unit, &[3, 0, 0, 0, 52])).await.unwrap();
        let mut reply = [0; 109];
        port.read_exact(&mut reply).await.unwrap();
        assert!(reply[0] == unit && rtu::crc_is_right(&reply), "{rate}");
    }
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().replies, 3);
}

#[tokio::test]
async fn a_client_that_sets_no_rate_finds_the_lines() {
    let chain = Chain::open(settings()).unwrap();
    let found = fs::File::open(chain.device()).unwrap();
    let termios = nix::sys::termios::tcgetattr(&found).unwrap();
    assert_eq!(nix::sys::termios::cfgetospeed(&termios), nix::sys::termios::BaudRate::B19200);
}

#[test]
fn a_link_replaces_a_link_and_is_removed_at_the_end() {
    let folder = folder("replace");
    let path = folder.join("line");
    symlink("/dev/pts/old", &path).unwrap();
    let link = DeviceLink::create(&path, "/dev/pts/new".as_ref()).unwrap();
    assert_eq!(fs::read_link(link.path()).unwrap(), PathBuf::from("/dev/pts/new"));
    drop(link);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left behind");
    fs::remove_dir(folder).unwrap();
}

#[test]
fn a_link_never_replaces_a_file() {
    let folder = folder("file");
    let path = folder.join("line");
    fs::write(&path, "precious").unwrap();
    let error = DeviceLink::create(&path, "/dev/pts/new".as_ref()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_link_that_another_program_took_over_is_left_alone() {
    let folder = folder("taken");
    let path = folder.join("line");
    let first = DeviceLink::create(&path, "/dev/pts/first".as_ref()).unwrap();
    let second = DeviceLink::create(&path, "/dev/pts/second".as_ref()).unwrap();
    drop(first);
    assert_eq!(fs::read_link(&path).unwrap(), PathBuf::from("/dev/pts/second"));
    drop(second);
    assert!(!path.is_symlink());
    fs::remove_dir(folder).unwrap();
}
