//! The supervisor of one publisher: takes the lease, connects, publishes, keeps the checkpoint, and after any trouble
//! begins again where everything is confirmed.
//!
//! While the broker is away the lease is given back between attempts, so that a replica that reaches it may go on.

use std::collections::{BTreeSet, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lapin::Confirmation;
use metrics::{Counter, counter, gauge};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::broker::{self, Confirming, Session, Sign};
use super::message::Message;
use super::reader::{self, Found};
use super::window::Window;
use super::{Broker, Content, Exchange};
use crate::follow::delivery::Problem;
use crate::follow::{FollowOptions, GRACE, Health, pause};
use crate::store::{Lease, Store, StoreError, Trouble};

/// How often the checkpoint moves at most: each move is a transaction of its own.
const SAVE: Duration = Duration::from_millis(50);
/// Why it waits when the broker is short of memory or room.
const BLOCKED: &str = "the broker takes no messages for now";
/// Why it stands when a queue is full.
const REFUSED: &str = "the broker refuses a message";
/// Why a range waits that another process publishes.
const ELSEWHERE: &str = "another process publishes this range";
/// How often to look whether somebody wants it tried again.
const LOOK: Duration = Duration::from_millis(500);

/// What is published where.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The checkpoint's name.
    pub name: String,
    /// Under which name `/readyz` tells of an event that nothing can be made of.
    pub known_as: Option<&'static str>,
    /// The broker.
    pub broker: Broker,
    /// The exchange.
    pub exchange: Exchange,
    /// What is told of events.
    pub content: Content,
    /// Where it begins that has no checkpoint yet: after this position.
    pub after: i64,
    /// Where it ends, and its checkpoint with it; none: never.
    pub until: Option<i64>,
}

/// How publishing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to.
    Stopped,
    /// Everything up to its end is confirmed.
    Done,
    /// Another process publishes the same range, or has published it. Only of one that ends.
    Elsewhere,
}

/// How far it is, for whoever watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here is confirmed.
    pub position: i64,
    /// How many messages were confirmed since this process began.
    pub published: u64,
    /// How many of them no queue took.
    pub returned: u64,
    /// Why nothing goes on, if nothing does.
    pub problem: Option<String>,
}

/// Publishes until told to stop, or to the end.
pub async fn publish(
    publisher: Publisher,
    store: Store,
    owner: String,
    options: FollowOptions,
    health: Health,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
) -> Outcome {
    let label = || publisher.exchange.name.clone();
    let mut run = Run {
        published: counter!("registry_amqp_published_total", "exchange" => label()),
        returned: counter!("registry_amqp_returned_total", "exchange" => label()),
        refused: counter!("registry_amqp_refused_total", "exchange" => label()),
        lost: counter!("registry_amqp_connections_lost_total", "exchange" => label()),
        publisher,
        store,
        owner,
        options,
        health,
        progress,
        stop,
        failures: 0,
        careful: 0,
        begun: false,
        told: BTreeSet::new(),
    };
    let mut elsewhere: Option<Instant> = None;
    run.connected(false);
    run.blocked(false);
    loop {
        if run.stop.is_cancelled() {
            return Outcome::Stopped;
        }
        let ended = run.tenure().await;
        if !matches!(ended, Ok(End::Elsewhere)) {
            elsewhere = None;
        }
        match ended {
            Ok(End::Stopped) => return Outcome::Stopped,
            Ok(End::Done) => return Outcome::Done,
            Ok(End::Gone) => return Outcome::Elsewhere,
            Ok(End::Elsewhere) => {
                // The lease of a process that has died lapses meanwhile.
                let since = *elsewhere.get_or_insert_with(Instant::now);
                if run.publisher.until.is_some() && since.elapsed() > run.options.lease + 2 * run.options.retry {
                    return Outcome::Elsewhere;
                }
                pause(run.options.retry, &run.stop).await;
            }
            Ok(End::Stands) => run.wait().await,
            Err(problem) => {
                warn!(follower = run.publisher.name, %problem, "a publisher lost its store; trying again");
                pause(run.options.retry, &run.stop).await;
            }
        }
    }
}

/// How a tenure ended.
enum End {
    /// The process ends.
    Stopped,
    /// Everything is published.
    Done,
    /// Another process has the lease.
    Elsewhere,
    /// Another process has come to the end.
    Gone,
    /// Something is in the way; it stands in the checkpoint.
    Stands,
}

/// What is in the way.
enum Obstacle {
    /// The broker, at this event.
    Outside(i64, Problem),
    /// The broker, which minds the message of this event and no other.
    Message(i64, Problem),
    /// An event that nothing can be made of.
    Event(i64, String),
}

