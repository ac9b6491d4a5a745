//! A text with places such as `{{link}}`, and nothing else: no conditions, no loops, no files.

use std::fmt::Write as _;

/// What may stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole link.
    Link,
    /// Until when it works.
    Until,
    /// When it happened.
    At,
    /// An API key.
    ApiKey,
    /// The client secret beside it.
    ClientSecret,
    /// The code of a short message.
    Code,
    /// The subject of the mail.
    Subject,
    /// The HTML of the mail.
    Content,
}

impl Place {
    const ALL: [Self; 8] = [
        Self::Link,
        Self::Until,
        Self::At,
        Self::ApiKey,
        Self::ClientSecret,
        Self::Code,
        Self::Subject,
        Self::Content,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Until => "until",
            Self::At => "at",
            Self::ApiKey => "api_key",
            Self::ClientSecret => "client_secret",
            Self::Code => "code",
            Self::Subject => "subject",
            Self::Content => "content",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Words(String),
    Place(Place),
}

/// A text that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

impl Text {
    /// Reads a text that may have some places and must have others.
    pub fn parse(text: &str, (may, must): (&[Place], &[Place])) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err("holds control characters".into());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((words, after)) = rest.split_once("{{") {
            let line = text.len() - after.len();
            let line = text.get(..line).map_or(1, |before| before.matches('\n').count() + 1);
            let (name, left) = after
                .split_once("}}")
                .filter(|(name, _)| !name.contains('\n'))
                .ok_or_else(|| format!("line {line}: {{{{ without }}}}"))?;
            let place = Place::ALL.into_iter().find(|place| place.name() == name.trim());
            let place = place.filter(|place| may.contains(place)).ok_or_else(|| {
                format!(
                    "line {line}: unknown placeholder {{{{{}}}}}; {}",
                    name.trim(),
                    known(may)
                )
            })?;
            pieces.push(Piece::Words(words.to_owned()));
            pieces.push(Piece::Place(place));
            rest = left;
        }
        pieces.push(Piece::Words(rest.to_owned()));
        if let Some(place) = must.iter().find(|place| !pieces.contains(&Piece::Place(**place))) {
            return Err(format!("lacks {{{{{}}}}}", place.name()));
        }
        Ok(Self(pieces))
    }

    /// Puts values into the places.
    pub fn fill(&self, value: impl Fn(Place) -> String) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Words(words) => filled.push_str(words),
                Piece::Place(place) => filled.push_str(&value(*place)),
            }
        }
        filled
    }

    /// Without blanks at either end.
    pub fn trimmed(mut self) -> Self {
        if let Some(Piece::Words(first)) = self.0.first_mut() {
            *first = first.trim_start().to_owned();
        }
        if let Some(Piece::Words(last)) = self.0.last_mut() {
            *last = last.trim_end().to_owned();
        }
        self
    }

    /// Whether it is one line, and not an empty one.
    pub fn is_line(&self) -> bool {
        let text = self.fill(|_| "x".to_owned());
        !text.is_empty() && !text.contains('\n')
    }

    /// Whether its own words hold a digit.
    pub fn has_digits(&self) -> bool {
        let digits = |piece: &Piece| matches!(piece, Piece::Words(words) if words.chars().any(char::is_numeric));
        self.0.iter().any(digits)
    }

    /// Whether a place stands in it exactly once.
    pub fn has_once(&self, place: Place) -> bool {
        self.0.iter().filter(|piece| **piece == Piece::Place(place)).count() == 1
    }

    /// The length of its longest line in bytes, the places not counted.
    pub fn longest_line(&self) -> usize {
        self.fill(|_| String::new()).lines().map(str::len).max().unwrap_or(0)
    }
}

fn known(places: &[Place]) -> String {
    if places.is_empty() {
        return "there is none here".into();
    }
    let mut text = String::from("here are");
    for place in places {
        let _ = write!(text, " {{{{{}}}}}", place.name());
    }
    text
}

/// A text as it stands in HTML, in a paragraph or an attribute.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}
