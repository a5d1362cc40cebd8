//! Who was active when. Answers to `activity_resolution` and the rules of `_record_activity`.

use chrono::TimeDelta;
use hub_db::entities::{api_tokens, users};
use hub_db::repo;
use hub_db::repo::browser_sessions::BrowserSession;

use crate::app::Hub;
use crate::web::caller::Who;
use crate::web::error::ApiResult;

/// The time within which a browser is not noted again: people want to know the day, or the hour.
const BROWSERS: TimeDelta = TimeDelta::minutes(5);

/// Writes activity, at most once per resolution.
#[derive(Debug)]
pub struct Activity {
    resolution: TimeDelta,
}

impl Activity {
    /// With the time within which activity is not written again.
    pub fn new(resolution: std::time::Duration) -> Self {
        Self { resolution: TimeDelta::from_std(resolution).unwrap_or(TimeDelta::MAX) }
    }

    /// The time within which activity is not written again.
    pub fn resolution(&self) -> TimeDelta {
        self.resolution
    }

    fn is_due(&self, hub: &Hub, last: Option<hub_db::Timestamp>) -> bool {
        last.is_none_or(|last| hub.clock.now() - last.utc() > self.resolution)
    }

    /// A browser of a user asked something.
    pub async fn user(&self, hub: &Hub, user: &users::Model) -> ApiResult<()> {
        if self.is_due(hub, user.last_activity) {
            repo::users::bump_activity(hub.db.conn(), user.id, hub.clock.now(), self.resolution).await?;
        }
        Ok(())
    }

    /// A browser of a user is still there.
    pub async fn browser(&self, hub: &Hub, login: &BrowserSession) -> ApiResult<()> {
        let resolution = self.resolution.max(BROWSERS);
        let now = hub.clock.now();
        if now - login.last_activity > resolution {
            repo::browser_sessions::seen(hub.db.conn(), login, now).await?;
        }
        Ok(())
    }

    /// A token was used. The token of a server says nothing about its user being there, and neither do requests to
    /// servers that are not running. What was written is also noted in the rows; whether that is anything.
    pub async fn token(
        &self,
        hub: &Hub,
        token: &mut api_tokens::Model,
        who: &mut Who,
        path: &str,
    ) -> ApiResult<bool> {
        if path.strip_prefix(hub.urls.hub()).is_some_and(|rest| rest.starts_with("user/")) {
            return Ok(false);
        }
        let now = hub.clock.now();
        let mut noted = false;
        if self.is_due(hub, token.last_activity) {
            repo::tokens::bump_activity(hub.db.conn(), token.id, now, self.resolution).await?;
            token.last_activity = Some(now.into());
            noted = true;
        }
        let of_server = token.note.as_deref().is_some_and(|note| note.starts_with("Server at "));
        if let Who::User(user) = who
            && !of_server
            && self.is_due(hub, user.last_activity)
        {
            repo::users::bump_activity(hub.db.conn(), user.id, now, self.resolution).await?;
            user.last_activity = Some(now.into());
            noted = true;
        }
        Ok(noted)
    }
}