/// How publishing on one connection ended.
enum Flow {
    End(End),
    Stopped(Obstacle),
}

struct Run {
    publisher: Publisher,
    store: Store,
    owner: String,
    options: FollowOptions,
    health: Health,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
    published: Counter,
    returned: Counter,
    refused: Counter,
    lost: Counter,
    /// Failures since the last confirmation.
    failures: u32,
    /// So many more messages go one at a time, since one was refused: what goes out again and again must not be a whole
    /// window, and nothing may be taken before the one that is refused.
    careful: usize,
    /// There was a checkpoint. One of a range is gone only when the range is published, and must not begin anew.
    begun: bool,
    /// What need not be said again.
    told: BTreeSet<String>,
}

/// What goes on on one connection.
struct Stream {
    window: Window<Confirming>,
    backlog: VecDeque<(i64, Option<Message>)>,
    /// The reader has seen the end of the log.
    quiet: bool,
    /// The reader's last word.
    last: Option<Found>,
    blocked: bool,
    /// When the first confirmation is due.
    due: Instant,
    /// When the checkpoint was last written, or the lease renewed.
    saved: Instant,
}

impl Run {
    fn lease_micros(&self) -> i64 {
        self.options.lease_micros()
    }

    fn connected(&self, connected: bool) {
        let exchange = self.publisher.exchange.name.clone();
        gauge!("registry_amqp_connected", "exchange" => exchange).set(f64::from(u8::from(connected)));
    }

    fn blocked(&self, blocked: bool) {
        let exchange = self.publisher.exchange.name.clone();
        gauge!("registry_amqp_blocked", "exchange" => exchange).set(f64::from(u8::from(blocked)));
    }

    /// Tells `/readyz` of an event that this cannot be done with, or that there is none.
    fn unwell(&self, position: Option<i64>) {
        if let Some(name) = self.publisher.known_as {
            self.health.set(name, position);
        }
    }

    /// From getting the lease to losing it, to trouble, or to the end.
    async fn tenure(&mut self) -> Result<End, StoreError> {
        let name = self.publisher.name.clone();
        let Some(mut lease) = self.lease().await? else {
            return self.elsewhere().await;
        };
        self.unwell(lease.stopped_at);
        // Another process was refused, or this one before it was started anew.
        if self.careful == 0 && (lease.stopped_at.is_some() || lease.error.as_deref() == Some(REFUSED)) {
            self.takes_care();
        }
        if self.publisher.until.is_some_and(|until| lease.position >= until) {
            self.store.finish(&lease).await?;
            return Ok(End::Done);
        }
        let mut told = std::mem::take(&mut self.told);
        let opening = Session::open(&self.publisher.broker, &self.publisher.exchange, &mut told);
        let opened = self.held(&lease, opening).await;
        self.told = told;
        let flow = match opened {
            None => Flow::End(End::Stopped),
            Some(Err(problem)) => Flow::Stopped(Obstacle::Outside(lease.position + 1, problem)),
            Some(Ok(mut session)) => {
                info!(
                    follower = name,
                    position = lease.position,
                    epoch = lease.epoch,
                    broker = ?self.publisher.broker.address,
                    "publishing"
                );
                self.connected(true);
                let flow = self.stream(&mut lease, &mut session).await;
                self.connected(false);
                self.blocked(false);
                session.close().await;
                flow?
            }
        };
        let end = match flow {
            Flow::End(end) => end,
            Flow::Stopped(obstacle) => {
                self.stands(&mut lease, obstacle).await?;
                End::Stands
            }
        };
        match end {
            End::Elsewhere | End::Gone => {}
            End::Done => self.store.finish(&lease).await?,
            End::Stopped | End::Stands => self.store.release(&lease).await?,
        }
        Ok(end)
    }

    /// Takes the lease. None: another process has it, or has come to the end of the range.
    async fn lease(&mut self) -> Result<Option<Lease>, StoreError> {
        let (publisher, micros) = (&self.publisher, self.lease_micros());
        let lease = if self.begun && publisher.until.is_some() {
            self.store.lease_again(&publisher.name, &self.owner, micros).await?
        } else {
            self.store
                .lease(&publisher.name, &self.owner, micros, publisher.after)
                .await?
        };
        self.begun = true;
        Ok(lease)
    }

