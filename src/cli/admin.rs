//! Administrators at the command line: the first one, for whom nobody could yet ask over HTTP, and one who has lost
//! their password, for whom perhaps nobody else can.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use aggregates::values::Role;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use projections::NameKind;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::flags::{CreateFlags, ResetFlags};
use super::open::Opened;
use super::say;
use crate::config::Config;
use crate::passwords::rules::{OwnData, Weakness};
use crate::passwords::{MOST_BYTES, Password};
use crate::registry::{Asked, Caller, RecoveryError, Refusal, Registration, Registry};
use crate::store::Store;

/// More than any password, and less than a file piped in by mistake.
const MOST_READ: u64 = 8 * MOST_BYTES as u64;

impl CreateFlags {
    /// The password, from where it was said to come from.
    pub fn password(&self) -> Result<Password> {
        password(self.password_stdin)
    }
}

impl ResetFlags {
    /// The password, from where it was said to come from.
    pub fn password(&self) -> Result<Password> {
        password(self.password_stdin)
    }
}

fn password(from_stdin: bool) -> Result<Password> {
    let text = if from_stdin {
        piped(std::io::stdin().lock())?
    } else {
        asked()?
    };
    Ok(Password::parse(&text)?)
}

/// One line, without its end.
fn piped(input: impl std::io::Read) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES));
    input
        .take(MOST_READ)
        .read_to_end(&mut bytes)
        .context("standard input cannot be read")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("the password is not text in UTF-8"))?;
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    ensure!(
        !line.contains(['\n', '\r']),
        "the password on standard input is more than one line"
    );
    Ok(Zeroizing::new(line.to_owned()))
}

/// Twice, because nobody sees what is typed.
fn asked() -> Result<Zeroizing<String>> {
    ensure!(
        std::io::stdin().is_terminal(),
        "no terminal to ask for the password; give it with --password-stdin"
    );
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .context("the terminal cannot be read")
    };
    same(ask("Password: ")?, &ask("The same again: ")?)
}

/// A password that was typed twice.
fn same(password: Zeroizing<String>, again: &Zeroizing<String>) -> Result<Zeroizing<String>> {
    ensure!(password == *again, "the two passwords are not the same");
    Ok(password)
}

/// Makes the account and prints its id. An account made here is active, and its address counts as verified.
pub(super) async fn create(config: Config, who: &CreateFlags, password: Password) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            let id = register(store, &config, who, password).await?;
            say(&id);
            Ok(ExitCode::SUCCESS)
        })
        .await
}

async fn register(store: &Store, config: &Config, who: &CreateFlags, password: Password) -> Result<String> {
    let after = TaskTracker::new();
    let registry = Registry::new(store.clone(), config, after.clone())?;
    let own = OwnData {
        username: Some(who.username.as_str()),
        email: Some(who.email.as_str()),
        phone: None,
    };
    let weak = registry.weaknesses_for(&password, &own);
    if !weak.is_empty() {
        return Err(too_weak(&weak));
    }
    let registration = Registration {
        username: Some(who.username.clone()),
        email: Some(who.email.clone()),
        verified: true,
        role: Some(Role::Admin),
        ..Registration::default()
    };
    let receipt = registry
        .register(&Asked::plainly(Caller::system(store)), &registration, password)
        .await;
    after.close();
    after.wait().await;
    Ok(receipt.map_err(|refusal| refused(&refusal, who))?.id)
}

fn too_weak(weak: &[Weakness]) -> anyhow::Error {
    let weak: Vec<String> = weak.iter().map(ToString::to_string).collect();
    anyhow!("the password {}", weak.join(", and it "))
}

/// Sets the password of an administrator and prints their id.
pub(super) async fn reset_password(config: Config, reset: &ResetFlags, password: Password) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            say(&recover(store, &config, reset, password).await?);
            Ok(ExitCode::SUCCESS)
        })
        .await
}

async fn recover(store: &Store, config: &Config, reset: &ResetFlags, password: Password) -> Result<String> {
    let (kind, name) = match (&reset.who.email, &reset.who.username) {
        (Some(email), _) => (NameKind::Email, email.canonical()),
        (None, Some(username)) => (NameKind::Username, username.canonical()),
        (None, None) => bail!("an address or a name is needed"),
    };
    let after = TaskTracker::new();
    let registry = Registry::new(store.clone(), config, after.clone())?;
    let asked = Asked::plainly(Caller::system(store));
    let done = registry.recover_administrator(&asked, kind, name, password).await;
    after.close();
    after.wait().await;
    match done {
        Ok(receipt) => Ok(receipt.id),
        Err(RecoveryError::Weak(weak)) => Err(too_weak(&weak)),
        Err(RecoveryError::Refused(Refusal::Unavailable { .. })) => {
            bail!("the store is away or too busy; nothing was done, try again")
        }
        Err(other) => bail!("the password was not set: {other}"),
    }
}

/// The refusal as a sentence about this account.
fn refused(refusal: &Refusal, who: &CreateFlags) -> anyhow::Error {
    match refusal {
        Refusal::Taken(NameKind::Username) => anyhow!("the username {} is taken", who.username.as_str()),
        Refusal::Taken(_) => anyhow!("the e-mail address {} is taken", who.email.as_str()),
        Refusal::DomainBlocked(_) => anyhow!("the domain {} may not register", who.email.domain()),
        Refusal::AddressBlocked(_) => anyhow!("the e-mail address {} may not register", who.email.as_str()),
        Refusal::Unavailable { .. } => anyhow!("the store is away or too busy; nothing was done, try again"),
        other => anyhow!("the account was not made: {other}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_piped_password_ends_with_its_line() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            assert_eq!(*piped(text.as_bytes()).unwrap(), "correct horse", "{text:?}");
        }
        assert_eq!(*piped(" a \n".as_bytes()).unwrap(), " a ");
        assert_eq!(*piped("".as_bytes()).unwrap(), "");
    }

    #[test]
    fn a_password_is_taken_if_it_was_typed_the_same_way_twice() {
        let typed = |text: &str| Zeroizing::new(text.to_owned());
        assert_eq!(
            *same(typed("correct horse"), &typed("correct horse")).unwrap(),
            "correct horse"
        );
        for again in ["correct hors", "correct horse ", "Correct horse", ""] {
            let refused = same(typed("correct horse"), &typed(again)).unwrap_err().to_string();
            assert_eq!(refused, "the two passwords are not the same", "{again:?}");
        }
    }

    #[test]
    fn a_file_piped_by_mistake_is_no_password() {
        assert!(piped("one\ntwo\n".as_bytes()).is_err());
        assert!(piped([0xff_u8, b'\n'].as_slice()).is_err());
        assert!(piped(std::io::repeat(b'\n')).is_err());
    }
}
