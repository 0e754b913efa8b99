//! The serial ports there are, by the names that last.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Adapters by their lasting names, in order; else those without one. A port has one name.
pub(super) fn adapters(dev: &Path) -> Vec<PathBuf> {
    let names = |folder: &Path, wanted: fn(&str) -> bool| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let named =
            files.filter(|file| file.file_name().to_str().is_some_and(wanted)).map(|file| file.path());
        let mut named: Vec<PathBuf> = named.collect();
        named.sort();
        named
    };
    let by_id = names(&dev.join("serial/by-id"), |_| true);
    let others = names(dev, |name| name.starts_with("ttyUSB") || name.starts_with("ttyACM"));
    let mut known = BTreeSet::new();
    let mut is_new = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|real| known.insert(real));
    by_id.into_iter().chain(others).filter(|path| is_new(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_port_has_its_lasting_name_where_it_has_one() {
        let dev = std::env::temp_dir().join(format!("metergate-adapters-{}", std::process::id()));
        fs::create_dir_all(dev.join("serial/by-id")).unwrap();
        for name in ["ttyUSB0", "ttyUSB1", "ttyACM0", "ttyS0", "null"] {
            fs::write(dev.join(name), "").unwrap();
        }
        symlink("../../ttyUSB1", dev.join("serial/by-id/usb-FTDI_B")).unwrap();
        symlink("../../ttyUSB7", dev.join("serial/by-id/usb-gone")).unwrap();
        let found = adapters(&dev);
        let expected = ["serial/by-id/usb-FTDI_B", "ttyACM0", "ttyUSB0"].map(|name| dev.join(name));
        fs::remove_dir_all(&dev).unwrap();
        assert_eq!(found, expected);
        assert!(adapters(Path::new("/nowhere")).is_empty());
    }
}
