//! The table.

use std::fmt;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// So many times the peer.
    Times(f64),
    /// At least so much, whatever the peer does.
    Least(f64),
    /// At most so much, whatever the peer does.
    Most(f64),
    /// Shown only.
    None,
}

/// One line.
struct Line {
    what: String,
    unit: &'static str,
    figure: f64,
    peer_name: String,
    peer: Option<f64>,
    ratio: Option<f64>,
    limit: Limit,
}

/// All lines, in the order in which they were measured.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// A figure and its peer, round by round: the medians are shown, and the median of the rounds' ratios.
    pub fn pairs(&mut self, what: &str, unit: &'static str, ours: &[f64], peer: (&str, &[f64]), limit: Limit) {
        let ratios: Vec<f64> = ours.iter().zip(peer.1).map(|(one, other)| one / other).collect();
        self.push(Line {
            what: what.to_owned(),
            unit,
            figure: median(ours),
            peer_name: peer.0.to_owned(),
            peer: Some(median(peer.1)),
            ratio: Some(median(&ratios)),
            limit,
        });
    }

    /// A figure without a peer.
    pub fn alone(&mut self, what: &str, unit: &'static str, ours: &[f64], limit: Limit) {
        let figure = median(ours);
        self.push(Line {
            what: what.to_owned(),
            unit,
            figure,
            peer_name: String::new(),
            peer: None,
            ratio: None,
            limit,
        });
    }

    fn push(&mut self, line: Line) {
        println!("  {line}");
        self.lines.push(line);
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(*upper, sorted.get(middle - 1).copied().unwrap_or(*upper)),
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

fn verdict(reached: f64, limit: f64) -> &'static str {
    if reached >= limit {
        "meets"
    } else if reached >= limit / 2.0 {
        "half"
    } else {
        "below"
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

impl Line {
    /// The limit, half of it, and whether they are reached.
    fn judged(&self) -> (String, String, &'static str) {
        match self.limit {
            Limit::Times(limit) => (
                format!("{limit:.2}x"),
                format!("{:.2}x", limit / 2.0),
                verdict(self.ratio.unwrap_or_default(), limit),
            ),
            Limit::Least(limit) => (number(limit), number(limit / 2.0), verdict(self.figure, limit)),
            // Half as good is twice as much.
            Limit::Most(limit) => (
                format!("<{}", number(limit)),
                format!("<{}", number(limit * 2.0)),
                verdict(limit, self.figure),
            ),
            Limit::None => ("-".to_owned(), "-".to_owned(), "-"),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, half, verdict) = self.judged();
        let peer = self.peer.map_or_else(|| "-".to_owned(), number);
        let ratio = self
            .ratio
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let figure = number(self.figure);
        write!(
            f,
            "{:<34} {figure:>8} {:<9} {:<34} {peer:>8} {ratio:>8} {limit:>9} {half:>9}  {verdict}",
            self.what, self.unit, self.peer_name
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:>8} {:<9} {:<34} {:>8} {:>8} {:>9} {:>9}  verdict",
            "what", "figure", "", "peer", "figure", "ratio", "limit", "half"
        )?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
