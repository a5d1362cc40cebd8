//! The two hubs, and what differs when both are asked the same.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join;
use hub_tests::hub::Kind;

use super::counted::only_in;
use super::scenario::{Ask, INSTEAD_OF_500};
use super::side::Side;
use super::world::World;

/// Two hubs with the same configuration.
pub(super) struct Sides {
    both: [Side; 2],
    /// `sqlite` or `postgresql`.
    database: &'static str,
    /// Keys of the differences that are meant and have been seen.
    seen: BTreeSet<String>,
    /// Other statuses that are meant and have been seen: method, that of stock, ours.
    meant: BTreeSet<(String, u16, u16)>,
}

/// Differences that are meant wherever they occur: key, what differs, how it is in stock and how here (`*` at the end
/// is anything). Each must occur.
pub(super) const EVERYWHERE: &[(&str, &str, &str, &str)] = &[
    ("request-id", "x-request-id", "none", "*"),
    ("pages-not-stored", "cache-control", "none", "no-store"),
    ("progress-unbuffered", "x-accel-buffering", "none", "no"),
];

impl Sides {
    /// Starts both and makes the callers.
    pub(super) async fn start(
        kinds: [Kind; 2],
        world: &World,
        databases: [Option<String>; 2],
    ) -> Result<Self> {
        let [one, other] = kinds;
        let database = if databases[0].is_some() { "postgresql" } else { "sqlite" };
        let [of_one, of_other] = databases;
        let (one, other) = try_join(
            Side::start(one, world.settings(one, of_one)),
            Side::start(other, world.settings(other, of_other)),
        )
        .await?;
        Ok(Self { both: [one, other], database, seen: BTreeSet::new(), meant: BTreeSet::new() })
    }

    /// Sends a request to both, for each caller; what differs and should not, or should differ and does not.
    pub(super) async fn ask(&mut self, ask: &Ask, intended_count: bool) -> Result<Vec<String>> {
        let (mut found, mut internal_errors) = (Vec::new(), 0);
        let wanted = ask.instead_of_500_on(self.database);
        for caller in &ask.callers {
            let [one, other] = &mut self.both;
            let (stock, ours) = try_join(one.ask(ask, caller), other.ask(ask, caller))
                .await
                .with_context(|| format!("{caller} {} {}", ask.method, ask.path))?;
            let Ask { method, path, body, .. } = ask;
            if intended_count && stock.is_internal_error() {
                internal_errors += 1;
                // Of an answer that stock could not give there is nothing more to compare.
                if Some(ours.status()) == wanted {
                    self.seen.insert(INSTEAD_OF_500.to_owned());
                    self.meant.insert((method.clone(), stock.status(), ours.status()));
                } else {
                    let is = ours.status();
                    found.push(format!(
                        "{caller} {method} {path} {body}\n    500 of stock: {is}, not {wanted:?}"
                    ));
                }
                continue;
            }
            for (field, was, is) in stock.differences(&ours) {
                if intended_count && self.is_meant_everywhere(&field, &was, &is) {
                    continue;
                }
                if let Some(intended) = &ask.intended
                    && intended_count
                    && intended.fields.contains(&field)
                {
                    self.seen.insert(intended.key.clone());
                    if field == "status" {
                        self.meant.insert((method.clone(), stock.status(), ours.status()));
                    }
                    continue;
                }
                found.push(format!(
                    "{caller} {method} {path} {body}\n    {field} of stock: {was}\n    {field} of ours:  {is}"
                ));
            }
        }
        if intended_count && internal_errors == 0 && wanted.is_some() {
            found.push(format!("{} {} {}\n    no internal error of stock", ask.method, ask.path, ask.body));
        }
        Ok(found)
    }

    fn is_meant_everywhere(&mut self, field: &str, was: &str, is: &str) -> bool {
        let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(begin) => text.starts_with(begin),
            None => pattern == text,
        };
        let found = EVERYWHERE.iter().find(|(_, name, a, b)| *name == field && fits(a, was) && fits(b, is));
        if let Some((key, ..)) = found {
            self.seen.insert((*key).to_owned());
        }
        found.is_some()
    }

    /// Keys of the differences that are meant and have been seen.
    pub(super) fn seen(&self) -> &BTreeSet<String> {
        &self.seen
    }

    /// The requests that one hub has counted and the other has not, as far as they do not follow from differences that
    /// are meant.
    pub(super) async fn counted_by_one(&self) -> Result<Vec<String>> {
        let [one, other] = &self.both;
        let (stock, ours) = try_join(one.counted(), other.counted()).await?;
        let meant: Vec<_> = self.meant.iter().map(|(method, was, is)| (method.as_str(), *was, *is)).collect();
        let turned: Vec<_> = meant.iter().map(|(method, was, is)| (*method, *is, *was)).collect();
        let of_stock =
            only_in(&stock, &ours, &meant).into_iter().map(|what| format!("only stock counts {what}"));
        let of_ours =
            only_in(&ours, &stock, &turned).into_iter().map(|what| format!("only ours counts {what}"));
        Ok(of_stock.chain(of_ours).collect())
    }

    /// Does something to both; what is found to differ on the way.
    pub(super) async fn carry_out(&mut self, what: &[String]) -> Result<Vec<String>> {
        let words: Vec<&str> = what.iter().map(String::as_str).collect();
        // A hub that ends forgets what it has counted.
        let found = if words.first() == Some(&"again") { self.counted_by_one().await? } else { Vec::new() };
        for side in &mut self.both {
            match words.as_slice() {
                ["callers"] => side.make_callers().await?,
                ["logins"] => side.make_logins().await?,
                ["settled", user] => side.settled(user).await?,
                ["routed", server] => side.routed(server).await?,
                ["hold", user] => std::fs::write(side.held(user)?, "")?,
                ["release", user] => std::fs::remove_file(side.held(user)?)?,
                ["again", "without-named-servers"] => side.without_named_servers().await?,
                _ => bail!("unknown: do {what:?}"),
            }
        }
        Ok(found)
    }
}
