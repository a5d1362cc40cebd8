//! Comparing secrets.
//!
//! How long a refused login takes tells nobody whether there is such a name. There is nothing to look a name up in:
//! the passwords of this crate are those of the configuration, and an authenticator compares what was given with all
//! of them, whatever the name and whichever of them fits. Only then the hub looks into its database, for those who
//! were let in. So each try costs one and the same number of hashes, whose length is that of what was given or
//! configured.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Whether both are equal, in a time that depends on the length of what was given alone: neither on how much of it
/// is right, nor on how long the secret is.
pub(crate) fn same(given: &str, secret: &SecretString) -> Choice {
    same_text(given, secret.expose_secret())
}

/// The same for names, so that a wrong name takes as long as a wrong password.
pub(crate) fn same_text(given: &str, known: &str) -> Choice {
    digest(given).as_slice().ct_eq(digest(known).as_slice())
}

fn digest(text: &str) -> sha2::digest::Output<Sha256> {
    #[cfg(test)]
    tests::DIGESTS.with(|count| count.set(count.get() + 1));
    Sha256::digest(text)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use hub_core::AuthenticatorContext;
    use serde_json::json;

    use super::*;
    use crate::testing::{context, form};
    use crate::{dummy, first_admin, shared_password};

    thread_local! {
        /// How many hashes this thread has made.
        pub(super) static DIGESTS: Cell<usize> = const { Cell::new(0) };
    }

    #[tokio::test]
    async fn a_try_costs_as_much_for_a_name_that_nobody_has() {
        const ADMIN: &str = "a password for administrators, long";
        let admin_users = BTreeSet::from(["boss".to_owned()]);
        let cx = AuthenticatorContext { admin_users, manage_groups: true, ..context() };
        let shared = json!({
            "user_password": "workshop", "admin_password": ADMIN,
            "password_groups": [{"password": "teachers", "groups": ["staff"]}, {"password": "visitors", "groups": []}],
        });
        let first = json!({"token": "0123456789abcdef0123456789abcdef", "password": "copper-lamp-42"});
        for (hub, cost) in [
            (dummy::build(json!({"password": "workshop"}), &cx).unwrap(), 2),
            (shared_password::build(shared, &cx).unwrap(), 8),
            (first_admin::build(first, &cx).unwrap(), 4),
        ] {
            for user in ["boss", "BOSS", "admin", "ann", "nobody-has-this-name"] {
                for password in ["workshop", "workshoP", "copper-lamp-42", "teachers", ADMIN, "x", ""] {
                    let before = DIGESTS.get();
                    let outcome = hub.finish(&form(user, password)).await;
                    assert_eq!(
                        DIGESTS.get() - before,
                        cost,
                        "{} {user} {password}: {outcome:?}",
                        hub.class_name()
                    );
                }
            }
        }
    }

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = SecretString::from("correct horse");
        for (given, equal) in
            [("correct horse", true), ("correct horsf", false), ("correct", false), ("", false)]
        {
            assert_eq!(bool::from(same(given, &secret)), equal, "{given}");
        }
    }
}