    /// What another process that has the lease has come to.
    async fn elsewhere(&self) -> Result<End, StoreError> {
        if let Some(name) = self.publisher.known_as {
            self.health.learn(name, &self.store).await?;
        }
        if self.publisher.until.is_none() {
            return Ok(End::Elsewhere);
        }
        let Some(checkpoint) = self.store.checkpoint(&self.publisher.name).await? else {
            return Ok(End::Gone);
        };
        self.progress.send_modify(|progress| {
            progress.position = checkpoint.position;
            progress.problem = Some(ELSEWHERE.to_owned());
        });
        Ok(End::Elsewhere)
    }

    /// Does something and keeps the lease meanwhile. None: the process ends.
    async fn held<T>(&self, lease: &Lease, work: impl Future<Output = T>) -> Option<T> {
        let every = self.options.lease / 3;
        let mut renewal = tokio::time::interval_at(Instant::now() + every, every);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                _ = renewal.tick() => {
                    let renewing = self.store.lease(&lease.follower, &lease.owner, self.lease_micros(), lease.position);
                    // Whether it is still ours is seen when the checkpoint moves.
                    if let Err(problem) = renewing.await {
                        warn!(follower = lease.follower, %problem, "a lease could not be renewed");
                    }
                }
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Writes down what is in the way, and says it once.
    async fn stands(&mut self, lease: &mut Lease, obstacle: Obstacle) -> Result<(), StoreError> {
        self.failures = self.failures.saturating_add(1);
        let follower = &lease.follower;
        let said = |problem: &str| lease.error.as_deref() == Some(problem);
        let (position, problem, trouble) = match obstacle {
            Obstacle::Outside(position, problem) => {
                self.lost.increment(1);
                if !said(&problem.0) {
                    warn!(follower, position, %problem, "an event waits for the broker");
                }
                (position, problem.0, Trouble::Outside)
            }
            Obstacle::Message(position, problem) => {
                self.lost.increment(1);
                if !said(&problem.0) || lease.stopped_at != Some(position) {
                    error!(follower, position, %problem, "a publisher stopped at an event that the broker does not take");
                }
                (position, problem.0, Trouble::Event)
            }
            Obstacle::Event(position, problem) => {
                if !said(&problem) {
                    error!(
                        follower,
                        position, problem, "a publisher stopped at an event that nothing can be made of"
                    );
                }
                (position, problem, Trouble::Event)
            }
        };
        self.store.stopped(lease, position, &problem, trouble).await?;
        self.unwell((trouble == Trouble::Event).then_some(position));
        self.progress
            .send_modify(|progress| progress.problem = Some(problem.clone()));
        lease.error = Some(problem);
        Ok(())
    }

    /// Waits before the next attempt, each time longer, and never at the same moments as other replicas. Less, if
    /// somebody asks for another attempt or another process has made one that worked.
    async fn wait(&self) {
        let broker = &self.publisher.broker;
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = broker.pause.saturating_mul(1 << doublings).min(broker.longest);
        let [chance] = self.store.chance().bytes::<1>();
        let until = Instant::now() + longest.mul_f64(0.5 + f64::from(chance) / 510.0);
        while Instant::now() < until && !self.stop.is_cancelled() {
            pause(LOOK.min(until - Instant::now()), &self.stop).await;
            let checkpoint = self.store.checkpoint(&self.publisher.name).await;
            if matches!(checkpoint, Ok(Some(checkpoint)) if checkpoint.error.is_none()) {
                return;
            }
        }
    }

    /// Publishes on one connection.
    #[expect(
        clippy::too_many_lines,
        reason = "one loop that waits for all that can happen, told in one piece"
    )]
    async fn stream(&mut self, lease: &mut Lease, session: &mut Session) -> Result<Flow, StoreError> {
        let publisher = &self.publisher;
        let mut found = reader::read(
            self.store.clone(),
            publisher.content.clone(),
            publisher.broker.mode,
            lease.position,
            publisher.until,
        );
        let (answer, renewal) = (publisher.broker.answer, self.options.lease / 3);
        let mut stream = Stream {
            window: Window::after(lease.position),
            backlog: VecDeque::new(),
            quiet: false,
            last: None,
            blocked: false,
            due: Instant::now() + answer,
            saved: Instant::now(),
        };
        loop {
            self.fill(&mut stream, session);
            let idle = stream.window.awaited() == 0 && stream.backlog.is_empty();
            let dirty = stream.window.done() > lease.position;
            if idle {
                if self.publisher.until.is_some_and(|until| stream.window.done() >= until) {
                    let kept = self.save(lease, &mut stream).await?;
                    return Ok(Flow::End(if kept { End::Done } else { End::Elsewhere }));
                }
                match stream.last.take() {
                    Some(Found::Broken(position, problem)) => {
                        return self
                            .gives_up(lease, &mut stream, Obstacle::Event(position, problem))
                            .await;
                    }
                    Some(Found::Trouble(problem)) => return Err(problem),
                    _ => {}
                }
            }
            let recovered = idle && stream.quiet && !stream.blocked && lease.error.is_some();
            if (recovered || dirty && stream.saved.elapsed() >= SAVE) && !self.save(lease, &mut stream).await? {
                return Ok(Flow::End(End::Elsewhere));
            }
            let dirty = stream.window.done() > lease.position;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.finish(lease, &mut stream).await?;
                    return Ok(Flow::End(End::Stopped));
                }
                sign = session.sign() => match sign {
                    Sign::Blocked => {
                        stream.blocked = true;
                        self.blocked(true);
                        warn!(follower = lease.follower, problem = BLOCKED, "an event waits for the broker");
                        self.says_blocked(lease, stream.window.done() + 1).await?;
                    }
                    Sign::Unblocked => {
                        stream.blocked = false;
                        self.blocked(false);
                        self.progress.send_modify(|progress| progress.problem = None);
                        stream.due = Instant::now() + answer;
                        info!(follower = lease.follower, "the broker takes messages again");
                    }
                    Sign::Gone(problem) => {
                        let obstacle = self.gone(&mut stream, problem).await;
                        return self.gives_up(lease, &mut stream, obstacle).await;
                    }
                },
                (_, came) = first(&mut stream.window), if stream.window.awaited() > 0 => {
                    if let Err(obstacle) = self.came(&mut stream, came) {
                        return self.gives_up(lease, &mut stream, obstacle).await;
                    }
                    stream.due = Instant::now() + answer;
                }
                next = found.recv(), if stream.backlog.is_empty() && stream.last.is_none() => match next {
                    Some(Found::Page(page)) => {
                        stream.quiet = false;
                        stream.backlog = page.into();
                        if stream.window.awaited() == 0 {
                            stream.due = Instant::now() + answer;
                        }
                    }
                    Some(Found::Quiet) | None => {
                        stream.quiet = true;
                        if next.is_none() {
                            stream.last = Some(Found::Quiet);
                        }
                    }
                    Some(last) => stream.last = Some(last),
                },
                () = sleep_until(stream.saved + SAVE), if dirty => {}
                () = sleep_until(stream.due), if stream.window.awaited() > 0 && !stream.blocked => {
                    let position = stream.window.done() + 1;
                    let problem = Problem::new("the broker does not confirm in time");
                    return self.gives_up(lease, &mut stream, Obstacle::Outside(position, problem)).await;
                }
                () = sleep_until(stream.saved + renewal) => {
                    let renewing = self.store.lease(&lease.follower, &lease.owner, self.lease_micros(), lease.position);
                    let Some(renewed) = renewing.await? else {
                        return Ok(Flow::End(End::Elsewhere));
                    };
                    stream.saved = Instant::now();
                    // Somebody has asked for another attempt, and the broker blocks all the same.
                    if stream.blocked && renewed.error.is_none() {
                        self.says_blocked(lease, stream.window.done() + 1).await?;
                    }
                }
            }
        }
    }

    /// Hands over what the window has room for.
    fn fill(&self, stream: &mut Stream, session: &Session) {
        let room = if self.careful > 0 {
            1
        } else {
            self.publisher.broker.window
        };
        while stream.window.awaited() < room
            && let Some((position, message)) = stream.backlog.pop_front()
        {
            stream
                .window
                .push(position, message.map(|message| session.publish(message)));
        }
    }

    /// What is in the way when the connection is gone, or the channel on it. What becomes of the messages under way says
    /// more, and is told at the same moment: it may have been one of them.
    async fn gone(&mut self, stream: &mut Stream, problem: Problem) -> Obstacle {
        let told = match stream.window.awaited() {
            0 => None,
            _ => timeout(GRACE, first(&mut stream.window)).await.ok(),
        };
        told.and_then(|(_, came)| self.came(stream, came).err())
            .unwrap_or_else(|| Obstacle::Outside(stream.window.done() + 1, problem))
    }

    /// As many as would go together go one by one: a queue that was full is likely to be soon again.
    fn takes_care(&mut self) {
        self.careful = self.publisher.broker.window;
    }

    /// Takes the first confirmation down, and those behind it that are there already.
    fn came(&mut self, stream: &mut Stream, mut came: lapin::Result<Confirmation>) -> Result<(), Obstacle> {
        let (mut published, mut returned) = (0, 0);
        let alone = self.careful > 0;
        let at = |stream: &mut Stream| stream.window.first().map_or(0, |(position, _)| position);
        let result = loop {
            match came {
                Ok(Confirmation::Ack(unrouted)) => {
                    published += 1;
                    self.careful = self.careful.saturating_sub(1);
                    returned += u64::from(unrouted.is_some());
                }
                Ok(Confirmation::Nack(_)) => {
                    self.refused.increment(1);
                    self.takes_care();
                    let problem = Problem::new(REFUSED);
                    break Err(Obstacle::Outside(at(stream), problem));
                }
                Ok(Confirmation::NotRequested) => {
                    let problem = Problem::new("the broker does not confirm");
                    break Err(Obstacle::Outside(at(stream), problem));
                }
                Err(problem) => {
                    // It was one of the messages that the broker minds, not the connection.
                    if problem.is_amqp_soft_error() {
                        self.takes_care();
                    }
                    let (position, told) = (at(stream), broker::problem(&problem));
                    // Of several on the way it may have been any.
                    break Err(if alone && broker::minds_the_message(&problem) {
                        Obstacle::Message(position, told)
                    } else {
                        Obstacle::Outside(position, told)
                    });
                }
            }
            stream.window.come();
            let mut context = Context::from_waker(Waker::noop());
            match stream.window.first().map(|(_, next)| next.as_mut().poll(&mut context)) {
                Some(Poll::Ready(next)) => came = next,
                Some(Poll::Pending) | None => break Ok(()),
            }
        };
        if published > 0 {
            self.failures = 0;
            self.published.increment(published);
        }
        if returned > 0 {
            self.returned.increment(returned);
            if self.told.insert("returned".to_owned()) {
                // Once; the metric counts on. Which of a window it was, the library does not tell reliably.
                warn!(
                    follower = self.publisher.name,
                    exchange = self.publisher.exchange.name,
                    "a message reached no queue: nothing is bound for its type"
                );
            }
        }
        self.progress.send_modify(|progress| {
            progress.position = stream.window.done();
            progress.published += published;
            progress.returned += returned;
            if published > 0 {
                progress.problem = None;
            }
        });
        result
    }

    /// Writes down that the broker blocks.
    async fn says_blocked(&self, lease: &mut Lease, position: i64) -> Result<(), StoreError> {
        self.store.stopped(lease, position, BLOCKED, Trouble::Outside).await?;
        self.progress
            .send_modify(|progress| progress.problem = Some(BLOCKED.to_owned()));
        lease.error = Some(BLOCKED.to_owned());
        Ok(())
    }

    /// Keeps what is confirmed. False: the lease has passed to another process.
    async fn save(&self, lease: &mut Lease, stream: &mut Stream) -> Result<bool, StoreError> {
        let kept = self
            .store
            .advance(lease, stream.window.done(), self.lease_micros(), &[])
            .await?;
        stream.saved = Instant::now();
        if kept {
            self.unwell(None);
        } else {
            info!(follower = lease.follower, "another process publishes now");
        }
        if kept && stream.blocked {
            // What was under way when it began to block is confirmed; a checkpoint that moves forgets why it waits.
            self.says_blocked(lease, stream.window.done() + 1).await?;
        }
        Ok(kept)
    }

    async fn gives_up(&self, lease: &mut Lease, stream: &mut Stream, obstacle: Obstacle) -> Result<Flow, StoreError> {
        let (error, stopped_at) = (lease.error.clone(), lease.stopped_at);
        if stream.window.done() > lease.position && !self.save(lease, stream).await? {
            return Ok(Flow::End(End::Elsewhere));
        }
        // What has been said is not said again.
        (lease.error, lease.stopped_at) = (error, stopped_at);
        Ok(Flow::Stopped(obstacle))
    }

    /// The process ends: what is under way may still be confirmed.
    async fn finish(&mut self, lease: &mut Lease, stream: &mut Stream) -> Result<(), StoreError> {
        let end = Instant::now() + GRACE;
        while stream.window.awaited() > 0 {
            let Ok((_, came)) = timeout_at(end, first(&mut stream.window)).await else {
                break;
            };
            if self.came(stream, came).is_err() {
                break;
            }
        }
        if stream.window.done() > lease.position {
            self.save(lease, stream).await?;
        }
        Ok(())
    }
}

/// The first confirmation that is awaited.
async fn first(window: &mut Window<Confirming>) -> (i64, lapin::Result<Confirmation>) {
    std::future::poll_fn(|context| match window.first() {
        Some((position, confirming)) => confirming.as_mut().poll(context).map(|came| (position, came)),
        None => Poll::Pending,
    })
    .await
}
