//! What hub and `himalia-pam` say to each other: one question as JSON on standard input, one answer as JSON on standard
//! output. A password is never an argument or a variable, which other processes could read.

use serde::{Deserialize, Serialize};

/// Largest question and largest answer, in bytes.
pub const LARGEST: usize = 64 << 10;

/// What is wanted of PAM.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Question {
    /// Is this the password of the account, and may the account be used?
    Authenticate {
        /// Name of the file in `/etc/pam.d`.
        service: String,
        /// Name of the account.
        user: String,
        /// The password.
        password: String,
        /// Whether expired accounts and the like are refused too.
        check_account: bool,
    },
    /// Open a session of the account.
    Open {
        /// See above.
        service: String,
        /// See above.
        user: String,
    },
    /// Close it.
    Close {
        /// See above.
        service: String,
        /// See above.
        user: String,
    },
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password is in one of them, and is nobody's business.
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

/// What PAM says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "why")]
pub enum Answer {
    /// Yes.
    Done,
    /// No: wrong password, no such account, an account that may not be used. The text is for the log.
    Refused(String),
    /// It cannot be told: a module is missing, a directory is away.
    Broken(String),
}
