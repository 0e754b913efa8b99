//! What a compiler does not hold: the import rule, words, and papers that agree with the program.
//!
//! Reads the sources as text, as rustfmt leaves them. Every test shows all its findings at once, each with the
//! reason behind it. It never changes a file. Source: the rule stated in `src/lib.rs` and `docs/design.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each top module and what it may import besides itself: a top module, or one module in it.
const MODULES: &[(&str, Imports)] = &[
    ("modbus", Imports::Only(&[])),
    ("document", Imports::Only(&[])),
    ("meter", Imports::Only(&["modbus", "document"])),
    ("bus", Imports::Only(&["meter", "modbus"])),
    ("findings", Imports::Only(&["bus", "meter", "modbus"])),
    ("scan", Imports::Only(&["bus", "meter", "modbus"])),
    ("io", Imports::Only(&["bus", "meter", "modbus"])),
    ("capture", Imports::Only(&["bus", "io::traffic", "modbus"])),
    (
        "trace",
        Imports::Only(&["bus", "io::unit_directory", "io::timestamp", "io::traffic", "meter", "modbus"]),
    ),
    ("page", Imports::Only(&["findings", "meter", "modbus", "status"])),
    ("config", Imports::Only(&["bus::settings", "io::settings", "meter", "modbus", "document"])),
    ("simulator", Imports::Only(&["meter", "modbus", "document"])),
    ("client", Imports::Only(&["bus", "io", "meter", "modbus"])),
    (
        "status",
        Imports::Only(&[
            "bus",
            "config",
            "findings",
            "io::ioctl",
            "io::port_view",
            "io::process",
            "io::settings",
            "io::listener_metrics",
            "io::traffic",
            "meter",
            "modbus",
        ]),
    ),
    ("web", Imports::Only(&["bus", "capture", "config", "findings", "io", "page", "status", "trace"])),
    ("gateway", Imports::Any),
    ("cli", Imports::Any),
];

/// What a module may import.
#[derive(Clone, Copy)]
enum Imports {
    Any,
    Only(&'static [&'static str]),
}

/// The modules that decide: time and bytes are arguments there.
const PURE_MODULES: &[&str] = &["modbus", "meter", "bus", "findings", "page", "scan", "status"];

/// What waits, or looks at the world, and its reason. Clippy denies the methods; this also sees the rest.
const NOT_IN_PURE_MODULES: &[&str] =
    &["tokio", "std::fs", "std::process", "std::thread", "SystemTime", "Instant::now", "async fn", ".await"];

/// Words that stand nowhere, whatever their case, and why. Written in two halves so that this file may be searched.
const WORDS: &[(&str, &str)] = &[
    (concat!("mas", "ter"), "the Modbus word is client"),
    (concat!("sla", "ve"), "the Modbus word is server, or unit for one on the line"),
];

/// Marks of unfinished work: none is left behind.
const MARKS: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("TO", "DO"),
];

/// UnitDirectory that others gave to their things: where (the beginning of a path), the name, whose it is.
const NAMES_OF_OTHERS: &[(&str, &str, &str)] = &[
    ("tests/", concat!("Sla", "veContext"), "tokio-modbus"),
    ("tests/", concat!("set_sla", "ve"), "tokio-modbus"),
    ("tests/", concat!("Sla", "ve("), "tokio-modbus"),
    ("tests/", concat!(" Sla", "ve, "), "tokio-modbus"),
    ("tests/", concat!("{Sla", "ve, "), "tokio-modbus"),
    ("tests/", concat!("connect_sla", "ve"), "tokio-modbus"),
    ("tests/peers/", concat!("Sla", "ve ID data"), "nmap prints it"),
    ("src/client/tcp.rs", concat!("Sla", "veContext"), "tokio-modbus"),
    ("src/client/tcp.rs", concat!("set_sla", "ve"), "tokio-modbus"),
    ("src/client/tcp.rs", concat!("attach_sla", "ve"), "tokio-modbus"),
    ("src/client/tcp.rs", concat!("Sla", "ve("), "tokio-modbus"),
    ("src/client/tcp.rs", concat!("Sla", "ve::"), "tokio-modbus"),
    ("src/client/tcp.rs", concat!("{Sla", "ve, "), "tokio-modbus"),
];

