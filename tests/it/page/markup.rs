//! What holds for every status page, whatever it shows: nothing inline, nothing from elsewhere, nothing unlabelled.

use std::collections::BTreeSet;

use metergate::page::{self, OverviewView, Part};

use crate::support::page_fixture;
use crate::support::page_tags::{Tag, between, tags};

#[test]
fn no_name_becomes_markup() {
    for (name, html) in pages() {
        let scripts: Vec<_> = tags(&html).into_iter().filter(|tag| tag.name == "script").collect();
        assert_eq!(scripts.len(), 1, "{name}: {scripts:?}");
        assert!(scripts[0].get("src").unwrap().starts_with("/assets/page.js?v="), "{name}");
        assert!(!html.contains("alert(\""), "{name}: a quotation mark came through");
    }
    let overview = page::overview(&page_fixture::overview(false), &OverviewView::default(), Part::Page);
    assert!(overview.contains(
        "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;' onload=x &amp;amp; &quot;quoted&quot;"
    ));
}

#[test]
fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    for (name, html) in pages() {
        for tag in tags(&html) {
            assert_ne!(tag.name, "style", "{name}");
            for (attribute, value) in &tag.attributes {
                assert_ne!(attribute, "style", "{name}: {tag:?}");
                assert!(!attribute.starts_with("on"), "{name}: {tag:?}");
                if ["href", "src", "action", "data", "srcset", "poster", "xlink:href"]
                    .contains(&attribute.as_str())
                {
                    let is_ours =
                        value.starts_with('#') || value.starts_with('/') && !value.starts_with("//");
                    assert!(is_ours, "{name}: {tag:?}");
                }
            }
        }
    }
}

#[test]
fn every_drawing_is_labelled_or_said_to_be_decoration() {
    for (name, html) in pages() {
        for tag in tags(&html).iter().filter(|tag| tag.name == "svg") {
            let is_labelled =
                tag.get("role") == Some("img") && tag.get("aria-label").is_some_and(|label| label.len() > 10);
            assert!(is_labelled != (tag.get("aria-hidden") == Some("true")), "{name}: {tag:?}");
        }
    }
}

#[test]
fn every_id_is_there_once_and_every_reference_finds_one() {
    for (name, html) in pages() {
        let tags = tags(&html);
        let mut ids = BTreeSet::new();
        for id in tags.iter().filter_map(|tag| tag.get("id")) {
            assert!(ids.insert(id), "{name}: {id} twice");
        }
        let fragments = tags.iter().filter_map(|tag| tag.get("href")?.strip_prefix('#'));
        let labels = tags.iter().filter_map(|tag| tag.get("aria-labelledby"));
        for reference in fragments.chain(labels) {
            assert!(ids.contains(reference), "{name}: nothing is called {reference}");
        }
    }
}

#[test]
fn headings_and_landmarks_are_in_order() {
    for (name, html) in pages() {
        let tags = tags(&html);
        let count = |wanted: &str| tags.iter().filter(|tag| tag.name == wanted).count();
        assert_eq!([count("h1"), count("main"), count("header")], [1, 1, 1], "{name}");
        let levels: Vec<u8> = tags.iter().filter_map(level).collect();
        assert_eq!(levels.first(), Some(&1), "{name}");
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{name}: {levels:?}");
        for heading in tags.iter().filter(|tag| tag.name == "th") {
            assert!(heading.get("scope").is_some(), "{name}: {heading:?}");
        }
        assert!(tags.iter().any(|tag| tag.name == "html" && tag.get("lang").is_some()), "{name}");
    }
}

#[test]
fn the_main_part_is_the_one_of_the_whole_page() {
    let overview = page_fixture::overview(false);
    let meter = page_fixture::meter();
    for (page, main) in [
        (
            page::overview(&overview, &OverviewView::default(), Part::Page),
            page::overview(&overview, &OverviewView::default(), Part::Main),
        ),
        (page_fixture::meter_page(&meter, Part::Page), page_fixture::meter_page(&meter, Part::Main)),
    ] {
        assert!(main.starts_with("<main id=\"main\"") && main.ends_with("</main>"));
        assert!(page.contains(&main));
    }
}

#[test]
fn without_a_script_the_page_is_refreshed() {
    for (name, html) in pages() {
        assert!(html.contains(r#"<noscript><meta http-equiv="refresh" content="5"></noscript>"#), "{name}");
    }
}

#[test]
fn the_address_of_a_file_changes_with_its_content() {
    let [style, script, icon] = page::ASSETS;
    assert_eq!(
        [style.path, script.path, icon.path],
        ["/assets/style.css", "/assets/page.js", "/assets/icon.svg"]
    );
    assert_eq!([style.hash, script.hash, icon.hash].into_iter().collect::<BTreeSet<_>>().len(), 3);
    // FNV-1a of nothing would be its offset basis: the body is part of it.
    assert_ne!(style.hash, 0xcbf2_9ce4_8422_2325);
    let html = page::overview(&page_fixture::healthy(), &OverviewView::default(), Part::Page);
    for asset in page::ASSETS {
        assert!(html.contains(&asset.href()), "{}", asset.path);
    }
}

#[test]
fn a_notice_is_a_page_like_the_others() {
    let overview = page_fixture::overview(false);
    let html = page::notice(&overview, "No such meter", "There is no unit 9.", Part::Page);
    assert!(between(&html, "<main", "</main>").contains("There is no unit 9."));
}

/// Every kind of page.
fn pages() -> Vec<(&'static str, String)> {
    let overview = page_fixture::overview(false);
    vec![
        ("in trouble", page::overview(&page_fixture::overview(true), &OverviewView::default(), Part::Page)),
        ("a broken wire", page::overview(&page_fixture::broken(), &OverviewView::default(), Part::Page)),
        ("by group", page::overview(&page_fixture::grouped(), &OverviewView::default(), Part::Page)),
        ("healthy", page::overview(&page_fixture::healthy(), &OverviewView::default(), Part::Page)),
        ("full", page::overview(&page_fixture::full(), &OverviewView::default(), Part::Page)),
        ("unknown", page::overview(&page_fixture::unknown(), &OverviewView::default(), Part::Page)),
        ("a meter", page_fixture::meter_page(&page_fixture::meter(), Part::Page)),
        ("a dead meter", page_fixture::meter_page(&page_fixture::dead_meter(), Part::Page)),
        ("an unknown meter", page_fixture::meter_page(&page_fixture::unknown_meter(), Part::Page)),
        ("a notice", page::notice(&overview, page_fixture::HOSTILE, page_fixture::HOSTILE, Part::Page)),
    ]
}

fn level(tag: &Tag) -> Option<u8> {
    ["h1", "h2", "h3", "h4"].into_iter().zip(1..).find(|(name, _)| *name == tag.name).map(|(_, level)| level)
}
