//! Checks between a configuration file and the file system; see `golden` for checks within the file.

use metergate::config::parse;

#[test]
fn two_links_to_one_device_are_one_device() {
    let directory = std::env::temp_dir().join(format!("metergate-links-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (device, link) = (directory.join("tty"), directory.join("usb-X"));
    std::fs::write(&device, "").unwrap();
    std::os::unix::fs::symlink(&device, &link).unwrap();
    let text = format!(
        "listeners: [{{address: 0.0.0.0:502}}]
buses:
  - {{name: a, device: {}, units: [{{id: 1}}]}}
  - {{name: b, device: {}, units: [{{id: 2}}]}}
",
        device.display(),
        link.display()
    );
    let found = parse(&text, "m.yaml");
    std::fs::remove_dir_all(&directory).unwrap();
    let problems = found.unwrap_err();
    assert_eq!(problems.errors().len(), 1);
    assert_eq!(problems.errors()[0].key(), "buses[1].device");
    let expected = format!("the same device as {} of buses[0].device on line ", device.display());
    assert!(problems.errors()[0].message().contains(&expected), "{problems}");
}
