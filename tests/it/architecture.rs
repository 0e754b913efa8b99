//! What the compiler does not check: which module may import which, that nothing is left unfinished, and that the
//! README shows its first commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of `src/lib.rs`, and what it may import besides itself.
const MODULES: &[(&str, &[&str])] = &[
    ("modbus", &[]),
    ("document", &[]),
    ("runtime", &[]),
    ("tls", &["runtime"]),
    ("endpoint", &[]),
    ("events", &["endpoint"]),
    ("meter", &["modbus", "document"]),
    ("line", &["endpoint", "meter", "modbus"]),
    ("traffic", &["endpoint", "line", "meter", "modbus", "tls"]),
    ("serial", &["line", "modbus", "runtime", "traffic"]),
    ("audit", &["endpoint", "events", "line", "modbus", "runtime", "serial", "tls", "traffic"]),
    ("server", &["audit", "endpoint", "line", "modbus", "runtime", "serial", "tls", "traffic"]),
    ("sparkplug", &[]),
    ("mqtt", &["line", "runtime", "serial", "sparkplug", "tls"]),
    ("findings", &["endpoint", "line", "meter", "modbus", "mqtt", "serial"]),
    ("scan", &["line", "meter", "modbus"]),
    ("simulator", &["meter", "modbus", "document"]),
    ("capture", &["endpoint", "line", "modbus", "traffic"]),
    ("trace", &["endpoint", "line", "meter", "modbus", "runtime", "traffic"]),
    (
        "config",
        &[
            "audit",
            "document",
            "endpoint",
            "events",
            "line",
            "meter",
            "modbus",
            "mqtt",
            "runtime",
            "serial",
            "server",
            "sparkplug",
            "tls",
        ],
    ),
    ("client", &["config", "line", "meter", "modbus", "runtime", "serial", "tls"]),
    (
        "status",
        &[
            "audit", "endpoint", "config", "events", "findings", "line", "meter", "modbus", "mqtt",
            "runtime", "serial", "server", "tls", "traffic",
        ],
    ),
    ("publisher", &["config", "line", "meter", "modbus", "mqtt", "runtime", "sparkplug", "status"]),
    ("page", &["endpoint", "events", "findings", "meter", "modbus", "status"]),
    (
        "web",
        &[
            "audit", "endpoint", "capture", "config", "events", "findings", "line", "mqtt", "page",
            "runtime", "serial", "server", "status", "tls", "trace", "traffic",
        ],
    ),
    (
        "gateway",
        &[
            "audit",
            "config",
            "endpoint",
            "events",
            "line",
            "meter",
            "modbus",
            "mqtt",
            "publisher",
            "runtime",
            "serial",
            "server",
            "sparkplug",
            "status",
            "traffic",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "audit",
            "capture",
            "client",
            "config",
            "document",
            "events",
            "findings",
            "gateway",
            "line",
            "meter",
            "modbus",
            "page",
            "publisher",
            "runtime",
            "scan",
            "serial",
            "server",
            "simulator",
            "status",
            "tls",
            "trace",
            "traffic",
            "web",
        ],
    ),
];

/// Marks that must not be left behind. In two halves, so that this file may be searched, too.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("#[ign", "ore"),
];

/// The first commands of the README.
const README_COMMANDS: &[&str] = &["cargo run --release -- demo", "cargo test"];

#[test]
fn modules_import_only_what_stands_below_them() {
    let mut findings = Vec::new();
    for path in rust_files("src") {
        if path.components().count() == 2 {
            continue;
        }
        findings.extend(wrong_imports(&path, &read(&path)));
    }
    assert!(findings.is_empty(), "imports against the map:\n  {}\n", findings.join("\n  "));
}

#[test]
fn the_map_has_no_circle() {
    let mut below = BTreeSet::new();
    for (module, imports) in MODULES {
        let above: Vec<_> = imports.iter().filter(|import| !below.contains(*import)).collect();
        assert!(above.is_empty(), "`{module}` imports {above:?}, which stand after it in MODULES");
        below.insert(module);
    }
}

#[test]
fn every_source_file_is_compiled() {
    let mut missing = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let directory = path.parent().expect("a file stands in a directory");
        let is_program = directory.components().count() == 1 || name == "main";
        let (name, home) = if name == "mod" {
            (
                directory.file_name().unwrap_or_default().to_string_lossy(),
                directory.parent().unwrap_or(directory),
            )
        } else {
            (name, directory)
        };
        let declaration = format!("mod {name};");
        let mut homes = ["mod.rs", "lib.rs", "main.rs"].map(|file| home.join(file)).to_vec();
        homes.push(home.with_extension("rs"));
        let is_declared =
            |home: &PathBuf| read_if_there(home).is_some_and(|text| text.contains(&declaration));
        if !is_program && !homes.iter().any(is_declared) {
            missing.push(path.display().to_string());
        }
    }
    assert!(missing.is_empty(), "no `mod` leads to: {missing:?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let places =
        ["src", "tests", "benches", "fuzz/targets", "examples", "packaging", ".ci", "docs", "README.md"];
    let mut findings = Vec::new();
    for path in places.iter().flat_map(|place| files(place)) {
        let Some(text) = read_if_there(&path) else { continue };
        for (index, line) in text.lines().enumerate() {
            for mark in UNFINISHED.iter().filter(|mark| line.contains(**mark)) {
                findings.push(format!("{}:{}: {mark}", path.display(), index + 1));
            }
        }
    }
    assert!(findings.is_empty(), "left unfinished:\n  {}\n", findings.join("\n  "));
}

