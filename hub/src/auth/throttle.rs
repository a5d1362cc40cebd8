//! Slows down those who guess passwords. Stock has no limit.
//!
//! Failures are counted for a name seen from one network, for a name from everywhere, and for a network. A count runs
//! out and fills again with time. Guessing from elsewhere must not lock people out: where somebody has logged in
//! before, the count of the name from everywhere does not apply. All of it is in memory, in this hub only, keyed by
//! hashes and bounded in number; under a flood the least used counts are forgotten.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;

/// Most counts of each kind; one takes about a hundred bytes.
const MOST: u64 = 100_000;
/// How much more a name may fail from everywhere than from one network.
const FROM_EVERYWHERE: f64 = 10.0;
/// How long it is remembered where somebody logged in.
const KNOWN: Duration = Duration::from_hours(30 * 24);

/// How many failures are let pass.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one name from one network; 0 switches the throttle off.
    pub account: u32,
    /// Of one network, whatever the names.
    pub network: u32,
    /// In this time.
    pub window: Duration,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: DateTime<Utc>,
}

type Buckets = Cache<u64, Arc<Mutex<Bucket>>>;

/// The counts.
#[derive(Debug)]
pub struct Throttle {
    limits: Limits,
    hasher: RandomState,
    buckets: Buckets,
    known: Cache<u64, ()>,
}

/// One try that was let pass. Unless it is said to have succeeded, it has failed.
#[derive(Debug)]
pub struct Try<'t> {
    throttle: &'t Throttle,
    taken: Vec<Arc<Mutex<Bucket>>>,
    here: u64,
}

/// The part of an address that one person can hardly change.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & 0xffff_ff00)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
    }
}

impl Throttle {
    /// Nothing counted yet.
    pub fn new(limits: Limits) -> Self {
        Self::bounded(limits, MOST)
    }

    fn bounded(limits: Limits, most: u64) -> Self {
        let idle = limits.window.max(Duration::from_mins(1)) * 2;
        Self {
            limits,
            hasher: RandomState::new(),
            buckets: Cache::builder().max_capacity(3 * most).time_to_idle(idle).build(),
            known: Cache::builder().max_capacity(most).time_to_idle(KNOWN).build(),
        }
    }

    /// Lets a try with this name pass, or tells for how many seconds none passes. `name` is normalised, so that
    /// `Ada` and `ada` are one.
    ///
    /// # Errors
    /// Seconds to wait, at least 1.
    pub fn admit(&self, name: &str, from: Option<IpAddr>, now: DateTime<Utc>) -> Result<Try<'_>, u32> {
        let place = from.map(network);
        let here = self.hasher.hash_one((0, name, place));
        let mut passed = Try { throttle: self, taken: Vec::new(), here };
        if self.limits.account == 0 {
            return Ok(passed);
        }
        let account = f64::from(self.limits.account);
        let mut gates =
            vec![(here, account), (self.hasher.hash_one((1, place)), f64::from(self.limits.network))];
        if !self.known.contains_key(&here) {
            gates.push((self.hasher.hash_one((2, name)), account * FROM_EVERYWHERE));
        }
        for (key, most) in gates {
            let bucket = self.buckets.get_with(key, || Arc::new(Mutex::new(Bucket { left: most, at: now })));
            match self.take(&bucket, most, now) {
                Ok(()) => passed.taken.push(bucket),
                Err(wait) => {
                    // Refused tries must not use up other counts.
                    passed.give_back();
                    return Err(wait);
                }
            }
        }
        Ok(passed)
    }

    fn take(&self, bucket: &Mutex<Bucket>, most: f64, now: DateTime<Utc>) -> Result<(), u32> {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = most / self.limits.window.as_secs_f64().max(1.0);
        let passed = (now - bucket.at).max(TimeDelta::zero()).as_seconds_f64();
        bucket.left = (bucket.left + passed * rate).min(most);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and the cast saturates"
        )]
        let wait = ((1.0 - bucket.left) / rate).ceil() as u32;
        Err(wait.max(1))
    }
}

impl Try<'_> {
    /// The proof was right.
    pub fn succeeded(self) {
        self.throttle.known.insert(self.here, ());
        self.give_back();
    }

    /// It came to no decision, for a reason that is not the person's.
    pub fn undecided(self) {
        self.give_back();
    }

    fn give_back(&self) {
        for bucket in &self.taken {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).left += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(Limits { account: 5, network: 20, window: Duration::from_mins(10) })
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn after_some_failures_a_name_waits_and_then_gets_one_try_at_a_time() {
        let throttle = throttle();
        for _ in 0..5 {
            assert!(throttle.admit("ada", ip("192.0.2.1"), at(0)).is_ok());
        }
        assert_eq!(throttle.admit("ada", ip("192.0.2.1"), at(0)).unwrap_err(), 120);
        // a neighbour's address is the same network, another name is not concerned
        assert_eq!(throttle.admit("ada", ip("192.0.2.99"), at(60)).unwrap_err(), 60);
        assert!(throttle.admit("bob", ip("192.0.2.1"), at(60)).is_ok());
        assert!(throttle.admit("ada", ip("192.0.2.1"), at(120)).is_ok());
        assert!(throttle.admit("ada", ip("192.0.2.1"), at(120)).is_err());
    }

    #[test]
    fn those_who_know_their_password_are_never_slowed_down() {
        let throttle = throttle();
        for _ in 0..1_000 {
            throttle.admit("ada", ip("192.0.2.1"), at(0)).unwrap().succeeded();
        }
    }

    #[test]
    fn guessing_from_everywhere_does_not_lock_the_victim_out_where_they_were_before() {
        let throttle = throttle();
        throttle.admit("ada", ip("192.0.2.1"), at(0)).unwrap().succeeded();
        let refused =
            (0..200).filter(|n| throttle.admit("ada", ip(&format!("198.51.{n}.1")), at(0)).is_err()).count();
        assert_eq!(refused, 150, "fifty tries from everywhere");
        assert!(throttle.admit("ada", ip("192.0.2.1"), at(0)).is_ok());
    }

    #[test]
    fn one_network_cannot_try_name_after_name() {
        let throttle = throttle();
        let passed =
            (0..100).filter(|n| throttle.admit(&format!("u{n}"), ip("2001:db8::1"), at(0)).is_ok()).count();
        assert_eq!(passed, 20);
        assert!(throttle.admit("u999", ip("2001:db8::ffff"), at(0)).is_err());
        assert!(throttle.admit("u999", ip("2001:db8:0:1::1"), at(0)).is_ok());
    }

    #[test]
    fn names_from_everywhere_fit_into_a_bounded_memory() {
        let limits = Limits { account: 5, network: 20, window: Duration::from_mins(10) };
        let throttle = Throttle::bounded(limits, 500);
        for n in 0..20_000_u32 {
            let from = IpAddr::V4(Ipv4Addr::from_bits((n % 5_000) << 8));
            drop(throttle.admit(&n.to_string(), Some(from), at(0)));
        }
        throttle.buckets.run_pending_tasks();
        assert!(throttle.buckets.entry_count() <= 1_500, "{}", throttle.buckets.entry_count());
        throttle.admit("a real user", ip("203.0.113.1"), at(0)).unwrap().succeeded();
    }

    #[test]
    fn a_limit_of_zero_switches_the_throttle_off() {
        let throttle = Throttle::new(Limits { account: 0, network: 1, window: Duration::from_mins(1) });
        assert!((0..100).all(|_| throttle.admit("ada", None, at(0)).is_ok()));
    }
}
