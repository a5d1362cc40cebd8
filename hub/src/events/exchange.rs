//! The way of events from this hub into the database, and of those of all hubs from there to who listens here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hub_core::Clock;
use hub_db::repo::events::{self, KEPT, NewEvent, Place};
use hub_db::{Db, DbError};
use jupyterhub_api_compat::models::ServerEvent;
use tokio::sync::{Notify, watch};
use tracing::{debug, error, warn};

use super::bus::{Bus, Told};
use crate::app::tasks::Tasks;

/// Most events in one transaction.
const BATCH: usize = 100;
/// After how many events of this hub those that are kept no more are deleted.
const PRUNE: usize = 100;
/// Shortest pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause when the database does not answer.
const AWAY: Duration = Duration::from_secs(2);
/// How often events are tried that the database refuses for a reason which may never go.
const TRIES: u32 = 5;
/// Most events a second that are mentioned only.
const MENTIONS: u32 = 20;
/// Stands in the database for nothing, and for what nobody was told.
const NOTHING: &str = "null";
const GAP: &str = "\"gap\"";

/// Events on their way.
#[derive(Debug)]
pub struct Exchange {
    /// Those that have arrived.
    pub bus: Bus,
    db: Db,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    line: Mutex<Line>,
    /// Whether the line is empty.
    rest: watch::Sender<bool>,
    /// There may be something new.
    word: Notify,
    /// One looks at a time, so that nothing is taken for newer than it is.
    looking: tokio::sync::Mutex<Looked>,
    /// How many looks have begun.
    looks: AtomicU64,
}

/// The last look that told something.
#[derive(Debug, Default)]
struct Looked {
    /// How many looks had begun with it.
    number: u64,
    /// Why the database did not answer, if it did not.
    outage: Option<String>,
}

/// What has happened here and is not in the database yet.
#[derive(Debug, Default)]
struct Line {
    events: VecDeque<NewEvent>,
    /// Stands before them for those that had to leave without being told.
    gap: Option<NewEvent>,
    /// How many have left it since the last time that events were deleted; none if that was never.
    since_prune: Option<usize>,
    /// Since when mentions are counted, and how many there were.
    mentions: Option<(Instant, u32)>,
}

impl Exchange {
    /// Nothing has happened yet; what will is looked for until the hub stops.
    pub fn start(db: Db, clock: Arc<dyn Clock>, tasks: Tasks) -> Arc<Self> {
        let exchange = Arc::new(Self {
            bus: Bus::new(),
            db,
            clock,
            tasks,
            line: Mutex::default(),
            rest: watch::Sender::new(true),
            word: Notify::new(),
            looking: tokio::sync::Mutex::default(),
            looks: AtomicU64::new(0),
        });
        let own = Arc::clone(&exchange);
        exchange.tasks.spawn(async move { own.follow().await });
        exchange
    }

