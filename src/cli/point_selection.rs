//! Which points of a profile the words of a command line mean.
//!
//! Owns the choice: a point by its name, a group, a block, a register or a range of them, all, or each quantity
//! once. It never reads anything.

use crate::document::nearest;
use crate::meter::{Group, Point, Profile};

/// The points that `words` mean, each once, in the order of the words; without words, each quantity once.
///
/// # Errors
/// What is wrong with a word, and what may have been meant.
pub fn choose<'p>(profile: &'p Profile, words: &[String]) -> Result<Vec<&'p Point>, String> {
    if words.is_empty() {
        return Ok(each_quantity_once(profile));
    }
    let mut chosen: Vec<&Point> = Vec::new();
    for word in words {
        for point in meant(profile, word)? {
            if !chosen.iter().any(|one| one.name == point.name) {
                chosen.push(point);
            }
        }
    }
    Ok(chosen)
}

/// The point of that name.
///
/// # Errors
/// That there is none, and what may have been meant.
pub fn point<'p>(profile: &'p Profile, name: &str) -> Result<&'p Point, String> {
    profile
        .point(name)
        .ok_or_else(|| unknown(profile, name, "point", profile.points.iter().map(|p| p.name.as_str())))
}

/// The measurements that are read in the background, settings and identity. A quantity that has two
/// representations there is shown in the first, the energy to bill by in the point that counts it; what means nothing
/// is left out.
fn each_quantity_once(profile: &Profile) -> Vec<&Point> {
    let mut chosen: Vec<&Point> = Vec::new();
    for point in &profile.points {
        let polled = profile.blocks.get(point.block).is_some_and(|block| block.polled);
        let known = |one: &&Point| quantity(one) == quantity(point);
        if polled && point.group != Group::Reserved && !chosen.iter().any(known) {
            let billed =
                profile.points.iter().find(|other| other.bill_by && quantity(other) == quantity(point));
            chosen.push(billed.unwrap_or(point));
        }
    }
    chosen
}

/// The name that all representations of a quantity have in common.
fn quantity(point: &Point) -> &str {
    point.copy_of.as_deref().unwrap_or(&point.name)
}

/// Whether a word is a point, group, block or register, or may be one that is mistyped. No host is called like a
/// register, or has a `_`.
pub fn may_be_point(profile: &Profile, word: &str) -> bool {
    !word.starts_with(|letter: char| letter.is_ascii_alphabetic())
        || word.contains('_')
        || meant(profile, word).is_ok()
        || nearest(word, known_words(profile)).is_some()
}

fn meant<'p>(profile: &'p Profile, word: &str) -> Result<Vec<&'p Point>, String> {
    if word == ALL {
        return Ok(profile.points.iter().collect());
    }
    if word.starts_with(|letter: char| letter.is_ascii_digit()) {
        return at_registers(profile, word);
    }
    if let Some(point) = profile.point(word) {
        return Ok(vec![point]);
    }
    let plain = word.to_lowercase().replace('-', "_");
    if let Some(group) = Group::ALL.iter().find(|group| group.word() == plain) {
        let once = each_quantity_once(profile).into_iter().filter(|point| point.group == *group);
        let once: Vec<_> = once.collect();
        let points = if once.is_empty() { profile.group(*group).collect() } else { once };
        return if points.is_empty() {
            Err(format!("{} has no points of the group {plain}", profile.name))
        } else {
            Ok(points)
        };
    }
    if let Some(block) = profile.block(word) {
        return Ok(profile.points_of(block).collect());
    }
    Err(unknown(profile, word, "point, group or block", known_words(profile)))
}

/// The names of all points, groups and blocks.
fn known_words(profile: &Profile) -> impl Iterator<Item = &str> {
    let names = profile.points.iter().map(|point| point.name.as_str());
    let groups = Group::ALL.iter().map(|group| group.word());
    let blocks = profile.blocks.iter().map(|block| block.name.as_str());
    names.chain(groups).chain(blocks)
}

/// The points whose registers lie in a range, as far as they do.
fn at_registers<'p>(profile: &'p Profile, word: &str) -> Result<Vec<&'p Point>, String> {
    let (first, last) = registers(word)?;
    let inside =
        |point: &&Point| point.register <= last && first < point.register + u32::from(point.range.quantity);
    let points: Vec<_> = profile.points.iter().filter(inside).collect();
    if points.is_empty() {
        return Err(format!(
            "register {word} belongs to no point of {}; --raw reads registers by their number alone",
            profile.name
        ));
    }
    Ok(points)
}

/// A register number or a range of them.
///
/// # Errors
/// When it is neither.
pub fn registers(word: &str) -> Result<(u32, u32), String> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        (Some(_) | None, _) => Err(format!("'{word}' is no register number, nor a range such as 257-262")),
    }
}

fn unknown<'w>(profile: &Profile, word: &str, what: &str, known: impl Iterator<Item = &'w str>) -> String {
    let hint = nearest(word, known).map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("{} has no {what} {word}{hint} (`metergate points` shows all)", profile.name)
}

/// Every point, whatever it means.
const ALL: &str = "all";

#[cfg(test)]
mod tests {
    use super::*;

    fn leviton() -> &'static Profile {
        Profile::builtin("leviton-4000r").expect("built in")
    }

    fn names(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(choose(leviton(), &words)?.into_iter().map(|point| point.name.as_str()).collect())
    }

    #[test]
    fn without_words_each_quantity_is_chosen_once() {
        let chosen = names(&[]).expect("a choice");
        assert!(chosen.contains(&"real_power_total_f") && chosen.contains(&"alert_bitmap"));
        assert!(chosen.contains(&"real_energy_total"), "the count to bill by, not its float");
        for left_out in ["real_energy_total_f_dup", "real_energy_total_f", "reserved_132", "reserved_305_f"] {
            assert!(!chosen.contains(&left_out), "{left_out}");
        }
    }

    #[test]
    fn words_are_points_groups_blocks_registers_and_all() {
        assert_eq!(names(&["frequency", "frequency"]), Ok(vec!["frequency"]));
        assert_eq!(names(&["real_power_a"]), Ok(vec!["real_power_a"]), "the point, not its copy");
        assert_eq!(names(&["Power-Factor"]).expect("a group").len(), 4);
        assert_eq!(names(&["firmware"]), Ok(vec!["firmware_version_os"]));
        assert_eq!(names(&["integers"]).expect("a block").len(), 44);
        assert_eq!(names(&["262"]), Ok(vec!["real_power_total_f"]), "the second half of it");
        assert_eq!(names(&["138-140"]), Ok(vec!["scale_current", "scale_voltage", "scale_power"]));
        assert_eq!(names(&["all"]).expect("all").len(), leviton().points.len());
        assert_eq!(names(&["reserved"]).expect("a group").len(), 7);
    }

    #[test]
    fn a_wrong_word_is_named_with_what_may_have_been_meant() {
        for (word, said) in [
            ("real_pwer_total", "did you mean real_power_total?"),
            ("powr", "did you mean power?"),
            ("60", "belongs to no point"),
            ("300-200", "nor a range"),
            ("4x", "no register number"),
            ("99999999999", "no register number"),
            ("other", "no points of the group"),
            ("quux", "has no point, group or block quux ("),
        ] {
            let error = names(&[word]).expect_err(word);
            assert!(error.contains(said), "{error}");
        }
    }
}
