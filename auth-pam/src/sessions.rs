//! PAM sessions around servers, as stock has them with `open_sessions`.

use std::sync::Arc;

use async_trait::async_trait;
use hub_core::{HookContext, HookError, ServerKey, SpawnHook, StartJob};
use tracing::warn;

use crate::helper::Helper;
use crate::protocol::{Answer, Question};

/// Opens a session before each start and closes one after each stop. What modules do to the machine (home directories,
/// mounts, records of logins) is done; what they do to their own process ends with that.
#[derive(Debug)]
pub(crate) struct Sessions {
    helper: Arc<Helper>,
    service: String,
}

impl Sessions {
    pub(crate) fn new(helper: Arc<Helper>, service: String) -> Self {
        Self { helper, service }
    }

    /// A session that cannot be had keeps nobody from work, as in stock.
    async fn ask(&self, key: &ServerKey, question: &Question, what: &str) {
        let why = match self.helper.ask(question).await {
            Ok(Answer::Done) => return,
            Ok(Answer::Refused(why) | Answer::Broken(why)) => why,
            Err(error) => error.to_string(),
        };
        warn!(user = %key.user, server = %key.server, why, "{what}");
    }
}

#[async_trait]
impl SpawnHook for Sessions {
    async fn before_start(&self, _cx: &HookContext, job: &mut StartJob) -> Result<(), HookError> {
        let question = Question::Open { service: self.service.clone(), user: job.key.user.to_string() };
        self.ask(&job.key, &question, "no PAM session was opened").await;
        Ok(())
    }

    async fn after_stop(&self, server: &ServerKey) -> Result<(), HookError> {
        let question = Question::Close { service: self.service.clone(), user: server.user.to_string() };
        self.ask(server, &question, "the PAM session was not closed").await;
        Ok(())
    }
}
