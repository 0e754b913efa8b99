//! The whole message about each file of `golden`: `NAME.yaml` is the mistake, `NAME.txt` the message.
//!
//! `METERGATE_GOLDEN=write cargo test golden` writes the messages anew; then read each from the point of view of a user
//! who does not know YAML.

use std::fs;
use std::path::Path;

use metergate::config;
use metergate::meter::Profile;
use metergate::simulator::scenario;

#[test]
fn every_mistake_has_the_message_that_was_read_and_found_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config/golden");
    let write = std::env::var_os("METERGATE_GOLDEN").is_some_and(|value| value == "write");
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("the folder").flatten().map(|file| file.path()).collect();
    names.sort();
    for path in names.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
    {
        seen += 1;
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let said = message(&name, &fs::read_to_string(&path).expect("a file"));
        let expected = path.with_extension("txt");
        if write {
            fs::write(&expected, said).expect("the folder can be written");
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&said) {
            wrong.push(format!("{name}:\n{said}"));
        }
    }
    assert!(seen > 100, "{seen} files");
    assert!(wrong.is_empty(), "{} messages changed:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// What is said of a file, whose name begins with the kind of file unless that is a configuration.
fn message(name: &str, text: &str) -> String {
    let problems = match name.split('_').next() {
        Some("profile") => Profile::parse(text, "profile.yaml").expect_err(name),
        Some("scenario") => scenario::parse(text, "scenario.yaml").expect_err(name),
        _ => match config::parse(text, "metergate.yaml") {
            Err(problems) => problems,
            Ok(loaded) => {
                assert!(!loaded.warnings.is_empty(), "nothing is said of {name}");
                return loaded.warnings.iter().map(|warning| format!("{warning}\n\n")).collect();
            }
        },
    };
    format!("{problems}\n")
}
