//! The table of every setting: its name and what may stand there.
//!
//! The structs in `sections` say what a setting means and what it is when nobody sets it; this
//! table exists so that all mistakes are found at once and can name the nearest right name.

use std::net::SocketAddr;

use toml::Value;

use super::network::Network;
use super::queue::Queue;

/// One setting by its dotted name.
#[derive(Debug)]
pub(super) struct Setting {
    pub path: &'static str,
    pub kind: Kind,
}

/// What may stand in a setting.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Whole(i64, i64),
    Text,
    Secret,
    Choice(&'static [&'static str]),
    Status,
    Address,
    Url,
    Filter,
    Origins,
    Networks,
    Servers,
    Prefixes,
    Queues,
    Path,
    Host,
}

const fn setting(path: &'static str, kind: Kind) -> Setting {
    Setting { path, kind }
}

const MINUTE: i64 = 60_000;

/// In the order in which `config show` prints them.
pub(super) const SETTINGS: &[Setting] = &[
    setting("public_url", Kind::Url),
    setting("data_dir", Kind::Text),
    setting("database_url", Kind::Secret),
    setting("amqp_url", Kind::Secret),
    setting("http.listen", Kind::Address),
    setting("http.trusted_proxies", Kind::Networks),
    setting("http.metrics_networks", Kind::Networks),
    setting("http.cors_origins", Kind::Origins),
    setting("http.body_bytes", Kind::Whole(1024, 1 << 20)),
    setting("http.boundary_body_bytes", Kind::Whole(1024, 16 << 20)),
    setting("http.header_bytes", Kind::Whole(8192, 1 << 20)),
    setting("http.headers", Kind::Whole(10, 1000)),
    setting("http.uri_bytes", Kind::Whole(256, 65_536)),
    setting("http.header_ms", Kind::Whole(100, MINUTE)),
    setting("http.body_ms", Kind::Whole(100, 5 * MINUTE)),
    setting("http.idle_ms", Kind::Whole(100, 60 * MINUTE)),
    setting("http.connections", Kind::Whole(1, 1_000_000)),
    setting("http.connections_per_ip", Kind::Whole(1, 1_000_000)),
    setting("limits.enabled", Kind::Bool),
    setting("limits.requests_per_minute", Kind::Whole(1, 1_000_000)),
    setting("limits.account_requests_per_minute", Kind::Whole(1, 1_000_000)),
    setting("limits.sign_ins_per_minute", Kind::Whole(1, 1_000_000)),
    setting("limits.registrations_per_hour", Kind::Whole(1, 1_000_000)),
    setting("limits.customers_per_hour", Kind::Whole(1, 1_000_000)),
    setting("limits.messages_per_hour", Kind::Whole(1, 1_000_000)),
    setting("limits.secrets_per_minute", Kind::Whole(1, 1_000_000)),
    setting("registration.strict", Kind::Bool),
    setting("registration.public_check", Kind::Bool),
    setting("registration.unverified_hours", Kind::Whole(1, 8760)),
    setting("domains.default", Kind::Choice(&["allow", "block"])),
    setting("domains.resolvers", Kind::Servers),
    setting("tokens.issuer", Kind::Text),
    setting("tokens.access_seconds", Kind::Whole(1, 600)),
    setting("tokens.refresh_idle_days", Kind::Whole(1, 30)),
    setting("tokens.refresh_days", Kind::Whole(1, 365)),
    setting("passwords.min_length", Kind::Whole(8, 64)),
    setting("passwords.memory_kib", Kind::Whole(1, 1 << 20)),
    setting("passwords.iterations", Kind::Whole(1, 100)),
    setting("passwords.parallelism", Kind::Whole(1, 16)),
    setting("passwords.threads", Kind::Whole(0, 256)),
    setting("passwords.queue", Kind::Whole(1, 10_000)),
    setting("passwords.wait_ms", Kind::Whole(1, MINUTE)),
    setting("keys.master", Kind::Secret),
    setting("keys.master_file", Kind::Text),
    setting("keys.standby_file", Kind::Text),
    setting("keys.master_command", Kind::Text),
    setting("mail.smtp_url", Kind::Secret),
    setting("mail.from", Kind::Text),
    setting("mail.templates", Kind::Text),
    setting("mail.timeout_ms", Kind::Whole(100, 5 * MINUTE)),
    setting("mail.retry_ms", Kind::Whole(100, 60 * MINUTE)),
    setting("mail.attempts", Kind::Whole(1, 1000)),
    setting("sms.gateway_url", Kind::Secret),
    setting("sms.gateway_token", Kind::Secret),
    setting("sms.timeout_ms", Kind::Whole(100, MINUTE)),
    setting("sms.retry_ms", Kind::Whole(100, 10 * MINUTE)),
    setting("sms.attempts", Kind::Whole(1, 1000)),
    setting("sms.countries", Kind::Prefixes),
    setting("sms.daily_budget", Kind::Whole(0, 100_000_000)),
    setting("amqp.exchange", Kind::Text),
    setting("amqp.pii_exchange", Kind::Text),
    setting("amqp.replay_exchange", Kind::Text),
    setting("amqp.alternate_exchange", Kind::Text),
    setting("amqp.mode", Kind::Choice(&["binary", "structured"])),
    setting("amqp.queues", Kind::Queues),
    setting("amqp.pii_queues", Kind::Queues),
    setting("amqp.window", Kind::Whole(1, 65_535)),
    setting("amqp.timeout_ms", Kind::Whole(100, 5 * MINUTE)),
    setting("amqp.retry_ms", Kind::Whole(10, 10 * MINUTE)),
    setting("amqp.longest_retry_ms", Kind::Whole(10, 60 * MINUTE)),
    setting("amqp.ca_file", Kind::Text),
    setting("store.connections", Kind::Whole(2, 1000)),
    setting("store.readers", Kind::Whole(1, 1000)),
    setting("store.cache_entries", Kind::Whole(0, 100_000_000)),
    setting("followers.enabled", Kind::Bool),
    setting("followers.lease_seconds", Kind::Whole(1, 3600)),
    setting("followers.poll_ms", Kind::Whole(10, 200)),
    setting("feed.streams_per_caller", Kind::Whole(1, 1_000_000)),
    setting("notary.folder", Kind::Text),
    setting("notary.second_folder", Kind::Text),
    setting("notary.every_ms", Kind::Whole(20, 10_000)),
    setting("notary.events", Kind::Whole(1, 1000)),
    setting("log.format", Kind::Choice(&["text", "json"])),
    setting("log.level", Kind::Filter),
    setting("agstack.enabled", Kind::Bool),
    setting("agstack.shared_secret", Kind::Secret),
    setting("agstack.bare_device_id", Kind::Bool),
    setting("agstack.trusted_clients", Kind::Networks),
    setting("agstack.trusted_clients_may_authorize", Kind::Bool),
    setting("agstack.uniform_login_errors", Kind::Bool),
    setting("agstack.prefix", Kind::Path),
    setting("agstack.host", Kind::Host),
    setting("agstack.asset_registry_url", Kind::Url),
    setting("agstack.push_tokens", Kind::Bool),
    setting("agstack.client_secret_days", Kind::Whole(1, 3650)),
    setting("cadasta.enabled", Kind::Bool),
    setting("cadasta.account_read_status", Kind::Status),
    setting("cadasta.account_update_status", Kind::Status),
    setting("cadasta.password_reset_show_email_not_found", Kind::Bool),
    setting("cadasta.password_reset_hours", Kind::Whole(1, 24)),
    setting("cadasta.link_url", Kind::Url),
    setting("xhoppe.enabled", Kind::Bool),
    setting("xhoppe.bare_code", Kind::Bool),
    setting("xhoppe.default_country_code", Kind::Text),
    setting("xhoppe.reject_common_passwords", Kind::Bool),
    setting("xhoppe.change_password_by_sms", Kind::Bool),
    setting("xhoppe.recovery_delay_after_sim_change", Kind::Whole(0, 8760)),
    setting("taxi.enabled", Kind::Bool),
    setting("taxi.send_verification", Kind::Bool),
];

