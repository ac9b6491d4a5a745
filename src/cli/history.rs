//! `history`: what happened to an account, for people at a terminal or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;

use super::flags::HistoryFlags;
use super::open::Opened;
use super::{say, who};
use crate::config::Config;
use crate::http::{event_json, user_json};
use crate::registry::{Asked, Caller, HistoryEntry, Refusal, Registry};
use crate::store::{EventFilter, Store};

/// Events read at a time.
const PAGE: i64 = 200;
/// The longest value shown in a line.
const WIDTH: usize = 60;

pub(super) async fn run(config: Config, flags: HistoryFlags) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| match print(store, &config, &flags).await {
            Err(problem) if matches!(problem.downcast_ref(), Some(Refusal::NotFound)) => {
                bail!("there is no such account, or there was none then")
            }
            printed => printed,
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn print(store: &Store, config: &Config, flags: &HistoryFlags) -> Result<()> {
    let user = who::named(store, &flags.user).await?;
    let registry = Registry::new(store.clone(), config, TaskTracker::new())?;
    let asked = Asked::plainly(Caller::system(store));
    if let Some(at) = flags.at {
        if registry.is_ahead(at).await? {
            bail!("that lies after the end of the log");
        }
        let past = registry.user_at(&asked, user, at).await?;
        let mut shown = user_json(past.row);
        shown["as_of"] = json!({
            "position": past.last.record.position,
            "time": past.last.record.recorded_at,
            "event_id": past.last.record.event_id,
        });
        say(&if flags.json { shown.to_string() } else { lines(&shown) });
        return Ok(());
    }
    let filter = EventFilter::default();
    let mut after = 0;
    loop {
        let page = registry.user_history(&asked, user, after, PAGE, &filter).await?;
        for entry in page.entries {
            say(&if flags.json {
                event_json(entry).to_string()
            } else {
                line(&entry)
            });
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

/// An account, a field a line.
fn lines(user: &Value) -> String {
    let mut text = String::new();
    for (name, value) in user.as_object().into_iter().flatten() {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:<16} {}", plain(value));
    }
    text.trim_end().to_owned()
}

/// An event: where, when, what, who, and its data; in a second line who and what it goes back to, by their ids.
fn line(entry: &HistoryEntry) -> String {
    let record = &entry.event.record;
    let fact = |name: &str| entry.event.metadata.get(name).map_or("", String::as_str);
    let mut text = format!(
        "{:>8}  {}  {:<34} {:<9} {:<9}",
        record.position,
        record.recorded_at,
        record.event_type,
        fact("actor"),
        fact("dialect")
    );
    let data = match entry.data() {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    for (name, value) in &data {
        let _ = write!(text, "  {name}={}", plain(value));
    }
    if entry.event.erased {
        text.push_str("  (erased)");
    }
    let mut text = text.trim_end().to_owned();
    let ids = [
        ("actor", entry.event.metadata.get("actor_id").cloned()),
        ("request", entry.event.metadata.get("request_id").cloned()),
        ("cause", entry.cause().map(|cause| cause.to_string())),
        ("correlation", entry.correlation().map(str::to_owned)),
    ];
    let known: Vec<String> = ids
        .into_iter()
        .filter_map(|(name, id)| Some(format!("{name}={}", plain(&Value::String(id?)))))
        .collect();
    if !known.is_empty() {
        let _ = write!(text, "\n{:>8}  {}", "", known.join("  "));
    }
    text
}

/// A value as it is read by people; nothing in it can steer a terminal.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut shown: String = text
        .chars()
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().count() > WIDTH {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_steers_a_terminal_or_floods_it() {
        assert_eq!(plain(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
        assert_eq!(plain(&json!("x".repeat(1_000))).chars().count(), WIDTH + 1);
        assert_eq!(plain(&Value::Null), "-");
        assert_eq!(plain(&json!(["a", 1])), "[\"a\",1]");
    }
}
