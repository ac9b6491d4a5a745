//! A range that is published once more: ended and gone on with, and asked for twice at once.

use super::{Republishing, borrowed, settings};
use crate::harness::{App, Engine, Line, Listener, Rabbit, Wire, on_both_engines, until};

on_both_engines![
    a_range_that_is_ended_says_where_and_goes_on_there,
    of_two_that_publish_the_same_range_one_does,
];

/// A log of some length, and a broker behind a line.
async fn long_log(engine: Engine, rabbit: &Rabbit) -> (App, Line, Vec<(String, String)>, i64) {
    let line = Line::to(rabbit.host().to_owned(), rabbit.port()).await;
    let mut settings = settings(rabbit, &rabbit.url_through("127.0.0.1", line.port));
    // One message at a time, so that there is a middle.
    settings.push(("REGISTRY__AMQP__WINDOW".to_owned(), "1".to_owned()));
    let app = App::start(engine).await;
    let verb = ["dev", "seed", "--users", "300", "--force"];
    app.place.run(&verb, "").await.unwrap();
    let head = app.log().await.head().await;
    (app, line, settings, head)
}

/// Where the checkpoint of a range is; none: there is none.
async fn reached(app: &App, to: i64) -> Option<i64> {
    let sql = format!("SELECT position FROM checkpoints WHERE follower = 'publish 1-{to}'");
    app.log().await.numbers(&sql).await.first().copied()
}

async fn a_range_that_is_ended_says_where_and_goes_on_there(engine: Engine) {
    let rabbit = Rabbit::shared();
    let replay = format!("{}.replay", rabbit.exchange());
    let queue = rabbit.queue(&replay, "#").await;
    let (app, line, mut settings, head) = long_log(engine, &rabbit).await;
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "1000".to_owned()));
    let settings = borrowed(&settings);
    let mut first = Republishing::start(&app.place, 1, head, &settings);
    until("a checkpoint on its way", || async {
        (reached(&app, head).await > Some(20)).then_some(())
    })
    .await;
    line.is(Wire::Dead);
    first.terminate();
    let told = first.says("stopped at position ").await;
    assert_eq!(first.end().await, Some(1));
    let after = reached(&app, head).await.unwrap();
    assert!(20 < after && after < head, "{after}");
    assert_eq!(
        told,
        format!("stopped at position {after}; the same command goes on there")
    );

    // It has got that far before it has published anything, and has when it is ended at once.
    let mut second = Republishing::start(&app.place, 1, head, &settings);
    second.says(&format!("going on after position {after}")).await;
    let told = second.says("; waiting: the broker ").await;
    let so_far = format!("{after} of {head} ({} %), position {after}; ", after * 100 / head);
    assert!(told.starts_with(&so_far), "{told}");
    second.terminate();
    second.says(&format!("stopped at position {after}; ")).await;
    assert_eq!(second.end().await, Some(1));

    line.is(Wire::Whole);
    let mut third = Republishing::start(&app.place, 1, head, &settings);
    third.says(&format!("published {} events", head - after)).await;
    assert_eq!(third.end().await, Some(0));
    assert_eq!(reached(&app, head).await, None);
    drop(app);
    rabbit.forget(&[&queue], &[&replay]).await;
}

async fn of_two_that_publish_the_same_range_one_does(engine: Engine) {
    const TO: i64 = 40;
    let rabbit = Rabbit::shared();
    let replay = format!("{}.replay", rabbit.exchange());
    let queue = rabbit.queue(&replay, "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let (app, line, mut settings, _) = long_log(engine, &rabbit).await;
    settings.push(("REGISTRY__FOLLOWERS__LEASE_SECONDS".to_owned(), "3".to_owned()));
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "60000".to_owned()));
    let settings = borrowed(&settings);
    line.is(Wire::Dead);
    let mut first = Republishing::start(&app.place, 1, TO, &settings);
    until("the first to begin", || async { reached(&app, TO).await }).await;
    // As long as the first is at it, the second says so and ends.
    let mut second = Republishing::start(&app.place, 1, TO, &settings);
    second.says("; waiting: another process publishes this range").await;
    second.says(" publishes the same range and is at position 0").await;
    assert_eq!(second.end().await, Some(1));
    // One that waits when the first comes to its end does not begin anew.
    let mut third = Republishing::start(&app.place, 1, TO, &settings);
    third.says("; waiting: another process publishes this range").await;
    line.is(Wire::Whole);
    first.says(&format!("published {TO} events")).await;
    assert_eq!(first.end().await, Some(0));
    third.says(" the same range").await;
    assert_eq!(third.end().await, Some(1));
    assert_eq!(reached(&app, TO).await, None, "it is done");
    let heard = listener.hears(usize::try_from(TO).unwrap()).await;
    let positions: Vec<i64> = heard.iter().map(|one| one.number("position")).collect();
    assert_eq!(positions, (1..=TO).collect::<Vec<_>>(), "once");
    drop((app, listener));
    rabbit.forget(&[&queue], &[&replay]).await;
}
