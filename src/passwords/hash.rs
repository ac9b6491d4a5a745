//! One hash at a time: making ours, verifying ours and (later) other systems'.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;

use super::Password;
use super::pool::Memory;
use crate::config;

/// A password's hash as a PHC string. Not printed: it is an answer to guessing.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The PHC string, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The PHC string, for the store.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// What comparing a password with a hash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The password is the one.
    pub ok: bool,
    /// It is, but its hash is weaker than what is made today: hash it again now.
    pub rehash_needed: bool,
}

impl Verdict {
    const NO: Self = Self {
        ok: false,
        rehash_needed: false,
    };
}

/// What a hash costs, at most, before we refuse to compute it: stored hashes may be imported.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 16;

const SALT: usize = 16;
const OUTPUT: usize = 32;

/// How new hashes are made.
#[derive(Debug)]
pub(super) struct Recipe {
    params: Params,
}

impl Recipe {
    pub fn new(config: &config::Passwords) -> Result<Self, argon2::Error> {
        let (memory, passes, lanes) = (config.memory_kib, config.iterations, config.parallelism);
        Ok(Self {
            params: Params::new(memory, passes, lanes, Some(OUTPUT))?,
        })
    }

    /// None only when the machine has no memory left.
    pub fn hash(&self, password: &Password, salt: [u8; SALT], memory: &mut Memory) -> Option<PasswordHash> {
        let mut output = [0; OUTPUT];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        compute(&argon2, password, &salt, &mut output, memory)?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&self.params).try_into().ok()?,
            salt: Some(phc::Salt::new(&salt).ok()?),
            hash: Some(phc::Output::new(&output).ok()?),
        };
        Some(PasswordHash(hash.to_string()))
    }

    /// The work of one verification, for nothing.
    fn pretend(&self, password: &Password, memory: &mut Memory) -> Verdict {
        std::hint::black_box(self.hash(password, [0; SALT], memory));
        Verdict::NO
    }

    /// The work that a weaker stored hash has spared, for nothing: an account from before the parameters were raised is
    /// answered no sooner than nobody's. A hash whose work was lowered since takes longer than nobody's for as long as it
    /// is stored, which nothing here can hide.
    fn make_up(&self, stored: &Params, password: &Password, memory: &mut Memory) {
        let (most, lanes) = (self.params.m_cost(), self.params.p_cost());
        let missing = work(&self.params).saturating_sub(work(stored));
        let whole = u32::try_from(missing / u64::from(most)).unwrap_or(u32::MAX);
        let rest = u32::try_from(missing % u64::from(most)).unwrap_or_default();
        for (memory_kib, passes) in [(most, whole), (rest, 1)] {
            // So little that it is no hash is no time either.
            let Ok(params) = Params::new(memory_kib, passes, lanes, Some(OUTPUT)) else {
                continue;
            };
            let mut output = [0; OUTPUT];
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            std::hint::black_box(compute(&argon2, password, &[0; SALT], &mut output, memory));
        }
    }

    fn is_weaker(&self, stored: &Params) -> bool {
        stored.m_cost() < self.params.m_cost()
            || stored.t_cost() < self.params.t_cost()
            || stored.p_cost() < self.params.p_cost()
    }
}

/// How long a hash takes: the memory it fills, KiB, as often as it does.
fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

