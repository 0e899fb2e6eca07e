//! LIKE: `%` for any characters, `_` for one, without case.

/// A pattern, ready to be matched against lower-case text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Any,
    One,
    Char(char),
}

impl Pattern {
    /// Reads a pattern in which `\%`, `\_` and `\\` stand for themselves.
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => parts.push(Part::Any),
                '_' => parts.push(Part::One),
                '\\' => parts.extend(chars.next().into_iter().flat_map(char::to_lowercase).map(Part::Char)),
                other => parts.extend(other.to_lowercase().map(Part::Char)),
            }
        }
        Self(parts)
    }

    /// Whether lower-case text fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let parts = &self.0;
        let (mut at, mut part) = (0, 0);
        // Where to go on when a later part does not fit: behind the last `%`, one character further.
        let mut again: Option<(usize, usize)> = None;
        while at < text.len() {
            match parts.get(part) {
                Some(Part::Any) => {
                    again = Some((part + 1, at));
                    part += 1;
                }
                Some(Part::One) => {
                    at += 1;
                    part += 1;
                }
                Some(Part::Char(c)) if *c == text[at] => {
                    at += 1;
                    part += 1;
                }
                _ => match again {
                    Some((from, tried)) => {
                        again = Some((from, tried + 1));
                        part = from;
                        at = tried + 1;
                    }
                    None => return false,
                },
            }
        }
        parts[part..].iter().all(|rest| *rest == Part::Any)
    }
}

/// Text literals outside LIKE: the kept backslashes of `\\`, `\_`, `\%` go.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}
