//! The profiles that are always there.
//!
//! Owns their names; each is the file below `config/profiles` that was there when the program was built.

use std::sync::LazyLock;

use super::profile::Profile;

impl Profile {
    /// The built-in profile of that name.
    #[must_use]
    pub fn builtin(name: &str) -> Option<&'static Self> {
        (name == LEVITON_4000R).then(|| &**LEVITON)
    }

    /// The names of the built-in profiles.
    #[must_use]
    pub fn builtin_names() -> &'static [&'static str] {
        &[LEVITON_4000R]
    }
}

const LEVITON_4000R: &str = "leviton-4000r";

static LEVITON: LazyLock<Box<Profile>> = LazyLock::new(|| {
    let text = include_str!("../../config/profiles/leviton-4000r.yaml");
    let read = Profile::parse(text, "leviton-4000r.yaml");
    Box::new(read.expect("the tests read every built-in profile"))
});
