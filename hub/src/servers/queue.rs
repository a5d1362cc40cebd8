//! The queue in front of starts: at most `concurrent_spawn_limit` at once, in turns between groups, and first come
//! first served within one.
//!
//! Stock answers 429 when the limit is met; here people wait in line and see their place, and when it will be their
//! turn.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How many of the last starts tell how long a start takes.
const REMEMBERED: usize = 32;
/// How often those who wait look at their place.
const LOOK: Duration = Duration::from_secs(1);
/// In a long line one step is no news: the place is told again when it has changed by this part.
const NEWS: usize = 50;

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// 1 is next.
    pub number: usize,
    /// How long it will take until then, going by the last starts; none while no start has ended.
    pub wait: Option<Duration>,
}

impl Place {
    /// Whether this is news to somebody who was told another place.
    fn is_news_after(&self, told: &Self) -> bool {
        let moved = self.number.abs_diff(told.number);
        moved > told.number / NEWS || self.wait.is_some() && told.wait.is_none()
    }
}

/// Bounded concurrency with visible places.
#[derive(Debug)]
pub struct StartQueue {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: usize,
    /// In the order of their turns.
    waiting: Vec<Waiting>,
    next_number: u64,
    /// The turn of the start that was let in last.
    turn: u64,
    /// The last turn that each group was given, as long as it is still to come.
    turns: HashMap<String, u64>,
    durations: VecDeque<Duration>,
}

#[derive(Debug)]
struct Waiting {
    /// Each group has one start in each turn.
    turn: u64,
    number: u64,
    let_in: oneshot::Sender<()>,
}

/// The right to start; given back when dropped.
#[derive(Debug)]
pub struct StartPermit {
    queue: Arc<StartQueue>,
    began: Instant,
}

impl Drop for StartPermit {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        if inner.durations.len() >= REMEMBERED {
            inner.durations.pop_front();
        }
        inner.durations.push_back(self.began.elapsed());
        inner.running -= 1;
        self.queue.let_in(&mut inner);
    }
}

/// One who waits; leaves the line when dropped.
struct Ticket<'a> {
    queue: &'a StartQueue,
    number: u64,
    /// Whether the right to start was taken over.
    taken: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut inner = self.queue.lock();
        let before = inner.waiting.len();
        inner.waiting.retain(|waiting| waiting.number != self.number);
        if inner.waiting.len() == before {
            // It was let in at the moment in which it was given up.
            inner.running -= 1;
            self.queue.let_in(&mut inner);
        }
    }
}

