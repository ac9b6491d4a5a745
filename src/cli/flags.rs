//! What may be typed. Nothing here reads the environment: the configuration's layers do.

use std::path::PathBuf;

use aggregates::values::{Email, Timestamp, Username};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::audit::note::PublicKey;
use crate::config::{Overrides, Secret};
use crate::store::Until;

/// Accounts of people and the standing of their e-mail domains, kept as events.
///
/// Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "user-registry", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(flatten)]
    serve: ServeFlags,
    #[command(subcommand)]
    verb: Option<Typed>,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Everywhere {
    /// Configuration file (TOML); environment and flags win over it
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder of the embedded store, the keys and the outbox [default: ./data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// postgres://… instead of the embedded store; in the environment fewer people can read it
    #[arg(long, value_name = "URL", global = true)]
    database_url: Option<Secret>,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
struct ServeFlags {
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// amqp://… of the broker that hears of events
    #[arg(long, value_name = "URL")]
    amqp_url: Option<Secret>,
}

impl ServeFlags {
    fn given(&self) -> bool {
        self.listen.is_some() || self.amqp_url.is_some()
    }
}

#[derive(Debug, Subcommand)]
enum Typed {
    /// Serve HTTP until told to stop
    Serve(ServeFlags),
    /// Bring the store up to date, make its keys, and end
    Migrate,
    /// Administrators
    #[command(subcommand)]
    Admin(AdminVerb),
    /// Fold the whole log anew and compare it with the live tables
    Rebuild(RebuildFlags),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Keys: those that sign, and the master that wraps all others
    #[command(subcommand)]
    Keys(KeysVerb),
    /// What follows the log: how far it is, and what to do about one that stopped
    #[command(subcommand)]
    Followers(FollowersVerb),
    /// Publish a range of the log once more, to an exchange of its own
    Publish(PublishFlags),
    /// Take an account's history away with its proofs, and check such a file or the whole store
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Print what happened to an account
    History(HistoryFlags),
    /// Erase people once more after the store was restored from a backup
    Erase(EraseFlags),
    /// For trying things out and for measuring
    #[command(subcommand)]
    Dev(DevVerb),
}

/// What to do with followers, also while the service runs.
#[derive(Debug, Subcommand)]
pub(super) enum FollowersVerb {
    /// Print how far each is, why it stands, and what was ever skipped
    List,
    /// Have one that stopped try again at once; ends with 1 when it stops again
    Retry {
        /// The follower
        name: String,
    },
    /// Let one that stopped pass over the event it stands at; that is kept for ever
    Skip(SkipFlags),
    /// Forget how far a publisher was that is switched off for good; switched on again, it begins at the first event
    Forget {
        /// The publisher
        name: String,
    },
}

/// What to skip.
#[derive(Debug, Args)]
pub(super) struct SkipFlags {
    /// The follower
    pub name: String,
    /// Position of the event it stands at
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub position: i64,
    /// Why; kept and shown. No personal data belongs here
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// What to publish again.
#[derive(Debug, Args)]
pub(super) struct PublishFlags {
    /// The first position
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub from: i64,
    /// The last position
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(i64).range(1..))]
    pub to: i64,
    /// amqp://… of the broker; in the environment fewer people can read it
    #[arg(long, value_name = "URL")]
    amqp_url: Option<Secret>,
}

/// What auditors do.
#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// Write one account's events with their proofs to a file
    Export(ExportFlags),
    /// Check such a file, without a store, or a whole store; names the first bad position and ends with 1
    Verify(VerifyFlags),
    /// Print the notary's public keys
    Key,
}