#[test]
fn the_readme_has_the_commands_to_begin_with() {
    let readme = read(Path::new("README.md"));
    let lines: BTreeSet<_> = readme.lines().map(str::trim).collect();
    for command in README_COMMANDS {
        assert!(lines.contains(command), "no line of README.md is `{command}`");
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere_and_every_page_is_listed() {
    let index = read(Path::new("docs/README.md"));
    let mut broken = Vec::new();
    let pages =
        files("docs").into_iter().chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from));
    for page in pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let home = page.parent().expect("a page stands in a directory");
        let name = page.file_name().expect("a page has a name").to_string_lossy().into_owned();
        if home.ends_with("docs") && name != "README.md" && !index.contains(&format!("({name})")) {
            broken.push(format!("docs/README.md does not list {name}"));
        }
        for link in links(&read(&page)) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { home.join(file) };
            let has_anchor = || anchor.is_empty() || anchors(&read(&target)).contains(anchor);
            if !target.exists() || !has_anchor() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n  {}\n", broken.join("\n  "));
}

/// The targets of a page's links, those to other sites left out.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// The headings of a page, as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let named = |heading: &str| -> String {
        let kept = heading
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
    };
    headings.map(named).collect()
}

#[test]
fn the_shipped_configurations_load() {
    let shipped = files("config").into_iter().filter(|path| path.components().count() == 2);
    for path in shipped {
        if let Err(problems) = metergate::config::load(&root().join(&path)) {
            panic!("{}: {problems}", path.display());
        }
    }
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    let wrong = [
        "use crate::line::Line;",
        "use crate::{modbus::mbap, serial::handle};",
        "fn f() {\n    let x = crate::serial::port::open();\n}",
        "use crate::*;",
        "use crate as metergate;",
    ];
    for text in wrong {
        assert_eq!(wrong_imports(Path::new("src/modbus/pdu.rs"), text).len(), 1, "{text}");
    }
    let right =
        "use super::mbap;\n/// See [`crate::serial`].\nuse crate::modbus::{pdu::{self, FunctionCode}, rtu};";
    assert_eq!(wrong_imports(Path::new("src/modbus/rtu.rs"), right), Vec::<String>::new());
    assert_eq!(
        wrong_imports(Path::new("src/attic/old.rs"), "").len(),
        1,
        "a module that the map does not have"
    );
}

/// The imports of `text` at `path` that violate the map.
fn wrong_imports(path: &Path, text: &str) -> Vec<String> {
    let own = path.iter().nth(1).unwrap_or_default().to_string_lossy();
    let Some((_, imports)) = MODULES.iter().find(|(module, _)| *module == own) else {
        return vec![format!("{}: `{own}` is missing in MODULES", path.display())];
    };
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut findings = Vec::new();
    for (at, _) in code.match_indices("crate") {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let rest = code[at + "crate".len()..].trim_start();
        if before.is_alphanumeric()
            || before == '_'
            || before == '('
            || rest.starts_with(|c: char| c.is_alphanumeric()) && !rest.starts_with("as ")
        {
            continue;
        }
        for target in first_segments(rest.strip_prefix("::").unwrap_or("*")) {
            if target != own && !imports.contains(&target) {
                findings.push(format!("{}: `{own}` must not import `{target}`", path.display()));
            }
        }
    }
    findings
}

/// The first segment of each path in a use tree.
fn first_segments(tree: &str) -> Vec<&str> {
    let Some(group) = tree.strip_prefix('{') else {
        return vec![
            tree.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').next().unwrap_or_default(),
        ];
    };
    let mut depth = 0_u32;
    let mut start = 0;
    let mut segments = Vec::new();
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let path = group[start..at].trim();
                if !path.is_empty() {
                    segments.extend(first_segments(path));
                }
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    segments
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `None`: there is no such file, or it is not text.
fn read_if_there(path: &Path) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

fn rust_files(place: &str) -> Vec<PathBuf> {
    files(place)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Every file at or below `place`, seen from the root, but for what is installed or generated.
fn files(place: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(place)];
    while let Some(path) = waiting.pop() {
        if [".venv", "__pycache__", "node_modules"].iter().any(|installed| path.ends_with(installed)) {
            continue;
        }
        match fs::read_dir(root().join(&path)) {
            Ok(entries) => waiting.extend(entries.flatten().map(|entry| path.join(entry.file_name()))),
            Err(_) => found.push(path),
        }
    }
    found.sort();
    found
}