    /// Tells that this hub is there. What another one, or this one before, was about to tell when it was killed, nobody
    /// tells any more.
    pub async fn begin(&self) -> Result<(), DbError> {
        self.put(&[short(GAP)]).await?;
        self.prune().await
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an event to all hubs, beside whatever goes on: nobody waits for it.
    pub fn tell(self: &Arc<Self>, event: &ServerEvent) {
        let text = serde_json::to_string(event).map_err(|error| DbError::Invalid(error.to_string()));
        let event = match text.and_then(NewEvent::new) {
            Ok(event) => event,
            Err(error) => return warn!(%error, "nobody is told of an event"),
        };
        let mut line = self.line();
        line.join(event);
        if self.rest.send_replace(false) {
            let own = Arc::clone(self);
            // To its end: whoever ends the hub waits for it.
            self.tasks.spawn_to_end(async move { own.write().await });
        }
    }

    /// Tells what can be had elsewhere as well, a few such events a second at most: they must neither push out what
    /// cannot nor keep the database from its work.
    pub fn mention(self: &Arc<Self>, event: &ServerEvent) {
        if self.line().may_mention(Instant::now()) {
            self.tell(event);
        }
    }

    /// Waits until all that was told is in the database, or cannot get there any more.
    pub async fn written(&self) {
        // It is only closed with this one.
        let _ = self.rest.subscribe().wait_for(|rests| *rests).await;
    }

    /// Writes until nothing is left to write, or the hub ends and the database is away.
    async fn write(&self) {
        let (mut is_away, mut tries) = (false, 0);
        while let Some(batch) = self.batch() {
            match self.put(&batch).await {
                Ok(()) => {
                    (is_away, tries) = (false, 0);
                    self.leave(&batch);
                    self.word.notify_one();
                    if let Err(error) = self.prune().await {
                        debug!(%error, "old events are deleted later");
                    }
                }
                Err(error) => {
                    if !is_away {
                        warn!(%error, "what happens to servers is told later");
                    }
                    is_away = true;
                    tries = if error.is_unavailable() { 0 } else { tries + 1 };
                    let over = self.tasks.stopping();
                    if over.is_cancelled() {
                        self.line().events.clear();
                    } else if tries == TRIES {
                        error!(%error, count = batch.len(), "nobody is told what happened to servers");
                        tries = 0;
                        self.leave(&batch);
                        self.line().gap.get_or_insert_with(|| short(GAP));
                    } else {
                        self.line().first(batch.len()).for_each(|event| event.uncertain = true);
                        over.run_until_cancelled(tokio::time::sleep(AWAY)).await;
                    }
                }
            }
        }
    }

    /// The first in the line; at its end the line rests.
    fn batch(&self) -> Option<Vec<NewEvent>> {
        let mut line = self.line();
        if line.events.is_empty() {
            // While nobody can join the line. A gap waits for the next event: the database refused what came before.
            self.rest.send_replace(true);
            return None;
        }
        Some(line.first(BATCH).map(|event| event.clone()).collect())
    }

    /// These have left the line, those at its head that have been put off it aside.
    fn leave(&self, batch: &[NewEvent]) {
        let mut line = self.line();
        line.leave(batch);
        line.since_prune = line.since_prune.map(|count| count + batch.len());
    }

    async fn put(&self, batch: &[NewEvent]) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        events::put(&tx, batch, self.clock.now()).await?;
        tx.commit().await?;
        if let Err(error) = self.db.wake().await {
            debug!(%error, "the other hubs read of an event a little later");
        }
        Ok(())
    }

    async fn prune(&self) -> Result<(), DbError> {
        if self.line().since_prune.is_some_and(|count| count < PRUNE) {
            return Ok(());
        }
        events::prune(self.db.conn()).await?;
        self.line().since_prune = Some(0);
        Ok(())
    }

    /// There may be something new: it is looked for if anybody listens.
    pub fn note(&self) {
        self.word.notify_one();
    }

