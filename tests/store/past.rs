//! Time travel: the past is folded to what the live rows were.

use std::collections::BTreeMap;
use std::sync::Arc;

use projections::UserRow;
use user_registry::store::Until;
use uuid::Uuid;

use crate::harness::Database;
use crate::rebuild::{Dice, History};

/// After every command the live rows are kept, and at the end each moment is asked for again.
pub async fn an_account_at_any_position_is_what_it_was_then(database: Arc<Database>) {
    let store = database.open().await;
    let mut compared = 0;
    for seed in 11..=12 {
        let (mut dice, mut history) = (Dice(seed), History::default());
        let first = store.head().await.unwrap().position;
        // What each account was after the commands that ended at a position.
        let mut moments: BTreeMap<i64, Vec<(Uuid, Option<UserRow>)>> = BTreeMap::new();
        for _ in 0..120 {
            history.step(&[&store], &mut dice).await;
            let mut rows = Vec::new();
            for user in &history.users {
                rows.push((*user, store.user(*user).await.unwrap()));
            }
            moments.insert(store.head().await.unwrap().position, rows);
        }
        let head = store.head().await.unwrap().position;
        assert!(head > first + 60, "{head}");
        for (position, rows) in &moments {
            for (user, live) in rows {
                let past = store
                    .walk_user(*user, Until::Position(*position), |_, _| ())
                    .await
                    .unwrap();
                if store.user(*user).await.unwrap().is_some() {
                    assert_eq!(past, *live, "{user} at {position}");
                } else if let (Some(past), Some(live)) = (&past, live) {
                    // Erased since: what is left is the shape.
                    assert_eq!(
                        (past.version, past.log_position, past.status),
                        (live.version, live.log_position, live.status)
                    );
                    assert_eq!((&past.email, &past.username, &past.full_name), (&None, &None, &None));
                } else {
                    assert_eq!(past.is_some(), live.is_some(), "{user} at {position}");
                }
                compared += 1;
            }
        }
        // Position by position: the state after n events, for every n, also within one command.
        for user in &history.users {
            let mut states: BTreeMap<i64, Option<UserRow>> = BTreeMap::new();
            let mut times = BTreeMap::new();
            let end = store
                .walk_user(*user, Until::Position(head), |event, row| {
                    states.insert(event.record.position, row.cloned());
                    times.insert(event.record.recorded_at, event.record.position);
                })
                .await
                .unwrap();
            assert_eq!(
                end,
                store.user(*user).await.unwrap(),
                "the fold at the head is the live row"
            );
            for position in first..=head {
                let expected = states.range(..=position).next_back().and_then(|(_, row)| row.clone());
                let past = store
                    .walk_user(*user, Until::Position(position), |_, _| ())
                    .await
                    .unwrap();
                assert_eq!(past, expected, "{user} at {position}");
                compared += 1;
            }
            for (time, position) in times {
                let past = store.walk_user(*user, Until::Time(time), |_, _| ()).await.unwrap();
                assert_eq!(past, states[&position], "{user} at {time}");
            }
        }
    }
    told!("{}: {compared} moments compared", store.engine_name());
}
