//! The command line: reads flags and configuration, does one verb, says in one sentence what went wrong.
//!
//! Nothing is decided here that the library decides. `anyhow` stands here and nowhere else.

mod admin;
mod audit;
mod config;
mod erase;
mod flags;
mod followers;
mod history;
mod keys;
mod migrate;
mod open;
mod outlets;
mod publish;
mod rebuild;
mod seed;
mod serve;
mod shared_secret;
mod who;

use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use self::flags::{AdminVerb, AuditVerb, Command, DevVerb, Verb};
use crate::config::{Config, ConfigErrors};
use crate::telemetry;

/// The command line or the configuration does not hold; clap ends with the same code.
const USAGE: u8 = 2;
/// How long threads that still read or write a file may hold up the end.
const LAST: Duration = Duration::from_millis(200);

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // What this process writes is its owner's only, also what libraries create, and whatever the shell said.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    telemetry::install_panic_hook();
    // One provider for every TLS connection; somebody was quicker only in a test.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Command::read()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "user-registry: {error:#}");
            if error.is::<ConfigErrors>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let loaded = config::load(&command);
    match command.verb {
        Verb::Config(verb) => config::run(verb, &loaded?),
        Verb::Serve => {
            let config = loaded?;
            let outlets = config::usable(&config)?;
            telemetry::install_log(&config.log)?;
            finish(serve::run(config, outlets))
        }
        Verb::Migrate => one_off(loaded?, |config| finish(migrate::run(config))),
        Verb::Admin(AdminVerb::Create(create)) => one_off(loaded?, |config| {
            finish(admin::create(config, &create, create.password()?))
        }),
        Verb::Admin(AdminVerb::ResetPassword(reset)) => one_off(loaded?, |config| {
            finish(admin::reset_password(config, &reset, reset.password()?))
        }),
        Verb::Keys(verb) => one_off(loaded?, |config| finish(keys::run(config, verb))),
        Verb::Followers(verb) => one_off(loaded?, |config| finish(followers::run(config, verb))),
        Verb::Publish(flags) => one_off(loaded?, |config| finish(publish::run(config, flags))),
        // A file is checked without looking at any configuration: whoever checks it need not have one.
        Verb::Audit(AuditVerb::Verify(flags)) if !flags.store => audit::verify_file(&flags),
        Verb::Audit(verb) => one_off(loaded?, |config| finish(audit::run(config, verb))),
        Verb::History(flags) => one_off(loaded?, |config| finish(history::run(config, flags))),
        Verb::Erase(flags) => one_off(loaded?, |config| finish(erase::run(config, flags))),
        Verb::Dev(DevVerb::Seed(flags)) => one_off(loaded?, |config| finish(seed::run(config, flags))),
        Verb::Rebuild(rebuild) => one_off(loaded?, |config| finish(rebuild::run(config, rebuild))),
    }
}

/// A verb that does one thing and ends.
fn one_off(config: Config, verb: impl FnOnce(Config) -> Result<ExitCode>) -> Result<ExitCode> {
    telemetry::install_log(&config.log)?;
    verb(config)
}

/// Runs a verb to its end. Hashing has threads of its own, so these only wait for the world.
fn finish(verb: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Boxed: the runtime is compiled once, not for every verb.
    let verb: Pin<Box<dyn Future<Output = _>>> = Box::pin(verb);
    let result = runtime.block_on(verb);
    runtime.shutdown_timeout(LAST);
    result
}

/// Writes lines for people and programs to standard output.
///
/// Whoever read it may be gone, as `head` is: that is no failure of what was done.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}
