//! Accounts and groups of this machine, from wherever its name service has them. Every look-up may take as long as a
//! directory takes, so that all of this belongs on a thread that may wait.

use std::collections::BTreeSet;
use std::ffi::CString;

use nix::unistd::{Group, User, getgrouplist};
use thiserror::Error;

/// Why it cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AccountError {
    #[error("there is no account {0:?} on this machine")]
    NoAccount(String),
    #[error("there is no group {0:?} on this machine")]
    NoGroup(String),
    #[error("the name service of this machine does not answer: {0}")]
    Broken(String),
}

fn broken(error: nix::Error) -> AccountError {
    AccountError::Broken(error.to_string())
}

fn account(name: &str) -> Result<User, AccountError> {
    User::from_name(name).map_err(broken)?.ok_or_else(|| AccountError::NoAccount(name.to_owned()))
}

/// Whether there is an account of this name.
pub(crate) fn exists(name: &str) -> Result<bool, AccountError> {
    Ok(User::from_name(name).map_err(broken)?.is_some())
}

/// The name that an account has in the directory, whatever it was called by.
pub(crate) fn usual_name(name: &str) -> Result<String, AccountError> {
    let id = account(name)?.uid;
    let user = User::from_uid(id).map_err(broken)?;
    user.map(|user| user.name).ok_or_else(|| AccountError::NoAccount(name.to_owned()))
}

/// The ids of all groups of an account.
pub(crate) fn groups_of(name: &str) -> Result<BTreeSet<u32>, AccountError> {
    let user = account(name)?;
    let name = CString::new(user.name).map_err(|_| AccountError::NoAccount(name.to_owned()))?;
    Ok(getgrouplist(&name, user.gid).map_err(broken)?.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

/// Whether one of the groups is among these.
pub(crate) fn any_of(groups: &BTreeSet<u32>, names: &[String]) -> Result<bool, AccountError> {
    let mut found = false;
    for name in names {
        let group = Group::from_name(name).map_err(broken)?;
        found |= groups.contains(&group.ok_or_else(|| AccountError::NoGroup(name.clone()))?.gid.as_raw());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_account_of_every_machine_is_known_with_its_group() {
        assert_eq!(usual_name("root").unwrap(), "root");
        assert_eq!(exists("root"), Ok(true));
        assert_eq!(exists("there-is-no-such-account"), Ok(false));
        let groups = groups_of("root").unwrap();
        assert_eq!(any_of(&groups, &["root".to_owned()]), Ok(true));
        assert_eq!(any_of(&groups, &[]), Ok(false));
        let missing = "there-is-no-such-group".to_owned();
        assert_eq!(any_of(&groups, std::slice::from_ref(&missing)), Err(AccountError::NoGroup(missing)));
        assert!(matches!(groups_of("there-is-no-such-account"), Err(AccountError::NoAccount(_))));
    }
}
