//! Writes the status pages of an invented building into a directory, for inspection and for `tests/browser`: before and
//! after one of its meters falls silent, with its meters in groups, and with a broken wire, each as a whole page and as
//! the main part that the script requests.

#[path = "../tests/it/support/page_fixture/mod.rs"]
mod page_fixture;

use std::path::Path;
use std::{env, fs, io};

use metergate::page::{self, OverviewView, Part};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: pages DIRECTORY"));
    };
    let directory = Path::new(&directory);
    for (name, dead) in [("before", false), ("after", true)] {
        let overview = page_fixture::overview(dead);
        let meter = if dead { page_fixture::dead_meter() } else { page_fixture::meter() };
        for (ending, part) in [("page", Part::Page), ("main", Part::Main)] {
            write(
                directory,
                &format!("{name}/index.{ending}"),
                &page::overview(&overview, &OverviewView::default(), part),
            )?;
            let wire = page::overview(&overview, &page_fixture::wire_order(), part);
            write(directory, &format!("{name}/index-wire.{ending}"), &wire)?;
            write(directory, &format!("{name}/meter.{ending}"), &page_fixture::meter_page(&meter, part))?;
        }
    }
    for (name, model) in [
        ("healthy", page_fixture::healthy()),
        ("full", page_fixture::full()),
        ("grouped", page_fixture::grouped()),
        ("broken", page_fixture::broken()),
        ("unknown", page_fixture::unknown()),
    ] {
        for (ending, part) in [("page", Part::Page), ("main", Part::Main)] {
            let html = page::overview(&model, &OverviewView::default(), part);
            write(directory, &format!("{name}/index.{ending}"), &html)?;
        }
    }
    write(
        directory,
        "unknown/meter.page",
        &page_fixture::meter_page(&page_fixture::unknown_meter(), Part::Page),
    )?;
    for asset in page::ASSETS {
        write(directory, asset.path.trim_start_matches('/'), asset.body)?;
    }
    Ok(())
}

fn write(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = directory.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}