/// Where words and marks are looked for.
const TEXTS: &[&str] = &[
    "src",
    "assets",
    "examples",
    "tests",
    "config",
    "docs",
    "packaging",
    ".ci",
    "README.md",
    "CHANGELOG.md",
];

/// The two commands of the README that must work as they stand there.
const README_COMMANDS: &[&str] = &["cargo run --release -- demo", "cargo test"];

#[test]
fn modules_import_only_what_the_map_allows() {
    let mut findings = Vec::new();
    for path in rust_files("src") {
        if path != Path::new("src/lib.rs") && path != Path::new("src/main.rs") {
            findings.extend(import_findings(&path, &read(&path)));
        }
    }
    let main = without_comments(&read(Path::new("src/main.rs")));
    if main.contains("crate::") || !declared_in("src/main.rs", &main).is_empty() {
        findings.push(
            "src/main.rs: the program has no modules of its own; it uses the library as `metergate::`".into(),
        );
    }
    report("the import rule of src/lib.rs", &findings);
}

#[test]
fn the_pure_modules_neither_wait_nor_look_at_the_world() {
    let mut findings = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| PURE_MODULES.contains(&top_module(path).as_str()))
    {
        // Tests begin at some instant.
        let text = without_comments(&read(&path));
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in numbered(text) {
            for found in NOT_IN_PURE_MODULES.iter().filter(|found| line.contains(**found)) {
                findings.push(format!(
                    "{}:{number}: `{found}`: time and bytes are arguments here",
                    path.display()
                ));
            }
        }
    }
    report("the pure modules", &findings);
}

#[test]
fn every_source_file_is_part_of_the_program_or_of_a_test() {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")];
    // The one program of the tests, and those that need a process of their own.
    waiting.extend(rust_files("tests").into_iter().filter(|path| is_program(path)));
    while let Some(path) = waiting.pop() {
        let candidates = declared_in(&path, &without_comments(&read(&path)));
        waiting.extend(candidates.into_iter().filter(|candidate| root().join(candidate).exists()));
        reached.insert(path);
    }
    let mut findings = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        if !reached.contains(&path) {
            findings.push(format!("{}: no `mod` leads here, so it is never compiled", path.display()));
        }
        // Only what is a program of its own takes a module from another: a helper of tests/it.
        if !is_program(&path) && read(&path).contains(concat!("#[pa", "th")) {
            findings.push(format!(
                "{}: a module stands where its name says, without a path attribute",
                path.display()
            ));
        }
    }
    report("files nothing declares", &findings);
}

#[test]
fn the_words_of_the_standard_are_kept_and_no_work_is_left_open() {
    let mut findings = Vec::new();
    let mut unused: BTreeSet<_> = NAMES_OF_OTHERS.iter().collect();
    for path in TEXTS.iter().flat_map(|place| files(place)) {
        let Some(text) = text(&path) else { continue };
        for (number, line) in numbered(&text) {
            let mut line = line.to_owned();
            for name in NAMES_OF_OTHERS
                .iter()
                .filter(|(place, name, _)| path.starts_with(place) && line.contains(name))
            {
                unused.remove(name);
            }
            for (place, name, _) in NAMES_OF_OTHERS {
                if path.starts_with(place) {
                    line = line.replace(name, "");
                }
            }
            for finding in word_findings(&line) {
                findings.push(format!("{}:{number}: {finding}", path.display()));
            }
        }
    }
    findings.extend(unused.iter().map(|(place, name, whose)| {
        format!("NAMES_OF_OTHERS: `{name}` ({whose}) stands nowhere below {place} any more; take the row out")
    }));
    report("words", &findings);
}

#[test]
fn no_test_is_ignored() {
    let mut findings = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        for (number, line) in numbered(&read(&path)) {
            if line.trim_start().starts_with(concat!("#[ign", "ore")) {
                findings.push(format!("{}:{number}: a test nobody runs proves nothing", path.display()));
            }
        }
    }
    report("ignored tests", &findings);
}