/// What to take away.
#[derive(Debug, Args)]
pub(super) struct ExportFlags {
    /// Whose: an id, an address or a username
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// From this log position or time on
    #[arg(long, value_name = "POSITION|TIME", value_parser = moment)]
    pub from: Option<Until>,
    /// Up to this log position or time
    #[arg(long, value_name = "POSITION|TIME", value_parser = moment)]
    pub to: Option<Until>,
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What to check.
#[derive(Debug, Args)]
pub(super) struct VerifyFlags {
    /// The file of an export
    #[arg(required_unless_present = "store", conflicts_with = "store")]
    pub file: Option<PathBuf>,
    /// Check the whole store instead: events, tree, heads and read models
    #[arg(long)]
    pub store: bool,
    /// A public key you trust, as `audit key` or /v1/log/key told it; more than one may be given
    #[arg(long, value_name = "KEY", value_parser = PublicKey::parse)]
    pub key: Vec<PublicKey>,
    /// Another folder with copies of the signed heads, with --store; more than one may be given
    #[arg(long, value_name = "DIR", requires = "store")]
    pub heads: Vec<PathBuf>,
}

/// Whose history to print.
#[derive(Debug, Args)]
pub(super) struct HistoryFlags {
    /// An id, an address or a username
    #[arg(value_name = "USER")]
    pub user: String,
    /// Print the account as it was at this log position or time instead
    #[arg(long, value_name = "POSITION|TIME", value_parser = moment)]
    pub at: Option<Until>,
    /// JSON, one event a line
    #[arg(long)]
    pub json: bool,
}

/// Whom to erase.
#[derive(Debug, Args)]
pub(super) struct EraseFlags {
    /// The file `erased` beside the signed heads, or any list of ids, one a line
    #[arg(long, value_name = "FILE")]
    pub from_list: PathBuf,
}

fn moment(text: &str) -> Result<Until, String> {
    if let Ok(position) = text.parse() {
        return Ok(Until::Position(position));
    }
    Timestamp::parse(text)
        .map(Until::Time)
        .map_err(|_| "a log position such as 42, or a time such as 2026-11-21T09:30:00Z, is expected".to_owned())
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysVerb {
    /// Print every key's id, master and state, and no key
    List,
    /// Replace keys, also while the service runs
    #[command(subcommand)]
    Rotate(Rotate),
}

/// Which keys to replace.
#[derive(Debug, Subcommand)]
pub(super) enum Rotate {
    /// The key that signs access tokens
    Signing(SigningFlags),
    /// The key that signs heads of the log; what the former one signed stays verifiable
    Notary,
    /// The master key; goes on where an earlier run was ended
    Master(MasterFlags),
}

/// How to replace the key that signs.
#[derive(Debug, Args)]
pub(super) struct SigningFlags {
    /// Seconds in which the new key is published but does not sign yet, so that others fetch it in time
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub after: u32,
    /// Destroy every other signing key at once: what they signed is refused
    #[arg(long, conflicts_with = "after")]
    pub revoke: bool,
}

/// How to replace the master.
#[derive(Debug, Args)]
pub(super) struct MasterFlags {
    /// Only make the next key, to be given to every replica first
    #[arg(long)]
    pub prepare: bool,
}

/// What developers do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum DevVerb {
    /// Fill an empty store with people who never were; nobody can sign in as one of them
    Seed(SeedFlags),
}

/// How many people to make.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct SeedFlags {
    /// How many people there are to be
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub users: u64,
    /// At how many domains their addresses are [default: a hundredth as many]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub domains: Option<u64>,
    /// Also when the store is not empty; goes on with what an earlier run left undone
    #[arg(long)]
    pub force: bool,
}

/// What to do with administrators.
#[derive(Debug, Subcommand)]
pub(super) enum AdminVerb {
    /// Make an administrator's account, also while the service runs
    Create(CreateFlags),
    /// Set the password of an administrator who has lost it; ends every session and lifts a lock
    ResetPassword(ResetFlags),
}

/// Whom to make an administrator.
#[derive(Debug, Args)]
pub(super) struct CreateFlags {
    /// The address; it counts as verified
    #[arg(long, value_parser = Email::parse)]
    pub email: Email,
    /// The name to sign in with
    #[arg(long, value_parser = Username::parse)]
    pub username: Username,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}

/// Whose password to set.
#[derive(Debug, Args)]
pub(super) struct ResetFlags {
    #[command(flatten)]
    pub who: WhoFlags,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}

/// One of the ways to name an account.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhoFlags {
    /// The address of the account
    #[arg(long, value_parser = Email::parse)]
    pub email: Option<Email>,
    /// The name of the account
    #[arg(long, value_parser = Username::parse)]
    pub username: Option<Username>,
}

#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
struct RebuildFlags {
    /// Only compare; ends with 1 when anything differs
    #[arg(long)]
    check: bool,
    /// Replace the rows that differ
    #[arg(long)]
    swap: bool,
}