/// The one place where a password is worked on. None only when the machine has no memory left, or the hash makes no sense.
fn compute(
    argon2: &Argon2<'_>,
    password: &Password,
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Option<()> {
    #[cfg(test)]
    tests::DONE.with(|done| done.set(done.get() + work(argon2.params())));
    let blocks = memory.blocks(argon2.params().block_count());
    let text = password.expose().as_bytes();
    argon2.hash_password_into_with_memory(text, salt, output, blocks).ok()
}

/// Compares a password with whatever kind of hash is stored. One format, one arm. Takes at least the work of a hash that
/// is made today.
pub(super) fn verify(recipe: &Recipe, password: &Password, stored: Option<&str>, memory: &mut Memory) -> Verdict {
    let verdict = match stored {
        None => return recipe.pretend(password, memory),
        Some(text) if text.starts_with("$argon2") => argon(recipe, password, text, memory),
        Some(_) => None,
    };
    verdict.unwrap_or_else(|| {
        tracing::error!("a stored password hash makes no sense");
        recipe.pretend(password, memory)
    })
}

/// A PHC string of any argon2. None when it makes no sense or costs beyond reason.
fn argon(recipe: &Recipe, password: &Password, stored: &str, memory: &mut Memory) -> Option<Verdict> {
    let hash = phc::PasswordHash::new(stored).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash
        .version
        .map_or(Some(Version::V0x13), |v| Version::try_from(v).ok())?;
    let params = Params::try_from(&hash).ok()?;
    let bearable =
        params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES;
    let (salt, expected) = (hash.salt.filter(|_| bearable)?, hash.hash?);
    let mut output = vec![0; expected.len()];
    let current = algorithm == Algorithm::Argon2id
        && version == Version::V0x13
        && !recipe.is_weaker(&params)
        && expected.len() >= OUTPUT;
    let argon2 = Argon2::new(algorithm, version, params.clone());
    compute(&argon2, password, &salt, &mut output, memory)?;
    recipe.make_up(&params, password, memory);
    let ok = bool::from(output.ct_eq(expected.as_bytes()));
    Some(Verdict {
        ok,
        rehash_needed: ok && !current,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// The work of every hash of this thread.
        pub(super) static DONE: Cell<u64> = const { Cell::new(0) };
    }

    /// The work that something takes.
    fn work_of(does: impl FnOnce()) -> u64 {
        let before = DONE.get();
        does();
        DONE.get() - before
    }

    /// Cheap on purpose: what is tested here does not depend on the price.
    fn recipe(memory_kib: u32, iterations: u32) -> Recipe {
        let config = config::Passwords {
            memory_kib,
            iterations,
            ..config::Passwords::default()
        };
        Recipe::new(&config).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn stored(recipe: &Recipe, text: &str) -> String {
        recipe
            .hash(&password(text), [7; SALT], &mut Memory::default())
            .unwrap()
            .into_string()
    }

    fn verdict(recipe: &Recipe, text: &str, stored: Option<&str>) -> Verdict {
        verify(recipe, &password(text), stored, &mut Memory::default())
    }

    #[test]
    fn a_hash_is_an_argon2id_string_that_other_libraries_verify() {
        use argon2::PasswordVerifier;
        let hash = stored(&recipe(64, 2), "correct horse");
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{hash}");
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", hash.as_str())
                .is_ok()
        );
    }

    #[test]
    fn only_the_password_itself_is_right() {
        let recipe = recipe(64, 2);
        let hash = stored(&recipe, "correct horse");
        let yes = Verdict {
            ok: true,
            rehash_needed: false,
        };
        assert_eq!(verdict(&recipe, "correct horse", Some(&hash)), yes);
        assert_eq!(verdict(&recipe, "Correct horse", Some(&hash)), Verdict::NO);
        assert_eq!(verdict(&recipe, "correct horse", None), Verdict::NO);
    }

    #[test]
    fn a_weaker_hash_asks_to_be_made_again() {
        let weak = stored(&recipe(64, 2), "correct horse");
        let again = |recipe: &Recipe, text| verdict(recipe, text, Some(&weak)).rehash_needed;
        assert!(again(&recipe(128, 2), "correct horse"));
        assert!(again(&recipe(64, 3), "correct horse"));
        assert!(!again(&recipe(128, 2), "wrong horse"));
        assert!(!again(&recipe(32, 1), "correct horse"));
    }

    #[test]
    fn an_account_with_a_weaker_hash_takes_as_much_work_as_nobody() {
        for (stored_with, now) in [
            ((64, 2), (64, 3)),
            ((64, 2), (128, 2)),
            ((64, 2), (200, 1)),
            ((64, 2), (96, 5)),
            ((64, 1), (4_096, 3)),
            ((128, 1), (64, 3)),
            ((64, 2), (64, 2)),
        ] {
            let weak = stored(&recipe(stored_with.0, stored_with.1), "correct horse");
            let recipe = recipe(now.0, now.1);
            let nobody = work_of(|| {
                verdict(&recipe, "wrong horse", None);
            });
            assert_eq!(nobody, u64::from(now.0) * u64::from(now.1));
            for text in ["wrong horse", "correct horse"] {
                let known = work_of(|| {
                    verdict(&recipe, text, Some(&weak));
                });
                assert_eq!(known, nobody, "{stored_with:?} and {now:?}: {text}");
            }
        }
        // What is no hash takes as much too.
        let recipe = recipe(64, 3);
        let odd = work_of(|| {
            verdict(&recipe, "wrong horse", Some("$argon2id$"));
        });
        assert_eq!(odd, 192);
    }

    /// From the PHC reference: argon2i, made by another program.
    #[test]
    fn a_foreign_argon2_string_is_verified_and_replaced() {
        let hash = "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                    $wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
        let verdict = verdict(&recipe(64, 2), "password", Some(hash));
        assert_eq!(
            verdict,
            Verdict {
                ok: true,
                rehash_needed: true
            }
        );
    }

    #[test]
    fn a_hash_that_makes_no_sense_opens_nothing() {
        let recipe = recipe(64, 2);
        for hash in [
            "",
            "plain",
            "$argon2id$",
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA",
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ",
        ] {
            assert_eq!(verdict(&recipe, "plain", Some(hash)), Verdict::NO, "{hash}");
        }
    }
}