#[test]
fn the_shipped_configurations_load() {
    let shipped: Vec<_> = files("config").into_iter().filter(|path| path.components().count() == 2).collect();
    assert!(shipped.len() >= 2, "config/ ships metergate.yaml and minimal.yaml at least, found {shipped:?}");
    let mut findings = Vec::new();
    for path in shipped {
        if let Err(problems) = metergate::config::load(&root().join(&path)) {
            findings.push(format!("{}: {problems}", path.display()));
        }
    }
    report("shipped configurations", &findings);
}

#[test]
fn the_readme_has_the_two_commands_to_begin_with() {
    let readme = text(Path::new("README.md")).unwrap_or_default();
    let commands = fenced_lines(&readme);
    let missing = README_COMMANDS.iter().filter(|command| !commands.contains(**command));
    let findings: Vec<_> =
        missing.map(|command| format!("README.md: no code block has the line `{command}`")).collect();
    report("README commands", &findings);
}

#[test]
fn a_wrong_import_is_found_however_it_is_written() {
    let bad = [
        ("src/modbus/pdu.rs", "use crate::bus::line::Line;"),
        ("src/modbus/pdu.rs", "use crate::{modbus::mbap, io::handle};"),
        ("src/bus/line.rs", "fn f() {\n    let x = crate::io::port::open();\n}"),
        ("src/bus/line.rs", "use crate::{\n    bus::queue,\n    simulator::chain,\n};"),
        ("src/bus/line.rs", "use super::super::io;"),
        ("src/config/file.rs", "use crate::bus::line::Line;"),
        ("src/config/file.rs", "use crate::bus::{settings::UnitId, view};"),
        ("src/config/file.rs", "use crate::io;"),
        ("src/io/tcp.rs", "use crate::*;"),
        ("src/attic/old.rs", "use std::fmt;"),
    ];
    for (path, text) in bad {
        assert_eq!(import_findings(Path::new(path), text).len(), 1, "{path}: {text}");
    }
    let good = [
        ("src/modbus/pdu.rs", "use super::mbap;\n/// See [`crate::io`].\n// crate::bus decides.\n"),
        ("src/bus/line.rs", "use crate::modbus::{pdu::{self, FunctionCode}, rtu};\nuse crate::bus::queue;"),
        ("src/config/file.rs", "use crate::bus::settings::{Parity, UnitId};\nuse crate::config::tree;"),
        ("src/gateway/mod.rs", "use crate::{bus, config, io};"),
    ];
    for (path, text) in good {
        assert_eq!(import_findings(Path::new(path), text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn a_wrong_word_is_found_whatever_its_case_but_not_within_another_mark() {
    assert_eq!(word_findings(concat!("the MAS", "TER asks")).len(), 1);
    assert_eq!(word_findings(concat!("a Sla", "ve, X", "XX and to", "do!()")).len(), 3);
    assert_eq!(
        word_findings(concat!("mktemp /tmp/metergate.XX", "XXXX; photodo; client, server")),
        Vec::<String>::new()
    );
}

#[test]
fn nested_modules_lead_to_their_files() {
    let text = "mod alone;\npub mod room {\n    pub mod door;\n    pub(crate) mod wall {\n        mod brick;\n    }\n}\n";
    let found = declared_in("src/lib.rs", text);
    for path in ["src/alone.rs", "src/alone/mod.rs", "src/room/door.rs", "src/room/wall/brick.rs"] {
        assert!(found.contains(&PathBuf::from(path)), "{path} in {found:?}");
    }
    assert!(
        declared_in("src/room/door.rs", "mod hinge;\n").contains(&PathBuf::from("src/room/door/hinge.rs"))
    );
}

/// Fails with every finding, one a line.
fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}: {} found\n  {}\n", findings.len(), findings.join("\n  "));
}

/// What `text`, standing at `path` below `src`, imports against the rule.
fn import_findings(path: &Path, text: &str) -> Vec<String> {
    let own = top_module(path);
    let Some((_, imports)) = MODULES.iter().find(|(name, _)| *name == own) else {
        return vec![format!(
            "{}: a new module states in MODULES of tests/it/tidy.rs what it may import",
            path.display()
        )];
    };
    let text = without_comments(text);
    let mut findings = Vec::new();
    if text.contains("super::super::") {
        findings.push(format!(
            "{}: write `crate::` rather than `super::super::`, so that it can be read",
            path.display()
        ));
    }
    for (at, _) in text.match_indices("crate::") {
        let mut imported = Vec::new();
        expand(&text[at + "crate::".len()..], "", &mut imported);
        for import in imported {
            let target = import.split("::").next().unwrap_or_default();
            let allowed = match imports {
                _ if target == own => true,
                Imports::Any => MODULES.iter().any(|(name, _)| *name == target),
                Imports::Only(few) => few.iter().any(|one| *one == target || *one == import),
            };
            if !allowed {
                let line = text[..at].lines().count().max(1);
                findings.push(format!("{}:{line}: `{own}` may not know `{import}`", path.display()));
            }
        }
    }
    findings
}

/// The first two segments of every path in the use tree that `tree` begins with.
fn expand(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let mut depth = 0_usize;
        let mut start = 0;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    if !group[start..at].trim().is_empty() {
                        expand(&group[start..at], prefix, found);
                    }
                    start = at + 1;
                    if character == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end =
        tree.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(tree.len());
    let (segment, rest) = tree.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) if prefix.is_empty() => expand(rest, &format!("{segment}::"), found),
        _ => found.push(format!("{prefix}{segment}")),
    }
}

