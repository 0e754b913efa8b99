//! Suggestions for a mistyped word.

/// The known word nearest to a mistyped one, if one is near enough.
pub(crate) fn nearest<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if typed.len() > LONGEST_TYPED {
        return None;
    }
    let letters = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let typed = letters(typed);
    let near = (typed.chars().count() / 3).max(1);
    let measured = known.into_iter().map(|word| (strsim::osa_distance(&typed, &letters(word)), word));
    measured.filter(|(far, _)| *far <= near).min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// The same as a sentence with a trailing space; empty if no word is near.
pub(crate) fn did_you_mean<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    nearest(typed, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

/// Longest word that is compared with the known ones, in bytes.
const LONGEST_TYPED: usize = 64;