/// What to do with a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rebuild {
    /// Compare.
    Check,
    /// Compare and replace.
    Swap,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum ConfigVerb {
    /// Say everything that is wrong with it
    Check,
    /// Print every setting, who set it, and no secrets
    Show,
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Verb {
    Serve,
    Migrate,
    Admin(AdminVerb),
    Rebuild(Rebuild),
    Config(ConfigVerb),
    Keys(KeysVerb),
    Followers(FollowersVerb),
    Publish(PublishFlags),
    Audit(AuditVerb),
    History(HistoryFlags),
    Erase(EraseFlags),
    Dev(DevVerb),
}

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Command {
    pub file: Option<PathBuf>,
    pub overrides: Overrides,
    pub verb: Verb,
}

impl Command {
    /// Reads this process's arguments; ends the process with an explanation when they make no sense.
    pub fn read() -> Self {
        Self::parse(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn parse(arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Self, clap::Error> {
        let cli = Cli::from_arg_matches(&Cli::command().try_get_matches_from(arguments)?)?;
        // `user-registry --listen … serve` is as good as `user-registry serve --listen …`.
        let (verb, flags) = match cli.verb {
            None => (Verb::Serve, cli.serve),
            Some(Typed::Serve(flags)) => (
                Verb::Serve,
                ServeFlags {
                    listen: flags.listen.or(cli.serve.listen),
                    amqp_url: flags.amqp_url.or(cli.serve.amqp_url),
                },
            ),
            Some(Typed::Publish(mut publish)) if cli.serve.listen.is_none() => {
                let amqp_url = publish.amqp_url.take().or(cli.serve.amqp_url);
                let flags = ServeFlags { listen: None, amqp_url };
                (Verb::Publish(publish), flags)
            }
            Some(_) if cli.serve.given() => {
                let why = "--listen belongs to `serve`, --amqp-url to `serve` and `publish`";
                return Err(Cli::command().error(ErrorKind::ArgumentConflict, why));
            }
            Some(Typed::Migrate) => (Verb::Migrate, cli.serve),
            Some(Typed::Admin(verb)) => (Verb::Admin(verb), cli.serve),
            Some(Typed::Rebuild(flags)) if flags.swap => (Verb::Rebuild(Rebuild::Swap), cli.serve),
            Some(Typed::Rebuild(_)) => (Verb::Rebuild(Rebuild::Check), cli.serve),
            Some(Typed::Config(verb)) => (Verb::Config(verb), cli.serve),
            Some(Typed::Keys(verb)) => (Verb::Keys(verb), cli.serve),
            Some(Typed::Followers(verb)) => (Verb::Followers(verb), cli.serve),
            Some(Typed::Publish(flags)) => (Verb::Publish(flags), cli.serve),
            Some(Typed::Audit(verb)) => (Verb::Audit(verb), cli.serve),
            Some(Typed::History(flags)) => (Verb::History(flags), cli.serve),
            Some(Typed::Erase(flags)) => (Verb::Erase(flags), cli.serve),
            Some(Typed::Dev(verb)) => (Verb::Dev(verb), cli.serve),
        };
        Ok(Self {
            file: cli.everywhere.config,
            overrides: Overrides {
                listen: flags.listen,
                data_dir: cli.everywhere.data_dir,
                database_url: cli.everywhere.database_url,
                amqp_url: flags.amqp_url,
            },
            verb,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Command::parse(std::iter::once("user-registry").chain(line.split_whitespace())).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_verb_it_serves() {
        let command = parse("").unwrap();
        assert!(matches!(command.verb, Verb::Serve));
        assert_eq!(command.overrides.listen, None);
        for line in [
            "--listen 127.0.0.1:0 --data-dir d --amqp-url amqp://h",
            "serve --listen 127.0.0.1:0 --data-dir d --amqp-url amqp://h",
            "--data-dir d --listen 127.0.0.1:0 serve --amqp-url amqp://h",
        ] {
            let command = parse(line).unwrap();
            assert!(matches!(command.verb, Verb::Serve), "{line}");
            assert_eq!(command.overrides.listen.as_deref(), Some("127.0.0.1:0"), "{line}");
            assert_eq!(command.overrides.data_dir, Some(PathBuf::from("d")), "{line}");
            assert_eq!(command.overrides.amqp_url.unwrap().expose(), "amqp://h", "{line}");
        }
    }

    #[test]
    fn the_global_flags_belong_to_every_verb() {
        for verb in [
            "serve",
            "migrate",
            "admin create --email a@b.example --username ada",
            "rebuild --check",
            "config check",
            "config show",
            "keys list",
            "keys rotate signing --after 0",
            "keys rotate master --prepare",
            "followers list",
            "followers retry mail",
            "followers skip mail --position 7 --reason because",
            "publish --from 1 --to 7",
            "audit export --user ada --out f",
            "audit verify --store",
            "audit verify f",
            "history ada --at 4 --json",
            "erase --from-list f",
        ] {
            let flags = "--config f.toml --data-dir d --database-url postgres://h/d";
            for line in [format!("{verb} {flags}"), format!("{flags} {verb}")] {
                let command = parse(&line).unwrap();
                assert_eq!(command.file, Some(PathBuf::from("f.toml")), "{line}");
                assert_eq!(command.overrides.data_dir, Some(PathBuf::from("d")), "{line}");
                assert_eq!(
                    command.overrides.database_url.unwrap().expose(),
                    "postgres://h/d",
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn flags_of_serve_are_refused_elsewhere() {
        assert_eq!(
            parse("--listen 127.0.0.1:0 migrate").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(
            parse("migrate --listen 127.0.0.1:0").unwrap_err(),
            ErrorKind::UnknownArgument
        );
    }

    #[test]
    fn an_administrator_needs_an_address_and_a_name() {
        let command = parse("admin create --email Ada@Mill.example --username ada --password-stdin").unwrap();
        let Verb::Admin(AdminVerb::Create(create)) = command.verb else {
            panic!("not admin create")
        };
        assert_eq!(create.email.canonical(), "ada@mill.example");
        assert!(create.password_stdin);
        assert_eq!(
            parse("admin create --username ada").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("admin create --email a@b.example").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        let wrong = parse("admin create --email nobody --username ada");
        assert_eq!(wrong.unwrap_err(), ErrorKind::ValueValidation);
    }

    #[test]
    fn a_reset_needs_one_way_to_name_the_account() {
        for line in [
            "admin reset-password --email ada@mill.example",
            "admin reset-password --username ada --password-stdin",
        ] {
            let command = parse(line).unwrap();
            assert!(
                matches!(command.verb, Verb::Admin(AdminVerb::ResetPassword(_))),
                "{line}"
            );
        }
        let none = parse("admin reset-password --password-stdin");
        assert_eq!(none.unwrap_err(), ErrorKind::MissingRequiredArgument);
        let both = parse("admin reset-password --email a@b.example --username ada");
        assert_eq!(both.unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_rebuild_checks_or_swaps() {
        let verb = |line| parse(line).map(|command| command.verb);
        assert!(matches!(
            verb("rebuild --check").unwrap(),
            Verb::Rebuild(Rebuild::Check)
        ));
        assert!(matches!(verb("rebuild --swap").unwrap(), Verb::Rebuild(Rebuild::Swap)));
        assert_eq!(verb("rebuild").unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(verb("rebuild --check --swap").unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn a_broker_may_be_named_before_or_behind_publish() {
        for line in [
            "publish --from 1 --to 7 --amqp-url amqp://h",
            "--amqp-url amqp://h publish --from 1 --to 7",
        ] {
            let command = parse(line).unwrap();
            assert_eq!(command.overrides.amqp_url.unwrap().expose(), "amqp://h", "{line}");
        }
        let wrong = parse("--listen 127.0.0.1:0 publish --from 1 --to 7");
        assert_eq!(wrong.unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(
            parse("publish --from 0 --to 7").unwrap_err(),
            ErrorKind::ValueValidation
        );
    }

    #[test]
    fn a_skip_needs_a_position_and_a_reason() {
        for line in [
            "followers skip mail --position 7",
            "followers skip mail --reason because",
        ] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::MissingRequiredArgument, "{line}");
        }
    }

    #[test]
    fn no_explanation_repeats_a_database_url() {
        for line in [
            "--database-url postgres://u:hunter2@h/d --nonsense",
            "--databse-url=postgres://u:hunter2@h/d",
            "--database-url postgres://u:hunter2@h/d --database-url postgres://u:hunter2@h/d",
            "migrate --database-url postgres://u:hunter2@h/d --listen x",
        ] {
            let arguments = std::iter::once("user-registry").chain(line.split_whitespace());
            let error = Command::parse(arguments).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let command = parse("--database-url postgres://u:hunter2@h/d").unwrap();
        assert!(!format!("{command:?}").contains("hunter2"));
    }

    #[test]
    fn the_help_names_no_variable_of_this_process() {
        let help = Cli::command().render_long_help().to_string();
        assert!(!help.contains("[env"), "{help}");
        for word in [
            "serve",
            "migrate",
            "admin",
            "rebuild",
            "config",
            "--listen",
            "--data-dir",
        ] {
            assert!(help.contains(word), "{word} is missing in\n{help}");
        }
    }
}