pub(super) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Whether other settings stand below this name.
pub(super) fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The known name most like this one, if any is like it at all.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    SETTINGS
        .iter()
        .map(|setting| (strsim::jaro_winkler(path, setting.path), setting.path))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

impl Kind {
    /// What should stand there, in words that fit behind "expected".
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Whole(low, high) => format!("a whole number from {low} to {high}"),
            Self::Text | Self::Secret => "a text".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Status => "200 or 201".into(),
            Self::Address => "an address and port such as 127.0.0.1:8080".into(),
            Self::Url => "an address such as https://registry.example, without query".into(),
            Self::Filter => "a log filter such as info or user_registry=debug,warn".into(),
            Self::Origins => "a list of origins such as https://app.example".into(),
            Self::Networks => "a list of networks such as 10.0.0.0/8".into(),
            Self::Servers => "a list of addresses such as 192.0.2.53:53".into(),
            Self::Prefixes => "a list of beginnings of numbers such as +49".into(),
            Self::Queues => {
                "a list of queues with their patterns such as `billing user.* domain.blocked` or `log:stream #`".into()
            }
            Self::Path => "a path such as /agstack, without / at its end".into(),
            Self::Host => "a host name such as ur.example, or ur.*".into(),
        }
    }

    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Bool, Value::Boolean(_)) | (Self::Text | Self::Secret, Value::String(_)) => true,
            (Self::Whole(low, high), Value::Integer(n)) => (low..=high).contains(n),
            (Self::Choice(words), Value::String(text)) => words.contains(&text.as_str()),
            (Self::Status, Value::Integer(n)) => matches!(n, 200 | 201),
            (Self::Address, Value::String(text)) => text.parse::<SocketAddr>().is_ok(),
            (Self::Url, Value::String(text)) => text.is_empty() || is_url(text),
            (Self::Filter, Value::String(text)) => is_filter(text),
            (Self::Origins, Value::Array(items)) => items.iter().all(|item| item.as_str().is_some_and(is_origin)),
            (Self::Networks, Value::Array(items)) => items
                .iter()
                .all(|item| item.as_str().is_some_and(|t| t.parse::<Network>().is_ok())),
            (Self::Servers, Value::Array(items)) => items
                .iter()
                .all(|item| item.as_str().is_some_and(|t| t.parse::<SocketAddr>().is_ok())),
            (Self::Path, Value::String(text)) => text.is_empty() || is_path(text),
            (Self::Host, Value::String(text)) => text.is_empty() || is_host(text),
            (Self::Prefixes, Value::Array(items)) => items.iter().all(|item| item.as_str().is_some_and(is_prefix)),
            (Self::Queues, Value::Array(items)) => items.iter().all(|item| item.as_str().is_some_and(is_queue)),
            _ => false,
        }
    }

    /// Environment variables and flags are text; this reads them as what the setting wants.
    pub fn read(self, text: &str) -> Value {
        let as_text = || Value::String(text.to_owned());
        match self {
            Self::Bool => text.parse().map_or_else(|_| as_text(), Value::Boolean),
            Self::Whole(..) | Self::Status => text.parse().map_or_else(|_| as_text(), Value::Integer),
            Self::Origins | Self::Networks | Self::Servers | Self::Prefixes | Self::Queues => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
            _ => as_text(),
        }
    }
}

