//! The view of the overview: filter, order and folding of its meters, all of it in the address.
//!
//! Owns the query and the address of each view. An unknown word is read as the default, so that a bookmark of another
//! version still opens. Every part is bounded, because each view is a rendering of its own.

use std::cmp::Reverse;
use std::fmt::Write;

use serde::Deserialize;

use super::meter_link::escape_query;
use super::quantity::{Energy, power};
use crate::status::{Unit, UnitMinute, UnitState};

/// The query of the overview.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ViewQuery {
    sort: Option<String>,
    state: Option<String>,
    q: Option<String>,
    by: Option<String>,
    fold: Option<String>,
    refresh: Option<String>,
}

/// A view of the overview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OverviewView {
    pub(super) sort: Sort,
    pub(super) state: StateFilter,
    /// What names, units, groups or lines have to contain; without capitals.
    pub(super) text: String,
    pub(super) by: Arrangement,
    /// The sections that are folded, by [`Section`](super::meters::Section) identifiers.
    pub(super) folded: Vec<String>,
    pub(super) refresh: Refresh,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What does not answer, then what errs, then the rest as it hangs on the wire.
    #[default]
    Failures,
    /// As it hangs on the wire.
    Wire,
    Unit,
    Name,
    /// The most.
    Power,
    /// The most.
    Energy,
    /// The oldest.
    Age,
    /// The slowest.
    ResponseTime,
    /// The most.
    Errors,
}

/// Which states are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StateFilter {
    #[default]
    All,
    /// Whatever does not answer as it should.
    Failing,
    Only(UnitState),
}

/// What meters are folded by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// By their groups, where there are any.
    #[default]
    Group,
    Line,
}

/// Whether a page without a script loads itself anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Every few seconds.
    #[default]
    On,
    /// Never: typing takes longer.
    Off,
}

impl Refresh {
    /// By the word of a query.
    #[must_use]
    pub fn from_word(word: Option<&str>) -> Self {
        if word == Some("off") { Self::Off } else { Self::On }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::On => Self::Off,
            Self::Off => Self::On,
        }
    }
}

impl Sort {
    pub(super) const ALL: [Self; 9] = [
        Self::Failures,
        Self::Wire,
        Self::Unit,
        Self::Name,
        Self::Power,
        Self::Energy,
        Self::Age,
        Self::ResponseTime,
        Self::Errors,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Wire => "wire",
            Self::Unit => "unit",
            Self::Name => "name",
            Self::Power => "power",
            Self::Energy => "energy",
            Self::Age => "age",
            Self::ResponseTime => "response",
            Self::Errors => "errors",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Failures => "failures first",
            Self::Wire => "as on the wire",
            Self::Unit => "by unit",
            Self::Name => "by name",
            Self::Power => "most power first",
            Self::Energy => "most energy first",
            Self::Age => "oldest data first",
            Self::ResponseTime => "slowest first",
            Self::Errors => "most errors first",
        }
    }

    /// Sorts units that stand in the order of the wire.
    pub(super) fn sort<'u, 'a: 'u>(self, units: &mut [&'u Unit<'a>]) {
        // Whole steps, so that there is an order; what is not known comes last.
        let most = |value: Option<f64>| Reverse(value.map(|value| Steps::of(value * 1000.0)));
        match self {
            Self::Failures => units.sort_by_key(|unit| trouble(unit)),
            Self::Wire => {}
            Self::Unit => units.sort_by_key(|unit| unit.unit),
            Self::Name => units.sort_by_cached_key(|unit| {
                (unit.name.is_none(), natural(unit.name.as_deref().unwrap_or_default()), unit.unit)
            }),
            Self::Power => units.sort_by_key(|unit| most(power(unit, |_| true))),
            Self::Energy => units.sort_by_key(|unit| most(Energy::of(unit, |_| true).map(Energy::to_f64))),
            Self::Age => units.sort_by_key(|unit| Reverse(unit.age_ms)),
            Self::ResponseTime => units.sort_by_key(|unit| most(unit.answer_time_ms)),
            Self::Errors => units.sort_by_key(|unit| most(error_share(unit))),
        }
    }
}

/// A float in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Steps(i64);

impl Steps {
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and of NaN is 0")]
    fn of(value: f64) -> Self {
        Self(value as i64)
    }
}

/// The worst first.
fn trouble(unit: &Unit<'_>) -> u8 {
    match unit.state {
        UnitState::Offline => 0,
        UnitState::Unreachable => 1,
        UnitState::NeverSeen => 2,
        UnitState::Confirming => 3,
        UnitState::Online if error_share(unit).is_some_and(|share| share >= NOTABLE) => 4,
        UnitState::Online => WELL,
    }
}

