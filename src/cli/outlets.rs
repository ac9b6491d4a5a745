//! How messages leave: what the configuration says of mail and SMS, read and checked before anything starts.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lettre::message::Mailbox;
use tracing::warn;

use super::open;
use crate::config::{Config, ConfigError};
use crate::follow::amqp::{Broker, BrokerAddress, Content, Exchange, Publisher};
use crate::follow::templates::Templates;
use crate::follow::{
    Gateway, GatewayAddress, Links, MailFollower, MailOptions, Mailer, Outbox, Sms, SmsFollower, SmsOptions, Smtp,
    SmtpServer,
};
use crate::public::Public;
use crate::registry::{NoticeRules, SimDelay};
use crate::store::{AGAIN, Store};
use crate::tokens::SharedKey;

/// What mails and short messages are made and carried away by.
#[derive(Debug)]
pub(super) struct Outlets {
    from: Mailbox,
    templates: Templates,
    server: Option<SmtpServer>,
    gateway: Option<GatewayAddress>,
    broker: Option<Broker>,
}

impl Outlets {
    /// Reads what is set. Every mistake at once, and none repeats a value.
    pub fn of(config: &Config) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut wrong = |setting: &str, problem: &dyn std::fmt::Display| {
            errors.push(ConfigError::Together(format!("`{setting}` must be {problem}")));
        };
        let server = config.mail.smtp_url.as_ref().and_then(|url| {
            let parsed = SmtpServer::parse(url.expose());
            parsed.map_err(|problem| wrong("mail.smtp_url", &problem)).ok()
        });
        let gateway = config.sms.gateway_url.as_ref().and_then(|url| {
            let parsed = GatewayAddress::parse(url.expose());
            parsed.map_err(|problem| wrong("sms.gateway_url", &problem)).ok()
        });
        let token = config.sms.gateway_token.as_ref();
        if token.is_some_and(|token| token.expose().is_empty() || !token.expose().bytes().all(|b| b.is_ascii_graphic()))
        {
            wrong("sms.gateway_token", &"visible ASCII characters");
        }
        let from: Option<Mailbox> = config.mail.from.parse().ok();
        if from.is_none() {
            wrong(
                "mail.from",
                &"an address such as registry@farm.example or Registry <registry@farm.example>",
            );
        }
        let broker = config.amqp_url.as_ref().and_then(|url| {
            let address = BrokerAddress::parse(url.expose());
            address.map_err(|problem| wrong("amqp_url", &problem)).ok()
        });
        let trusted = config.amqp.ca_file.as_ref().and_then(|path| {
            let text = std::fs::read_to_string(path);
            if !matches!(&text, Ok(text) if text.contains("-----BEGIN CERTIFICATE-----")) {
                wrong("amqp.ca_file", &"a readable file of certificates in PEM");
            }
            text.ok()
        });
        let templates = Templates::load(config.mail.templates.as_deref()).map_err(|problems| {
            errors.extend(
                problems
                    .iter()
                    .map(|problem| ConfigError::Together(format!("`mail.templates`: {problem}"))),
            );
        });
        let broker = broker.map(|address| broker_of(config, address, trusted));
        match (from, templates) {
            (Some(from), Ok(templates)) if errors.is_empty() => Ok(Self {
                from,
                templates,
                server,
                gateway,
                broker,
            }),
            _ => Err(errors),
        }
    }

    /// What publishes events: those without personal data, and the others where that is switched on.
    pub fn publishers(&self, config: &Config) -> Vec<Publisher> {
        let (Some(broker), amqp) = (&self.broker, &config.amqp) else {
            return Vec::new();
        };
        let public = Public::new(config.public_url.as_deref());
        let publisher = |name: &'static str, exchange: &str, queues: &[String], content| Publisher {
            name: name.to_owned(),
            known_as: Some(name),
            broker: broker.clone(),
            exchange: exchange_of(config, exchange, queues),
            content,
            after: 0,
            until: None,
        };
        let mut publishers = vec![publisher(
            "amqp",
            &amqp.exchange,
            &amqp.queues,
            Content::Public(public.clone()),
        )];
        if !amqp.pii_exchange.is_empty() {
            let content = Content::Personal(public);
            let mut personal = publisher("amqp-pii", &amqp.pii_exchange, &amqp.pii_queues, content);
            // Whoever listens to what nobody takes need not be one who may hear this.
            personal.exchange.alternate = None;
            publishers.push(personal);
        }
        publishers
    }

    /// What publishes a range once more. None: no broker is named.
    pub fn republisher(&self, config: &Config, from: i64, to: i64) -> Option<Publisher> {
        Some(Publisher {
            name: format!("{AGAIN}{from}-{to}"),
            known_as: None,
            broker: self.broker.clone()?,
            exchange: exchange_of(config, &config.amqp.replay_exchange, &[]),
            content: Content::Public(Public::new(config.public_url.as_deref())),
            after: from - 1,
            until: Some(to),
        })
    }

    /// What sends mails.
    pub fn mails(
        &self,
        store: &Store,
        config: &Config,
        listening: SocketAddr,
        shared: Option<SharedKey>,
    ) -> Result<MailFollower> {
        let step = Duration::from_millis(config.mail.timeout_ms);
        let mailer = match &self.server {
            Some(server) => {
                let smtp = Smtp::new(server.clone(), &self.from, step);
                Mailer::Smtp(smtp.context("the mail server of `mail.smtp_url` cannot be used")?)
            }
            None => Mailer::Outbox(outbox(&open::mail_outbox(config))?),
        };
        let shown = format!("http://{listening}");
        if config.public_url.is_none() && !listening.ip().is_loopback() {
            warn!(
                links = shown,
                "`public_url` is not set: links in mails begin with the listening address"
            );
        }
        let public_url = config.public_url.as_deref().unwrap_or(&shown);
        let links =
            Links::new(store.keyring().clone(), public_url).agstack(&config.agstack.link_base(public_url), shared);
        let options = MailOptions {
            from: self.from.clone(),
            templates: self.templates.clone(),
            platform_url: config
                .cadasta
                .link_url
                .clone()
                .or_else(|| config.public_url.clone())
                .unwrap_or_else(|| shown.clone()),
            step,
            pause: Duration::from_millis(config.mail.retry_ms),
            most: config.mail.attempts,
        };
        Ok(MailFollower::new(store.clone(), links, mailer, options))
    }

    /// What sends short messages.
    pub fn messages(&self, store: &Store, config: &Config) -> Result<SmsFollower> {
        let answer = Duration::from_millis(config.sms.timeout_ms);
        let sms = match &self.gateway {
            Some(address) => {
                let token = config.sms.gateway_token.as_ref().map(crate::config::Secret::expose);
                let gateway = Gateway::new(address.clone(), token, answer);
                Sms::Gateway(gateway.context("the gateway of `sms.gateway_url` cannot be used")?)
            }
            None => Sms::Outbox(outbox(&open::sms_outbox(config))?),
        };
        let options = SmsOptions {
            templates: self.templates.clone(),
            answer,
            pause: Duration::from_millis(config.sms.retry_ms),
            most: config.sms.attempts,
            sim_delay: SimDelay::hours(config.xhoppe.recovery_delay_after_sim_change),
            notices: NoticeRules::new(config),
        };
        Ok(SmsFollower::new(store.clone(), sms, options))
    }
}

