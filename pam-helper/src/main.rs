//! `himalia-pam`: one question of the hub to PAM, then the end. See `hub_auth_pam::protocol` for what is said.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use hub_auth_pam::protocol::{Answer, LARGEST, Question};

#[cfg(libpam)]
mod pam;
#[cfg(not(libpam))]
mod pam {
    //! PAM on a machine without.

    use hub_auth_pam::protocol::{Answer, Question};

    /// Says that there is none.
    pub(crate) fn answer(_: Question) -> Answer {
        Answer::Broken("himalia-pam was built on a machine without libpam".to_owned())
    }
}

fn main() -> ExitCode {
    let mut question = Vec::new();
    let limit = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let answer = match std::io::stdin().lock().take(limit).read_to_end(&mut question) {
        Ok(_) => match serde_json::from_slice::<Question>(&question) {
            Ok(question) => pam::answer(question),
            // The text of the error could hold a part of the question.
            Err(_) => {
                Answer::Broken("the question makes no sense; this program is for the hub to run".to_owned())
            }
        },
        Err(error) => Answer::Broken(format!("the question cannot be read: {error}")),
    };
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    match std::io::stdout().lock().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
