//! PAM itself.

use hub_auth_pam::protocol::{Answer, Question};
use pam_client2::conv_mock::Conversation;
use pam_client2::{Context, Error, ErrorCode, Flag, SessionToken};

/// Asks PAM.
pub(crate) fn answer(question: Question) -> Answer {
    let asked = match question {
        Question::Authenticate { service, user, password, check_account } => {
            authenticate(&service, &user, password, check_account)
        }
        Question::Open { service, user } => open(&service, &user),
        Question::Close { service, user } => close(&service, &user),
    };
    match asked {
        Ok(()) => Answer::Done,
        Err((step, error)) => told(step, &error),
    }
}

type Step = Result<(), (&'static str, Error)>;

fn authenticate(service: &str, user: &str, password: String, check_account: bool) -> Step {
    let conversation = Conversation::with_credentials(user, password);
    let mut context = Context::new(service, Some(user), conversation).map_err(|error| ("start", error))?;
    context.authenticate(Flag::NONE).map_err(|error| ("authentication", error))?;
    if check_account {
        context.acct_mgmt(Flag::NONE).map_err(|error| ("account", error))?;
    }
    Ok(())
}

fn open(service: &str, user: &str) -> Step {
    let conversation = Conversation::with_credentials(user, "");
    let mut context = Context::new(service, Some(user), conversation).map_err(|error| ("start", error))?;
    let session = context.open_session(Flag::NONE).map_err(|error| ("session", error))?;
    // It stays open when this process ends; closing is another question.
    let _: SessionToken = session.leak();
    Ok(())
}

fn close(service: &str, user: &str) -> Step {
    let conversation = Conversation::with_credentials(user, "");
    let mut context = Context::new(service, Some(user), conversation).map_err(|error| ("start", error))?;
    let session = context.unleak_session(SessionToken::FullSession);
    session.close(Flag::NONE).map_err(|error| ("session", error.into_without_payload()))
}

/// Whose fault an error is. What says nothing about the account is no refusal.
fn told(step: &str, error: &Error) -> Answer {
    let text = format!("{step}: {}", error.message().unwrap_or("no reason given"));
    match error.code() {
        ErrorCode::AUTH_ERR
        | ErrorCode::USER_UNKNOWN
        | ErrorCode::MAXTRIES
        | ErrorCode::PERM_DENIED
        | ErrorCode::CRED_INSUFFICIENT
        | ErrorCode::CRED_EXPIRED
        | ErrorCode::ACCT_EXPIRED
        | ErrorCode::AUTHTOK_EXPIRED
        | ErrorCode::NEW_AUTHTOK_REQD
        | ErrorCode::SESSION_ERR => Answer::Refused(text),
        _ => Answer::Broken(text),
    }
}