/// Whether a test program begins here: a file right below `tests`, or the `main.rs` of a folder there.
fn is_program(path: &Path) -> bool {
    let depth = path.components().count();
    path.starts_with("tests") && (depth == 2 || (depth == 3 && path.ends_with("main.rs")))
}

/// The files that the modules declared by `text` may stand in, seen from `path`.
fn declared_in(path: impl AsRef<Path>, text: &str) -> Vec<PathBuf> {
    let path = path.as_ref();
    let parent = path.parent().unwrap_or(path);
    let is_root = path.ends_with("mod.rs")
        || (path.ends_with("main.rs") && path.starts_with("tests"))
        || parent == Path::new("tests")
        || parent == Path::new("src");
    let is_module = parent == Path::new("src") && !path.ends_with("lib.rs") && !path.ends_with("main.rs");
    let base = if is_root && !is_module { parent.to_owned() } else { path.with_extension("") };
    let mut inside: Vec<(usize, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.split_whitespace().skip_while(|word| word.starts_with("pub")).collect();
        let ["mod", name, rest @ ..] = words.as_slice() else { continue };
        inside.retain(|(outer, _)| *outer < indent);
        if let Some(name) = name.strip_suffix(';') {
            let directory = inside.iter().fold(base.clone(), |directory, (_, name)| directory.join(name));
            found.push(directory.join(format!("{name}.rs")));
            found.push(directory.join(name).join("mod.rs"));
        } else if rest.first() == Some(&"{") {
            inside.push((indent, (*name).to_owned()));
        }
    }
    found
}

/// What is wrong with the words of one line.
fn word_findings(line: &str) -> Vec<String> {
    let lower = line.to_lowercase();
    let words =
        WORDS.iter().filter(|(word, _)| lower.contains(word)).map(|(word, why)| format!("`{word}`: {why}"));
    let marks = MARKS.iter().filter(|mark| {
        line.match_indices(**mark).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + mark.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
        })
    });
    words.chain(marks.map(|mark| format!("`{mark}`: do it, or say it in an issue"))).collect()
}

/// The lines of all code blocks.
fn fenced_lines(markdown: &str) -> BTreeSet<&str> {
    let mut inside = false;
    let mut lines = BTreeSet::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.insert(line.trim());
        }
    }
    lines
}

/// The top module a file below `src` belongs to.
fn top_module(path: &Path) -> String {
    let name = path.iter().nth(1).unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// The text with its comment lines emptied, so that line numbers stay.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file's text, if there is such a file and it is text.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

fn rust_files(place: &str) -> Vec<PathBuf> {
    files(place)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Every file at or below `place`, seen from the root, in order; nothing that is installed or generated.
fn files(place: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(place)];
    while let Some(path) = waiting.pop() {
        let generated = path.ends_with(".venv") || path.ends_with("__pycache__");
        match fs::read_dir(root().join(&path)) {
            Ok(entries) if !generated => {
                waiting.extend(entries.flatten().map(|entry| path.join(entry.file_name())))
            }
            Ok(_) => {}
            Err(_) if root().join(&path).is_file() => found.push(path),
            Err(_) => {}
        }
    }
    found.sort();
    found
}