/// Nothing is wrong with it.
const WELL: u8 = 5;

/// Of the last hour; `None` where nothing was asked: that is not 0 %.
pub(super) fn error_share(unit: &Unit<'_>) -> Option<f64> {
    let (errors, transactions) = unit.hour.iter().flatten().fold((0, 0), |(errors, transactions), minute| {
        let UnitMinute { errors: of, transactions: all, .. } = minute;
        (errors + u64::from(*of), transactions + u64::from(*all))
    });
    share(errors, transactions)
}

/// `None` where nothing was asked.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of an hour are far below the 53 bits a float holds exactly"
)]
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A name whose numbers are compared as numbers.
fn natural(name: &str) -> String {
    let mut key = String::new();
    let mut digits = String::new();
    for letter in name.to_lowercase().chars().chain(['\0']) {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        if !digits.is_empty() {
            // Writing to a String cannot fail.
            let _never = write!(key, "{digits:0>10}");
            digits.clear();
        }
        key.push(letter);
    }
    key
}

impl StateFilter {
    pub(super) const ALL: [Self; 7] = [
        Self::All,
        Self::Failing,
        Self::Only(UnitState::Online),
        Self::Only(UnitState::Confirming),
        Self::Only(UnitState::Offline),
        Self::Only(UnitState::Unreachable),
        Self::Only(UnitState::NeverSeen),
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failing => "failing",
            Self::Only(state) => state.word(),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failing => "failing",
            Self::Only(state) => state.title(),
        }
    }

    fn fits(self, unit: &Unit<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Failing => trouble(unit) != WELL,
            Self::Only(state) => unit.state == state,
        }
    }
}

impl Arrangement {
    pub(super) const ALL: [Self; 2] = [Self::Group, Self::Line];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Line => "line",
        }
    }
}

impl OverviewView {
    /// What a query means.
    #[must_use]
    pub fn new(query: &ViewQuery) -> Self {
        let text: String =
            query.q.as_deref().unwrap_or_default().trim().to_lowercase().chars().take(LONGEST_TEXT).collect();
        let mut folded: Vec<String> = query
            .fold
            .as_deref()
            .unwrap_or_default()
            .split('.')
            .filter(|id| is_section(id))
            .map(str::to_owned)
            .collect();
        folded.sort();
        folded.dedup();
        folded.truncate(MOST_FOLDED);
        Self {
            sort: find(&Sort::ALL, query.sort.as_deref(), Sort::word),
            state: find(&StateFilter::ALL, query.state.as_deref(), StateFilter::word),
            text,
            by: find(&Arrangement::ALL, query.by.as_deref(), Arrangement::word),
            folded,
            refresh: Refresh::from_word(query.refresh.as_deref()),
        }
    }

    /// Its address: only what is not the default.
    pub(super) fn href(&self) -> String {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        if !self.text.is_empty() {
            pairs.push(("q", escape_query(&self.text).to_string()));
        }
        if self.state != StateFilter::default() {
            pairs.push(("state", self.state.word().to_owned()));
        }
        if self.sort != Sort::default() {
            pairs.push(("sort", self.sort.word().to_owned()));
        }
        if self.by != Arrangement::default() {
            pairs.push(("by", self.by.word().to_owned()));
        }
        if !self.folded.is_empty() {
            pairs.push(("fold", self.folded.join(".")));
        }
        if self.refresh == Refresh::Off {
            pairs.push(("refresh", "off".to_owned()));
        }
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { "/".to_owned() } else { format!("/?{}", pairs.join("&")) }
    }

    /// Whether some meters are left out.
    pub(super) fn is_filtered(&self) -> bool {
        self.state != StateFilter::All || !self.text.is_empty()
    }

    /// Whether it shows the unit.
    pub(super) fn shows(&self, unit: &Unit<'_>) -> bool {
        let contains = |text: &str| text.to_lowercase().contains(&self.text);
        self.state.fits(unit)
            && (self.text.is_empty()
                || unit.name.as_deref().is_some_and(contains)
                || unit.group.as_deref().is_some_and(contains)
                || contains(&unit.bus)
                || contains(&format!("unit {}", unit.unit)))
    }
}

fn find<T: Copy + Default>(all: &[T], word: Option<&str>, of: fn(T) -> &'static str) -> T {
    all.iter().copied().find(|one| Some(of(*one)) == word).unwrap_or_default()
}

