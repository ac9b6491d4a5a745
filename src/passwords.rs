//! Passwords: what may be one, how they are hashed and verified.
//!
//! Hashing is the most expensive thing a stranger can make the service do, so it has its own few
//! low-priority threads, a short queue, and says no before it says "later".

mod hash;
mod pool;
pub mod rules;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub use self::hash::{PasswordHash, Verdict};
use self::hash::{Recipe, verify};
use self::pool::Pool;
pub use self::text::{MOST_BYTES, MOST_CHARACTERS, Password, PasswordError};
use crate::chance::Chance;
use crate::config;

/// No hashing thread was free in time; nothing was hashed. Ask again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every hashing thread is busy")]
pub struct Busy;

/// The hashing threads could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// The configured price of a hash makes no sense to argon2.
    #[error("`passwords`: {0}")]
    Parameters(argon2::Error),
    /// The system gave no thread.
    #[error("hashing threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Hashes and verifies passwords. Cheap to clone; the threads end with the last clone.
#[derive(Debug, Clone)]
pub struct Hasher {
    pool: Arc<Pool>,
    recipe: Arc<Recipe>,
    chance: Chance,
}

impl Hasher {
    /// Starts the hashing threads.
    pub fn new(config: &config::Passwords, chance: Chance) -> Result<Self, HasherError> {
        let recipe = Recipe::new(config).map_err(HasherError::Parameters)?;
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let wait = Duration::from_millis(config.wait_ms);
        let pool = Arc::new(Pool::start(threads, config.queue, wait)?);
        Ok(Self {
            pool,
            recipe: Arc::new(recipe),
            chance,
        })
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        let (recipe, salt) = (Arc::clone(&self.recipe), self.chance.bytes());
        let hashed = self
            .pool
            .run(move |memory| recipe.hash(&password, salt, memory))
            .await?;
        hashed.ok_or(Busy)
    }

    /// Compares a password with a stored hash. Without one it does the same work and says no, so
    /// that an account's absence does not show in the time.
    pub async fn verify(&self, password: Password, stored: Option<String>) -> Result<Verdict, Busy> {
        let recipe = Arc::clone(&self.recipe);
        self.pool
            .run(move |memory| verify(&recipe, &password, stored.as_deref(), memory))
            .await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