impl StartQueue {
    /// A queue with `limit` starts at once; 0 means no limit.
    pub fn new(limit: usize) -> Arc<Self> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Arc::new(Self { limit, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a start that came now would have to wait.
    pub fn is_full(&self) -> bool {
        let inner = self.lock();
        inner.running >= self.limit || !inner.waiting.is_empty()
    }

    /// Lets in as many as there is room for.
    fn let_in(&self, inner: &mut Inner) {
        while inner.running < self.limit && !inner.waiting.is_empty() {
            let next = inner.waiting.remove(0);
            inner.turn = next.turn;
            let turn = inner.turn;
            inner.turns.retain(|_, last| *last > turn);
            inner.running += 1;
            // One who has just given up gives the right back when the ticket goes.
            let _ = next.let_in.send(());
        }
    }

    fn place(&self, number: u64) -> Option<Place> {
        let inner = self.lock();
        let index = inner.waiting.iter().position(|waiting| waiting.number == number)?;
        let measured = u32::try_from(inner.durations.len()).ok().filter(|count| *count > 0);
        let wait = measured.map(|count| {
            let mean = inner.durations.iter().sum::<Duration>() / count;
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            mean.mul_f64((index + 1) as f64 / self.limit as f64)
        });
        Some(Place { number: index + 1, wait })
    }

    /// Waits for its turn among the starts of all groups; those of the same `group` come in the order in which they
    /// were asked for. `on_place` hears the place in line when that is news, at most once a second, and none when the
    /// wait is over.
    pub async fn enter(
        self: &Arc<Self>,
        group: &str,
        mut on_place: impl FnMut(Option<Place>),
    ) -> StartPermit {
        let permit = || StartPermit { queue: Arc::clone(self), began: Instant::now() };
        let (mut ticket, mut let_in) = {
            let mut inner = self.lock();
            if inner.running < self.limit && inner.waiting.is_empty() {
                inner.running += 1;
                return permit();
            }
            inner.join(self, group)
        };
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<Place> = None;
        loop {
            let place = self.place(ticket.number);
            if let Some(place) = place.filter(|place| told.is_none_or(|told| place.is_news_after(&told))) {
                told = Some(place);
                on_place(told);
            }
            tokio::select! {
                biased;
                // The sender goes only after it was used.
                _ = &mut let_in => break,
                _ = looks.tick() => {}
            }
        }
        ticket.taken = true;
        drop(ticket);
        on_place(None);
        permit()
    }
}

impl Inner {
    fn join<'q>(&mut self, queue: &'q StartQueue, group: &str) -> (Ticket<'q>, oneshot::Receiver<()>) {
        let (sender, let_in) = oneshot::channel();
        let number = self.next_number;
        self.next_number += 1;
        let turn = self.turns.get(group).copied().unwrap_or_default().max(self.turn) + 1;
        self.turns.insert(group.to_owned(), turn);
        let at = self.waiting.partition_point(|waiting| waiting.turn <= turn);
        self.waiting.insert(at, Waiting { turn, number, let_in: sender });
        (Ticket { queue, number, taken: false }, let_in)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::task::JoinHandle;

    use super::*;

    type Heard = (&'static str, Option<usize>);

    fn waits(
        queue: &Arc<StartQueue>,
        heard: &UnboundedSender<Heard>,
        group: &'static str,
        name: &'static str,
    ) -> JoinHandle<StartPermit> {
        let (queue, heard) = (Arc::clone(queue), heard.clone());
        tokio::spawn(async move {
            let tell = |place: Option<Place>| {
                heard.send((name, place.map(|place| place.number))).unwrap();
            };
            queue.enter(group, tell).await
        })
    }

    async fn hears(heard: &mut UnboundedReceiver<Heard>, expected: Heard) {
        loop {
            if heard.recv().await.unwrap() == expected {
                return;
            }
        }
    }

    #[tokio::test]
    async fn those_who_wait_see_their_place_and_move_up() {
        let queue = StartQueue::new(1);
        let first = queue.enter("", |_| {}).await;
        assert!(queue.is_full());
        let (tx, mut rx) = unbounded_channel();
        let second = waits(&queue, &tx, "", "second");
        hears(&mut rx, ("second", Some(1))).await;
        let third = waits(&queue, &tx, "", "third");
        hears(&mut rx, ("third", Some(2))).await;
        drop(first);
        let second = second.await.unwrap();
        hears(&mut rx, ("third", Some(1))).await;
        third.abort();
        assert!(third.await.unwrap_err().is_cancelled());
        assert!(queue.lock().waiting.is_empty());
        drop(second);
        assert!(!queue.is_full());
    }

    #[tokio::test]
    async fn a_crowd_of_one_group_does_not_keep_the_others_waiting() {
        let queue = StartQueue::new(1);
        let first = queue.enter("class", |_| {}).await;
        let (tx, mut rx) = unbounded_channel();
        let mut crowd = Vec::new();
        for (name, place) in [("a", 1), ("b", 2), ("c", 3)] {
            crowd.push(waits(&queue, &tx, "class", name));
            hears(&mut rx, (name, Some(place))).await;
        }
        let other = waits(&queue, &tx, "guests", "other");
        hears(&mut rx, ("other", Some(2))).await;
        drop(first);
        drop(crowd.remove(0).await.unwrap());
        drop(other.await.unwrap());
        for member in crowd {
            drop(member.await.unwrap());
        }
        let inner = queue.lock();
        assert!(inner.running == 0 && inner.waiting.is_empty() && inner.turns.is_empty(), "{inner:?}");
    }

    #[tokio::test]
    async fn a_right_that_was_given_to_one_who_left_goes_to_the_next() {
        let queue = StartQueue::new(1);
        let first = queue.enter("", |_| {}).await;
        let mut leaving = Box::pin(queue.enter("", |_| {}));
        assert!(leaving.as_mut().now_or_never().is_none());
        drop(first);
        drop(leaving);
        assert!(!queue.is_full());
        drop(queue.enter("", |_| {}).await);
    }

    #[test]
    fn those_far_back_hear_of_their_place_less_often() {
        let place = |number, seconds: Option<u64>| Place { number, wait: seconds.map(Duration::from_secs) };
        assert!(place(9, None).is_news_after(&place(10, None)));
        assert!(!place(10, Some(1)).is_news_after(&place(10, Some(2))));
        assert!(!place(1_980, Some(9)).is_news_after(&place(2_000, Some(9))));
        assert!(place(1_959, Some(9)).is_news_after(&place(2_000, Some(9))));
        assert!(place(2_000, Some(9)).is_news_after(&place(2_000, None)), "now it is known when");
        let mut told = place(5_000, None);
        let heard = (1..5_000).rev().filter(|number| {
            let now = place(*number, None);
            let news = now.is_news_after(&told);
            told = if news { now } else { told };
            news
        });
        assert!(heard.count() < 400, "as many as one start can tell beside its own steps");
    }

    #[tokio::test]
    async fn the_wait_follows_from_the_last_starts() {
        let queue = StartQueue::new(2);
        let take = async || queue.enter("", |_| {}).await;
        let _running = [take().await, take().await];
        queue.lock().durations.extend([Duration::from_secs(8), Duration::from_secs(12)]);
        let mut before: Vec<_> = (0..4).map(|_| Box::pin(queue.enter("", |_| {}))).collect();
        for waiting in &mut before {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        let mut seen = None;
        let mut last = Box::pin(queue.enter("", |place| seen = place));
        assert!(last.as_mut().now_or_never().is_none());
        drop(last);
        assert_eq!(seen, Some(Place { number: 5, wait: Some(Duration::from_secs(25)) }));
    }
}
