//! A word that only those who were told it know.

use std::fmt;

/// Never shown by `Debug`, compared in a time that says nothing about it but its length.
#[derive(Clone)]
pub struct Secret(pub String);

impl Secret {
    /// Whether `text` is it.
    pub fn is(&self, text: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), text.as_bytes());
        let differ = ours.iter().zip(theirs).fold(0, |differ, (a, b)| differ | (a ^ b));
        // Hidden from the compiler, which might end the loop early otherwise.
        std::hint::black_box(differ) == 0 && ours.len() == theirs.len()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_is_it() {
        let secret = Secret("hunter2".to_owned());
        assert!(secret.is("hunter2"));
        for wrong in ["", "hunter", "hunter22", "hunter3", "Hunter2"] {
            assert!(!secret.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