fn broker_of(config: &Config, address: BrokerAddress, trusted: Option<String>) -> Broker {
    let amqp = &config.amqp;
    Broker {
        address,
        trusted,
        answer: Duration::from_millis(amqp.timeout_ms),
        pause: Duration::from_millis(amqp.retry_ms),
        longest: Duration::from_millis(amqp.longest_retry_ms),
        window: amqp.window,
        mode: amqp.mode,
    }
}

fn exchange_of(config: &Config, name: &str, queues: &[String]) -> Exchange {
    let alternate = &config.amqp.alternate_exchange;
    Exchange {
        name: name.to_owned(),
        alternate: (!alternate.is_empty()).then(|| alternate.clone()),
        // Each was checked when the configuration was read.
        queues: queues.iter().filter_map(|queue| queue.parse().ok()).collect(),
    }
}

fn outbox(folder: &Path) -> Result<Outbox> {
    Outbox::open(folder).with_context(|| format!("the folder {} cannot be used", folder.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_messages_need_is_checked_at_once_and_no_value_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("verify-phone.sms"), "{{pin}}").unwrap();
        let mut config = Config::default();
        config.mail.smtp_url = Some("smtp://hunter2@h".into());
        config.mail.from = "hunter2".into();
        config.mail.templates = Some(folder.path().to_owned());
        config.sms.gateway_url = Some("hunter2".into());
        config.sms.gateway_token = Some("hunter2\n".into());
        config.amqp_url = Some("hunter2".into());
        config.amqp.ca_file = Some(folder.path().join("none"));
        let told: Vec<String> = Outlets::of(&config)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        let told = told.join("\n").replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(told, @r"
        `mail.smtp_url` must be an address such as smtp://mail.example:25, smtps://user:password@mail.example or smtp://user:password@mail.example?tls=required (tls is none, offered or required)
        `sms.gateway_url` must be an address such as https://user:password@gateway.example/messages
        `sms.gateway_token` must be visible ASCII characters
        `mail.from` must be an address such as registry@farm.example or Registry <registry@farm.example>
        `amqp_url` must be an address such as amqp://user:password@broker.example/vhost or amqps://user:password@broker.example
        `amqp.ca_file` must be a readable file of certificates in PEM
        `mail.templates`: FOLDER/verify-phone.sms: line 1: unknown placeholder {{pin}}; here are {{code}}
        ");
    }

    #[test]
    fn a_mail_server_and_a_gateway_are_taken() {
        let mut config = Config::default();
        config.mail.smtp_url = Some("smtps://u:hunter2@h".into());
        config.sms.gateway_url = Some("https://u:hunter2@h".into());
        config.sms.gateway_token = Some("hunter2".into());
        let outlets = Outlets::of(&config).unwrap();
        assert!(outlets.server.is_some() && outlets.gateway.is_some());
        assert_eq!(outlets.from.email.to_string(), "registry@localhost");
    }
}
