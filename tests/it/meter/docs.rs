//! The page about profiles: its example can be used, and no key, word or unit is missing from it.

use metergate::document::keys;
use metergate::meter::section::{Bit, Block, Command, Point, Profile as File};
use metergate::meter::{Code, Format, Group, Identification, NotAvailable, Profile, Type, UNITS, Validity};

const PAGE: &str = include_str!("../../../docs/profiles.md");

#[test]
fn the_example_of_the_page_is_a_sound_profile() {
    let example =
        PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let profile = Profile::parse(example, "example.yaml").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((profile.name.as_str(), profile.points.len()), ("acme-7", 6));
}

#[test]
fn every_key_every_word_and_every_unit_is_on_the_page() {
    let keys = [
        keys::<File>(),
        keys::<NotAvailable>(),
        keys::<Block>(),
        keys::<Point>(),
        keys::<Code>(),
        keys::<Bit>(),
        keys::<Validity>(),
        keys::<Type>(),
        keys::<Command>(),
        keys::<Identification>(),
    ];
    let keys = keys.into_iter().flatten().copied();
    let formats = Format::ALL.iter().map(|format| format.word());
    let groups = Group::ALL.iter().map(|group| group.word());
    for word in keys.chain(formats).chain(groups).chain(UNITS.iter().copied().filter(|unit| *unit != "%")) {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
    assert!(PAGE.contains("`\"%\"`"));
}

#[test]
fn every_default_is_on_the_page() {
    for (key, default) in [
        ("first_register", "1"),
        ("word_order", "high_first"),
        ("mirrored", "no"),
        ("polled", "yes"),
        ("access", "read"),
        ("non_volatile", "no"),
        ("confidence", "own"),
        ("min_interval", "0s"),
    ] {
        let rows = PAGE.lines().filter(|line| line.starts_with(&format!("| `{key}` |")));
        let shown = |row: &str| {
            let last = row.trim_end_matches(" |").rsplit("| ").next();
            last.is_some_and(|last| last.trim_matches('`') == default)
        };
        let prose = PAGE.contains(&format!("(default `{default}`)"));
        assert!(rows.into_iter().any(shown) || prose, "{key} {default}");
    }
}