/// `line-0`, `group-12`.
fn is_section(id: &str) -> bool {
    let number = id.strip_prefix("line-").or_else(|| id.strip_prefix("group-"));
    number.is_some_and(|number| {
        (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Errors from here on are marked, and come first.
pub(super) const NOTABLE: f64 = 0.02;

/// Characters that are looked for.
pub(super) const LONGEST_TEXT: usize = 64;

/// Sections that may be folded by an address.
const MOST_FOLDED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn view(query: &[(&str, &str)]) -> OverviewView {
        let of =
            |name: &str| query.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        OverviewView::new(&ViewQuery {
            sort: of("sort"),
            state: of("state"),
            q: of("q"),
            by: of("by"),
            fold: of("fold"),
            refresh: of("refresh"),
        })
    }

    #[test]
    fn each_view_has_an_address_and_the_plain_one_is_the_root() {
        assert_eq!(view(&[]).href(), "/");
        assert_eq!(view(&[("sort", "failures"), ("state", "all"), ("q", "  "), ("by", "group")]).href(), "/");
        let all = [
            ("q", "Panel & 3"),
            ("state", "offline"),
            ("sort", "power"),
            ("by", "line"),
            ("fold", "line-1.group-2"),
            ("refresh", "off"),
        ];
        assert_eq!(
            view(&all).href(),
            "/?q=panel%20%26%203&state=offline&sort=power&by=line&fold=group-2.line-1&refresh=off"
        );
    }

    #[test]
    fn what_means_nothing_is_the_default_and_everything_is_bounded() {
        assert_eq!(
            view(&[("sort", "colour"), ("state", "<script>"), ("fold", "x.line-.line-1234.group-1\"")]),
            OverviewView::default()
        );
        assert_eq!(view(&[("q", &"x".repeat(1000))]).text.len(), LONGEST_TEXT);
        let many: Vec<_> = (0..500).map(|number| format!("line-{number}")).collect();
        assert_eq!(view(&[("fold", &many.join("."))]).folded.len(), MOST_FOLDED);
    }

    #[test]
    fn failures_come_first_and_the_rest_stays_as_on_the_wire() {
        let unit = |unit, state, errors| Unit {
            unit,
            state,
            hour: vec![Some(UnitMinute { transactions: 100, errors, ..UnitMinute::default() })],
            ..Unit::default()
        };
        let units = [
            unit(5, UnitState::Online, 0),
            unit(3, UnitState::Online, 50),
            unit(9, UnitState::Confirming, 9),
            unit(1, UnitState::Online, 1),
            unit(7, UnitState::Offline, 100),
            unit(8, UnitState::NeverSeen, 100),
        ];
        let sorted = |sort: Sort| {
            let mut all: Vec<_> = units.iter().collect();
            sort.sort(&mut all);
            all.iter().map(|unit| unit.unit).collect::<Vec<_>>()
        };
        assert_eq!(sorted(Sort::Failures), [7, 8, 9, 3, 5, 1]);
        assert_eq!(sorted(Sort::Wire), [5, 3, 9, 1, 7, 8]);
        assert_eq!(sorted(Sort::Unit), [1, 3, 5, 7, 8, 9]);
        assert_eq!(sorted(Sort::Errors), [7, 8, 3, 9, 1, 5]);
        let failing: Vec<_> = units
            .iter()
            .filter(|unit| view(&[("state", "failing")]).shows(unit))
            .map(|unit| unit.unit)
            .collect();
        assert_eq!(failing, [3, 9, 7, 8]);
    }

    #[test]
    fn names_are_sorted_as_people_count() {
        let named = |name: &'static str, unit| Unit {
            name: (!name.is_empty()).then(|| name.into()),
            unit,
            ..Unit::default()
        };
        let units = [named("Panel 10", 1), named("", 2), named("panel 9", 3), named("Attic", 4)];
        let mut all: Vec<_> = units.iter().collect();
        Sort::Name.sort(&mut all);
        assert_eq!(all.iter().map(|unit| unit.unit).collect::<Vec<_>>(), [4, 3, 1, 2]);
    }

    #[test]
    fn a_text_is_looked_for_in_name_unit_group_and_line() {
        let unit = Unit {
            bus: "riser-a".into(),
            unit: 17,
            name: Some("Kitchen".into()),
            group: Some("Tenants East".into()),
            ..Unit::default()
        };
        for text in ["KITCH", "17", "unit 17", "east", "riser"] {
            assert!(view(&[("q", text)]).shows(&unit), "{text}");
        }
        assert!(!view(&[("q", "18")]).shows(&unit));
    }
}
