//! What was probably meant.

/// The candidate nearest to `text`, if one is near enough to be a slip of the hand.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let names = ["github_token", "database", "db"];
        assert_eq!(nearest("gihtub_token", names.into_iter()), Some("github_token"));
        assert_eq!(nearest("databse", names.into_iter()), Some("database"));
        assert_eq!(nearest("stripe", names.into_iter()), None);
    }
}
