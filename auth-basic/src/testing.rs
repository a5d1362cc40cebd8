//! What the tests of all authenticators need.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::{AuthError, AuthenticatorContext, Clock, Identity, LoginRequest, LoginStep};

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<DateTime<Utc>>);

impl TestClock {
    pub(crate) fn pass(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn context() -> AuthenticatorContext {
    AuthenticatorContext::new(Arc::new(TestClock::default()))
}

pub(crate) fn form(user: &str, password: &str) -> LoginRequest {
    LoginRequest {
        method: "POST".to_owned(),
        form: [("username", user), ("password", password)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..LoginRequest::default()
    }
}

pub(crate) fn identity(step: Result<LoginStep, AuthError>) -> Identity {
    match step {
        Ok(LoginStep::Identity(who)) => *who,
        other => panic!("nobody was let in: {other:?}"),
    }
}
