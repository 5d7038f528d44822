//! Names that people choose: of rooms and of themselves.

use crate::base::limits::NAME_CHARS_MAX;

/// What a refused name should have been, for the message of a `bad_name` error.
pub const NAME_RULE: &str =
    "a name takes 1 to 64 characters, none of them for control, line breaks or text direction";
const _: () = assert!(NAME_CHARS_MAX == 64);

/// A room's name without the white space around it; `None` when what remains is empty, longer
/// than [`NAME_CHARS_MAX`] characters, or has characters that act instead of being seen: controls,
/// line and paragraph separators, and those that turn the text around them (UAX #9 §2), with which
/// one name can be made to look like another.
pub fn room_name(text: &str) -> Option<&str> {
    checked(text)
}

/// A participant's name, by the same rule as [`room_name`].
pub fn display_name(text: &str) -> Option<&str> {
    checked(text)
}

fn checked(text: &str) -> Option<&str> {
    let name = text.trim();
    // Bytes first: a long text is refused without walking its characters.
    let fits = name.len() <= 4 * NAME_CHARS_MAX && name.chars().count() <= NAME_CHARS_MAX;
    (!name.is_empty() && fits && !name.chars().any(acts)).then_some(name)
}

fn acts(c: char) -> bool {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || separates || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(room_name("  stand up "), Some("stand up"));
        assert_eq!(display_name("Ada Λ 愛"), Some("Ada Λ 愛"));
        // A mark of direction is part of how some languages are written.
        assert_eq!(display_name("\u{5d0}\u{200f}!"), Some("\u{5d0}\u{200f}!"));
        for bad in
            ["", " \t ", "a\nb", "a\u{0}", "a\u{85}b", "\u{202e}nimda", "a\u{2028}b", "\u{2067}x"]
        {
            assert_eq!(room_name(bad), None, "{bad:?}");
        }
        let longest = "愛".repeat(NAME_CHARS_MAX);
        assert_eq!(room_name(&longest), Some(longest.as_str()));
        assert_eq!(room_name(&format!("{longest}愛")), None);
    }
}
