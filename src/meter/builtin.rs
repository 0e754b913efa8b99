//! The built-in profiles.
//!
//! Owns their names; each is a file below `config/profiles`, included when the program is built.

use std::sync::LazyLock;

use super::profile::Profile;

impl Profile {
    /// The built-in profile with this name.
    #[must_use]
    pub fn builtin(name: &str) -> Option<&'static Self> {
        BUILTIN.iter().find(|profile| profile.name == name)
    }

    /// The names of the built-in profiles; first that of the Series 4000-R.
    #[must_use]
    pub fn builtin_names() -> &'static [&'static str] {
        &NAMES
    }
}

/// Each with its text.
const FILES: [(&str, &str); 3] = [
    ("leviton-4000r", include_str!("../../config/profiles/leviton-4000r.yaml")),
    ("eastron-sdm630", include_str!("../../config/profiles/eastron-sdm630.yaml")),
    ("gavazzi-em24", include_str!("../../config/profiles/gavazzi-em24.yaml")),
];

const NAMES: [&str; FILES.len()] = [FILES[0].0, FILES[1].0, FILES[2].0];

static BUILTIN: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| {
        Profile::parse(text, &format!("{name}.yaml")).expect("the tests read every built-in profile")
    };
    FILES.iter().map(read).collect()
});
