//! The keys there are: their sections, their defaults as text, and those whose feature is not built yet.
//!
//! One table, read by the reader, the writer and the tests; decides nothing about values.
//! Contract section 1.

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The top level.
    File,
    /// An entry of `listeners`.
    Listener,
    /// An entry of `buses`.
    Bus,
    /// The mapping `offline_after` of a bus.
    OfflineAfter,
    /// An entry of a bus's `units`.
    Unit,
}

/// One key of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What holds where it is absent, as written; `None`: needed, or absence means something of its own.
    pub default: Option<&'static str>,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::File, Self::Listener, Self::Bus, Self::OfflineAfter, Self::Unit];

    /// The keys of the section, in the order they are shown.
    #[must_use]
    pub fn keys(self) -> &'static [Key] {
        match self {
            Self::File => FILE,
            Self::Listener => LISTENER,
            Self::Bus => BUS,
            Self::OfflineAfter => OFFLINE_AFTER,
            Self::Unit => UNIT,
        }
    }

    /// What people call it, after "of".
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::File => "the top level",
            Self::Listener => "a listener",
            Self::Bus => "a bus",
            Self::OfflineAfter => "offline_after",
            Self::Unit => "a unit",
        }
    }

    /// The default of a key, as text.
    pub(super) fn default_of(self, name: &str) -> Option<&'static str> {
        self.keys().iter().find(|key| key.name == name).and_then(|key| key.default)
    }

    /// The texts a key of this section takes, where its feature is not built: the first is what absence
    /// means, none: only absence. Leaving the key out is always right.
    pub(super) fn not_built(self, name: &str) -> Option<&'static [&'static str]> {
        NOT_BUILT.iter().find(|entry| entry.0 == self && entry.1 == name).map(|entry| entry.2)
    }
}

/// THE KEYS NOT BUILT YET. Building a feature deletes its entry here and reads the key in its section.
const NOT_BUILT: &[(Part, &str, &[&str])] = &[
    (Part::File, "diagnostics_unit", &["off"]),
    (Part::File, "profiles", &["/etc/metergate/profiles"]),
    (Part::File, "status", &["off"]),
    (Part::File, "audit", &[]),
    (Part::Bus, "poll_share", &["60%", "0%"]),
    (Part::Bus, "learn_limit", &["256", "0"]),
    (Part::Unit, "profile", &[]),
    (Part::Unit, "poll", &["off"]),
    (Part::Unit, "poll_slow", &["60s"]),
    (Part::Unit, "blocks", &[]),
];

const fn key(name: &'static str, default: &'static str) -> Key {
    Key { name, default: Some(default) }
}

const fn bare(name: &'static str) -> Key {
    Key { name, default: None }
}

const FILE: &[Key] = &[
    bare("listeners"),
    bare("buses"),
    bare("diagnostics_unit"),
    bare("profiles"),
    bare("status"),
    bare("audit"),
    key("log_level", "info"),
];

const LISTENER: &[Key] = &[
    bare("address"),
    bare("buses"),
    key("max_age", "0s"),
    key("writes", "deny"),
    key("broadcast", "refuse"),
    key("request_deadline", "3s"),
    key("max_in_flight", "16"),
    key("max_connections", "256"),
    key("max_connections_per_ip", "256"),
    key("idle_timeout", "10m"),
    bare("allow"),
];

const BUS: &[Key] = &[
    bare("name"),
    bare("device"),
    key("baud_rate", "19200"),
    key("parity", "none"),
    key("stop_bits", "1"),
    key("direction", "auto"),
    key("echo", "auto"),
    key("response_timeout", "500ms"),
    key("request_gap", "0ms"),
    key("turnaround_delay", "100ms"),
    bare("late_guard"),
    key("retries", "1"),
    key("queue_limit", "1024"),
    bare("poll_share"),
    key("failure_share", "2%"),
    bare("offline_after"),
    key("probe_max", "60s"),
    bare("learn_limit"),
    bare("units"),
];

const OFFLINE_AFTER: &[Key] = &[key("failures", "3"), key("time", "3s")];

const UNIT: &[Key] = &[
    bare("id"),
    bare("as"),
    bare("name"),
    bare("profile"),
    bare("poll"),
    bare("poll_slow"),
    bare("blocks"),
    bare("response_timeout"),
    bare("request_gap"),
];

/// The known word nearest to a mistyped one, where one is near enough to be meant.
pub(super) fn nearest<'w>(typed: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let letters = |word: &str| word.to_lowercase().replace(['-', ' '], "_").chars().collect::<Vec<_>>();
    if typed.len() > LONGEST_TYPED {
        return None;
    }
    let typed = letters(typed);
    let near = (typed.len() / 3).max(1);
    let measured = known.map(|word| (distance(&typed, &letters(word)), word));
    measured.filter(|(far, _)| *far <= near).min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// Letters put in, left out, changed, or swapped with their neighbour (Damerau, optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let changed = row[j] + usize::from(from != to);
            let mut least = changed.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && b[j - 1] == *from {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

/// Bytes of a word that is still compared with the known ones.
const LONGEST_TYPED: usize = 64;
