//! From sentences to tokens.

use std::collections::HashMap;
use std::path::Path;

use siren_core::{Result, file};

/// The token that stands for no word. It fills the rest of a record.
pub const PADDING: u16 = 0;
/// The token of every word that is not in the vocabulary.
pub const UNKNOWN: u16 = 1;

/// The words of a sentence, split as Kim's program does: lower case, endings such as `n't` and `'s`
/// on their own, and so are `, ! ? ( )`; whatever else is no letter and no digit separates words.
///
/// ```
/// use siren_examples::sentences::tokens;
/// let words: Vec<String> = tokens("It's silly, isn't it?").collect();
/// assert_eq!(words, ["it", "'s", "silly", ",", "is", "n't", "it", "?"]);
/// ```
pub fn tokens(sentence: &str) -> impl Iterator<Item = String> {
    let sentence = sentence.to_lowercase().replace('\u{2019}', "'");
    let mut spaced = String::with_capacity(2 * sentence.len());
    for character in sentence.chars() {
        match character {
            ',' | '!' | '?' | '(' | ')' => spaced.extend([' ', character, ' ']),
            '\'' => spaced.push(character),
            _ if character.is_alphanumeric() => spaced.push(character),
            _ => spaced.push(' '),
        }
    }
    let words: Vec<String> = spaced.split_whitespace().flat_map(parts).collect();
    words.into_iter()
}

/// A word and its endings, without quotes around it.
fn parts(word: &str) -> Vec<String> {
    const ENDINGS: [&str; 7] = ["n't", "'s", "'ve", "'re", "'d", "'ll", "'m"];
    let mut parts = Vec::new();
    let mut stem = word;
    loop {
        if let Some(ending) = ENDINGS.iter().find(|&&ending| stem.ends_with(ending)) {
            parts.push((*ending).to_owned());
            stem = &stem[..stem.len() - ending.len()];
        } else if let Some(unquoted) = stem.strip_suffix('\'') {
            stem = unquoted;
        } else {
            break;
        }
    }
    let stem = stem.trim_start_matches('\'');
    parts.extend((!stem.is_empty()).then(|| stem.to_owned()));
    parts.reverse();
    parts
}

/// The words that a network knows; a word's token is its place.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    /// The first one's token is that after [`UNKNOWN`].
    words: Vec<String>,
    tokens: HashMap<String, u16>,
}

impl Vocabulary {
    /// The words that occur at least twice in these sentences, the most frequent ones first, and at
    /// most as many as `u16` numbers.
    pub fn of<'a>(sentences: impl IntoIterator<Item = &'a [String]>) -> Self {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for word in sentences.into_iter().flatten() {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<(&str, u64)> =
            counts.into_iter().filter(|&(_, count)| count >= 2).collect();
        counts.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        counts.truncate(usize::from(u16::MAX - UNKNOWN));
        let words: Vec<String> = counts.into_iter().map(|(word, _)| word.to_owned()).collect();
        let tokens = words.iter().cloned().zip(UNKNOWN + 1..).collect();
        Self { words, tokens }
    }

    /// The number of tokens, padding and the unknown word included.
    #[expect(clippy::len_without_is_empty, reason = "it has two tokens at least")]
    pub fn len(&self) -> usize {
        usize::from(UNKNOWN) + 1 + self.words.len()
    }

    /// The token of a word; [`UNKNOWN`] if it is not known.
    pub fn token(&self, word: &str) -> u16 {
        self.tokens.get(word).copied().unwrap_or(UNKNOWN)
    }

    /// Writes the words into a file, one on a line, in the order of their tokens from 2 up.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`](siren_core::ErrorKind::Other) when the file cannot be
    /// written; the message names it.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::replace(path, |to| self.words.iter().try_for_each(|word| writeln!(to, "{word}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sentence: &str) -> Vec<String> {
        tokens(sentence).collect()
    }

    #[test]
    fn endings_and_punctuation_are_words_of_their_own() {
        assert_eq!(
            words("They've said (twice) 'No!'"),
            ["they", "'ve", "said", "(", "twice", ")", "no", "!"]
        );
        assert_eq!(words("could\u{2019}n't'd"), ["could", "n't", "'d"]);
        assert_eq!(
            words("j . r . r . tolkien's middle-earth: 3/4"),
            ["j", "r", "r", "tolkien", "'s", "middle", "earth", "3", "4"]
        );
    }

    #[test]
    fn quotes_and_signs_alone_are_no_words() {
        assert_eq!(words(" ' '' -- \u{85} * "), Vec::<String>::new());
        assert_eq!(words("n't 's"), ["n't", "'s"]);
        assert_eq!(words("CAF\u{c9}"), ["caf\u{e9}"]);
    }

    #[test]
    fn words_that_occur_twice_are_known_by_their_frequency() {
        let sentences = [words("a b c b d"), words("b d e")];
        let vocabulary = Vocabulary::of(sentences.iter().map(Vec::as_slice));
        assert_eq!(vocabulary.len(), 4);
        let tokens = ["b", "d", "a", "e", "z"].map(|word| vocabulary.token(word));
        assert_eq!(tokens, [2, 3, UNKNOWN, UNKNOWN, UNKNOWN]);
    }
}