fn is_prefix(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (1..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_queue(text: &str) -> bool {
    text.parse::<Queue>().is_ok()
}

fn is_path(text: &str) -> bool {
    let named = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    // `/v1` is the canonical API's.
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(named)) && text != "/v1" && !text.starts_with("/v1/")
}

fn is_host(text: &str) -> bool {
    let name = text.strip_suffix(".*").unwrap_or(text);
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte))
}

fn is_filter(text: &str) -> bool {
    tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\"<>\\".contains(c);
    rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty() && rest.chars().all(plain))
}

fn is_origin(text: &str) -> bool {
    is_url(text) && text.matches('/').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("limits.enabld"), Some("limits.enabled"));
        assert_eq!(nearest("token.access_seconds"), Some("tokens.access_seconds"));
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<_> = SETTINGS.iter().map(|s| s.path).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn a_mount_is_a_path_or_a_name() {
        for path in ["/agstack", "/a/b-c"] {
            assert!(is_path(path), "{path}");
        }
        for path in ["agstack", "/agstack/", "//a", "/a b", "/{a}", "/v1", "/v1/x", "/"] {
            assert!(!is_path(path), "{path}");
        }
        assert!(is_host("ur.example") && is_host("ur.*") && is_host("localhost:8080"));
        assert!(!is_host("*") && !is_host("a/b") && !is_host(".*"));
    }

    #[test]
    fn an_origin_has_no_path() {
        assert!(is_origin("https://app.example:8443"));
        assert!(!is_origin("https://app.example/"));
        assert!(!is_origin("*"));
        assert!(!is_url("https://user@host"));
        assert!(!is_url("ftp://host"));
    }
}
