//! Suggestions for a mistyped word.

/// The known word nearest to a mistyped one, if one is near enough; else the only one that begins with it, or with which
/// it begins.
pub(crate) fn nearest<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    if typed.len() > LONGEST_TYPED {
        return None;
    }
    if let Some(alike) = MEANINGS.iter().find(|words| words.contains(&typed.to_lowercase().as_str())) {
        // `no` is near `on`, which is the opposite.
        return known.into_iter().find(|word| alike.contains(word));
    }
    if let Some((_, meant)) = SHORT_FORMS.iter().find(|(short, _)| short.eq_ignore_ascii_case(typed)) {
        return known.into_iter().find(|word| word == meant);
    }
    let letters = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let typed = letters(typed);
    let near = (typed.chars().count() / 3).max(1);
    let known: Vec<(&str, String)> = known.into_iter().map(|word| (word, letters(word))).collect();
    let measured = known.iter().map(|(word, spelt)| (strsim::osa_distance(&typed, spelt), *word));
    let nearest = measured.filter(|(far, _)| *far <= near).min_by_key(|(far, _)| *far).map(|(_, word)| word);
    let is_part = |spelt: &str, of: &str| !spelt.is_empty() && of.starts_with(spelt);
    let mut begun = known.iter().filter(|(_, spelt)| is_part(&typed, spelt) || is_part(spelt, &typed));
    nearest.or_else(|| begun.next().filter(|_| begun.next().is_none()).map(|(word, _)| *word))
}

/// The same as a sentence with a trailing space; empty if no word is near.
pub(crate) fn did_you_mean<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    nearest(typed, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

/// Words with which a setting is switched on, and off.
const MEANINGS: [&[&str]; 2] = [
    &["yes", "on", "true", "enable", "enabled", "allow"],
    &["no", "off", "false", "none", "disable", "disabled", "deny"],
];

/// What a word is called on a device's label and in other programs.
const SHORT_FORMS: [(&str, &str); 6] =
    [("n", "none"), ("8N1", "none"), ("e", "even"), ("8E1", "even"), ("o", "odd"), ("8O1", "odd")];

/// Longest word that is compared with the known ones, in bytes.
const LONGEST_TYPED: usize = 64;