    /// Looks whenever there may be something new.
    async fn follow(&self) {
        let mut is_away = false;
        loop {
            self.word.notified().await;
            while self.bus.is_heard() {
                let Err(error) = self.look().await else {
                    is_away = false;
                    break;
                };
                if !is_away {
                    warn!(%error, "cannot read what happens to servers");
                }
                is_away = true;
                tokio::time::sleep(AWAY).await;
            }
            // Much may happen at once.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads what is new. Of many who come at once one reads for all: whoever came before it began has what it found.
    pub async fn look(&self) -> Result<(), DbError> {
        let came = self.looks.load(Ordering::SeqCst);
        let mut looked = self.looking.lock().await;
        if looked.number > came {
            return looked.outage.clone().map_or(Ok(()), |outage| Err(DbError::Unavailable(outage)));
        }
        let number = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let result = self.catch_up().await;
        match &result {
            Ok(()) => *looked = Looked { number, outage: None },
            Err(DbError::Unavailable(outage)) => *looked = Looked { number, outage: Some(outage.clone()) },
            Err(_) => {}
        }
        result
    }

    /// One query, unless the last event that was read is kept no more.
    async fn catch_up(&self) -> Result<(), DbError> {
        let last = self.bus.last();
        let mut read = self.read(last).await?;
        if last.is_some() && read.first().map(|(place, _)| *place) != last {
            read = self.read(None).await?;
        }
        if read.is_empty() {
            // A place from which to go on.
            self.put(&[short(NOTHING)]).await?;
            read = self.read(None).await?;
        }
        self.bus.take(read);
        Ok(())
    }

    async fn read(&self, from: Option<Place>) -> Result<Vec<(Place, Told)>, DbError> {
        let rows = events::since(self.db.conn(), from.map(|place| place.id), self.clock.now()).await?;
        Ok(rows.into_iter().map(|row| (row.place, told(&row.text))).collect())
    }
}

impl Line {
    /// Whether one more may be mentioned.
    fn may_mention(&mut self, now: Instant) -> bool {
        let recent = self.mentions.filter(|(since, _)| now.duration_since(*since) < Duration::from_secs(1));
        let (since, count) = recent.unwrap_or((now, 0));
        self.mentions = Some((since, count + 1));
        count < MENTIONS
    }

    /// One more. Behind so many the first would be kept no more.
    fn join(&mut self, event: NewEvent) {
        if self.events.len() as u64 >= KEPT {
            self.events.pop_front();
            // Another gap each time: the one before may be on its way already.
            self.gap = Some(short(GAP));
        }
        self.events.push_back(event);
    }

    /// Those of a batch that are still there.
    fn leave(&mut self, batch: &[NewEvent]) {
        self.gap.take_if(|gap| batch.contains(gap));
        while self.events.front().is_some_and(|first| batch.contains(first)) {
            self.events.pop_front();
        }
    }

    /// Those at its head.
    fn first(&mut self, count: usize) -> impl Iterator<Item = &mut NewEvent> {
        self.gap.iter_mut().chain(&mut self.events).take(count)
    }
}

fn short(text: &str) -> NewEvent {
    NewEvent::new(text.to_owned()).expect("it is short")
}

fn told(text: &str) -> Told {
    match text {
        NOTHING => Told::Nothing,
        GAP => Told::Gap,
        event => serde_json::from_str(event).map_or_else(
            |error| {
                debug!(%error, "an event that this version does not know");
                Told::Nothing
            },
            |event| Told::Event(Arc::new(event)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_mentioned_in_a_second() {
        let (mut line, now) = (Line::default(), Instant::now());
        let after = |milliseconds| now + Duration::from_millis(milliseconds);
        let mut mentioned = |at| (0..100).filter(|_| line.may_mention(at)).count();
        assert_eq!([mentioned(now), mentioned(after(900)), mentioned(after(1_100))], [20, 0, 20]);
    }

    #[test]
    fn those_that_leave_the_line_untold_leave_a_gap_before_the_others() {
        let mut line = Line::default();
        let count = usize::try_from(KEPT).unwrap();
        let batch = |line: &mut Line| line.first(BATCH).map(|event| event.clone()).collect::<Vec<_>>();
        (0..count).for_each(|_| line.join(short(NOTHING)));
        assert!(line.gap.is_none());
        let whole = batch(&mut line);
        assert_eq!(whole, line.events.range(..BATCH).cloned().collect::<Vec<_>>());

        // The first of those on their way has to leave.
        line.join(short(NOTHING));
        let gap = line.gap.clone().unwrap();
        line.leave(&whole);
        assert_eq!((line.events.len(), line.gap.as_ref()), (count + 1 - BATCH, Some(&gap)));

        let cut = batch(&mut line);
        assert_eq!((cut.len(), &cut[0]), (BATCH, &gap));
        assert_eq!(cut[1..], line.events.range(..BATCH - 1).cloned().collect::<Vec<_>>());
        // And more, while that gap is on its way.
        (0..2 * BATCH).for_each(|_| line.join(short(NOTHING)));
        line.leave(&cut);
        assert!(line.gap.as_ref().is_some_and(|next| *next != gap), "there is another gap");
        let rest = batch(&mut line);
        line.leave(&rest);
        assert!(line.gap.is_none() && !line.events.is_empty());
    }

    #[test]
    fn what_this_version_does_not_know_is_nothing() {
        assert!(matches!(told(NOTHING), Told::Nothing) && matches!(told(GAP), Told::Gap));
        assert!(matches!(told("{\"action\": \"dance\"}"), Told::Nothing));
    }
}
