//! How long the service takes to start, and what it weighs when nothing happens, with few and with many accounts.

use std::time::Duration;

use anyhow::Result;
use user_registry::registry::Seed;

use crate::Scale;
use crate::client::Connection;
use crate::place::Place;
use crate::report::{Limit, Report};
use crate::service::Process;

/// How long it is left alone before it is weighed.
const REST: Duration = Duration::from_secs(2);

pub async fn run(engine: &str, scale: Scale, report: &mut Report) -> Result<()> {
    let place = if engine == "postgres" {
        Place::postgres().await?
    } else {
        Place::sqlite().await?
    };
    for users in [1_000.min(scale.users), scale.users] {
        let seed = Seed {
            users: users.try_into()?,
            domains: 1_000,
        };
        seed.run(&place.store, |_| ()).await?;
        let (mut ready, mut resident) = (vec![], vec![]);
        for _ in 0..scale.rounds {
            let service = tokio::task::block_in_place(|| Process::service(&place))?;
            ready.push(service.ready.as_secs_f64() * 1e3);
            Connection::open(&service.address)
                .await?
                .get("/readyz", None)
                .await?
                .expect(200)?;
            tokio::time::sleep(REST).await;
            resident.push(service.resident_mb()?);
        }
        let of = |what: &str| format!("{what}, {users} users, {engine}");
        report.alone(&of("start"), "ms", &ready, Limit::Most(150.0));
        report.alone(&of("idle memory"), "MB", &resident, Limit::Most(40.0));
    }
    place.remove().await
}
