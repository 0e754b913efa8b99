//! The word somebody meant.
//!
//! Compares a mistyped word with the known ones; never decides what is known.

/// The known word nearest to a mistyped one, where one is near enough to be meant.
pub(crate) fn nearest<'w>(typed: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
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
