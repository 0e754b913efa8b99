//! The style sheet of the status pages: readable in light and in dark, by arithmetic.
//!
//! Contrast as WCAG 2.2 defines it: 4.5 to 1 for text (1.4.3), 3 to 1 for what is drawn (1.4.11).

use std::collections::BTreeMap;

use metergate::page::ASSETS;

/// What is written on what.
const TEXTS: [(&str, &[&str]); 6] = [
    ("text", &["ground", "panel", "raised", "ok-wash", "warn-wash", "bad-wash"]),
    ("quiet", &["ground", "panel", "raised", "ok-wash", "warn-wash", "bad-wash"]),
    ("link", &["ground", "panel", "raised", "warn-wash", "bad-wash"]),
    ("ok", &["ground", "panel", "raised", "ok-wash"]),
    ("warn", &["ground", "panel", "raised", "warn-wash"]),
    ("bad", &["ground", "panel", "raised", "bad-wash"]),
];

/// What is drawn on what, beside its word.
const DRAWINGS: [(&str, &[&str]); 5] = [
    ("plot", &["ground", "panel", "raised"]),
    ("wire", &["ground", "panel"]),
    ("focus", &["ground", "panel", "raised"]),
    ("clients", &["silence"]),
    ("bad", &["silence"]),
];

#[test]
fn text_has_a_contrast_of_four_and_a_half_in_light_and_in_dark() {
    for (name, colours) in schemes() {
        assert_contrast(name, &colours, &TEXTS, 4.5);
    }
}

#[test]
fn drawings_have_a_contrast_of_three_in_light_and_in_dark() {
    for (name, colours) in schemes() {
        assert_contrast(name, &colours, &DRAWINGS, 3.0);
    }
}

#[test]
fn both_schemes_set_the_same_colours_and_nothing_else_sets_one() {
    let [(_, light), (_, dark)] = schemes();
    assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
    let colours =
        style().matches('#').count() - style().matches("#lost").count() - style().matches("#pace").count();
    assert_eq!(colours, light.len() + dark.len(), "a colour stands outside :root");
    for name in light.keys() {
        assert!(style().contains(&format!("var(--{name})")), "--{name} is not used");
    }
}

#[test]
fn nothing_is_fetched_by_the_style() {
    for word in ["url(", "@import", "@font-face", "http"] {
        assert!(!style().contains(word), "{word}");
    }
}

#[test]
fn contrast_is_computed_as_wcag_does() {
    assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-9);
    assert!((contrast([0x76; 3], [255; 3]) - 4.54).abs() < 0.01);
}

fn assert_contrast(scheme: &str, colours: &Colours, pairs: &[(&str, &[&str])], least: f64) {
    for (front, backs) in pairs {
        for back in *backs {
            let ratio = contrast(colours[*front], colours[*back]);
            assert!(ratio >= least, "{scheme}: {front} on {back}: {ratio:.2}");
        }
    }
}

type Colours = BTreeMap<&'static str, [u8; 3]>;

fn style() -> &'static str {
    ASSETS[0].body
}

fn schemes() -> [(&'static str, Colours); 2] {
    let mut roots = style().split(":root {").skip(1).map(|rest| rest.split_once('}').unwrap().0);
    [("light", colours(roots.next().unwrap())), ("dark", colours(roots.next().unwrap()))]
}

fn colours(block: &'static str) -> Colours {
    let lines = block.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) =
                line.strip_prefix("--").unwrap().strip_suffix(';').unwrap().split_once(": #").unwrap();
            let channel = |at: usize| u8::from_str_radix(&value[at..at + 2], 16).unwrap();
            (name, [channel(0), channel(2), channel(4)])
        })
        .collect()
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(colour: [u8; 3]) -> f64 {
    let [red, green, blue] = colour.map(|channel| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}
