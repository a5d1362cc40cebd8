//! Under which account a server runs, and where its home is.

use std::collections::BTreeMap;
use std::ffi::CString;

use hub_core::{SpawnError, UserName};
use nix::errno::Errno;
use nix::unistd::{Uid, User, getgrouplist};

use crate::faults;
use crate::launcher::Switch;
use crate::options::{LocalOptions, SwitchUser};

/// The account of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Value of `HOME` and the directory to start in.
    pub(crate) home: String,
    /// Whether the home is made when missing.
    pub(crate) make_home: bool,
    /// Value of `SHELL`, when there is one.
    pub(crate) shell: Option<String>,
    /// Whom to become; none stays the hub's own account.
    pub(crate) switch: Option<Switch>,
}

impl Account {
    /// Under which account its processes run.
    pub(crate) fn uid(&self) -> u32 {
        self.switch.as_ref().map_or_else(|| nix::unistd::getuid().as_raw(), |switch| switch.uid)
    }
}

/// Decides it. Asks the system's user database, which may be far away, so off the async threads.
pub(crate) fn resolve(
    name: &UserName,
    options: &LocalOptions,
    root: bool,
    environment: &BTreeMap<String, String>,
) -> Result<Account, SpawnError> {
    let switching = match options.switch_user {
        SwitchUser::Always => true,
        SwitchUser::Never => false,
        SwitchUser::Auto => root && options.home_dir_template.is_none(),
    };
    let person = if switching { Some(known(name)?) } else { look_up(name)? };
    let switch =
        if switching { person.as_ref().map(|user| switch_to(name, user)).transpose()? } else { None };
    if let Some(template) = &options.home_dir_template {
        return Ok(Account {
            home: fill(template, name)?,
            make_home: true,
            shell: Some("/bin/bash".to_owned()),
            switch,
        });
    }
    // An account that merely has the same name as the person is not the one that the server runs under.
    let own = person.filter(|user| switching || user.uid == Uid::effective());
    let (home, shell) = match own {
        Some(user) => (text(user.dir.as_os_str()), Some(text(user.shell.as_os_str()))),
        None => hub_home(environment)?,
    };
    let home = if home.is_empty() { "/".to_owned() } else { home };
    Ok(Account { home, make_home: false, shell: shell.filter(|shell| !shell.is_empty()), switch })
}

fn known(name: &UserName) -> Result<User, SpawnError> {
    look_up(name)?.ok_or_else(|| faults::no_such_user(name))
}

fn look_up(name: &UserName) -> Result<Option<User>, SpawnError> {
    if name.as_str().contains('\0') {
        return Ok(None);
    }
    User::from_name(name.as_str()).map_err(|errno| faults::user_database(name, errno))
}

fn switch_to(name: &UserName, user: &User) -> Result<Switch, SpawnError> {
    if user.uid.is_root() {
        return Err(faults::root_refused(name));
    }
    Switch::to(user).map_err(|errno| faults::user_database(name, errno))
}

impl Switch {
    /// The account with all its groups, as the system's databases have them.
    pub(crate) fn to(user: &User) -> Result<Self, Errno> {
        let login = CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
        let groups = getgrouplist(&login, user.gid)?;
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
        })
    }
}

/// The template with the name in it. Names are checked when people are made known to the hub, but names of long
/// ago may be in the database, and none may lead out of the directory.
fn fill(template: &str, name: &UserName) -> Result<String, SpawnError> {
    let text = name.as_str();
    if text.is_empty() || text == "." || text == ".." || text.contains(['/', '\0']) {
        return Err(faults::name_unusable(name));
    }
    Ok(template.replace("{username}", text))
}

fn hub_home(environment: &BTreeMap<String, String>) -> Result<(String, Option<String>), SpawnError> {
    let shell = environment.get("SHELL").cloned();
    if let Some(home) = environment.get("HOME").filter(|home| !home.is_empty()) {
        return Ok((home.clone(), shell));
    }
    let own = User::from_uid(Uid::effective())
        .map_err(|errno| faults::user_database(&UserName::stored(Uid::effective().to_string()), errno))?;
    Ok(own.map_or_else(
        || ("/".to_owned(), shell.clone()),
        |user| (text(user.dir.as_os_str()), shell.clone().or_else(|| Some(text(user.shell.as_os_str())))),
    ))
}

fn text(path: &std::ffi::OsStr) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub_environment() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("HOME".to_owned(), "/hub/home".to_owned()),
            ("SHELL".to_owned(), "/bin/zsh".to_owned()),
        ])
    }

    #[test]
    fn without_a_switch_a_stranger_gets_the_home_of_the_hub() {
        let account =
            resolve(&UserName::stored("no such person"), &LocalOptions::default(), false, &hub_environment());
        let expected = Account {
            home: "/hub/home".to_owned(),
            make_home: false,
            shell: Some("/bin/zsh".to_owned()),
            switch: None,
        };
        assert_eq!(account.unwrap(), expected);
    }

    #[test]
    fn a_hub_of_root_needs_the_account() {
        let account =
            resolve(&UserName::stored("no such person"), &LocalOptions::default(), true, &hub_environment());
        let error = account.unwrap_err();
        assert_eq!(error.cause, "no-such-user");
        assert!(error.operator.contains("home_dir_template"), "{error}");
    }

    #[test]
    fn nobody_gets_a_server_that_runs_as_root() {
        let account = resolve(&UserName::stored("root"), &LocalOptions::default(), true, &hub_environment());
        assert_eq!(account.unwrap_err().cause, "root-refused");
    }

    #[test]
    fn a_template_needs_no_account_and_keeps_names_inside() {
        let options = LocalOptions {
            home_dir_template: Some("/srv/{username}/work".to_owned()),
            ..LocalOptions::default()
        };
        let account = resolve(&UserName::stored("josé@x"), &options, true, &hub_environment()).unwrap();
        assert_eq!(
            (account.home.as_str(), account.make_home, account.switch),
            ("/srv/josé@x/work", true, None)
        );
        for bad in ["..", ".", "a/../b", ""] {
            let error = resolve(&UserName::stored(bad), &options, true, &hub_environment()).unwrap_err();
            assert_eq!(error.cause, "name-unusable", "{bad:?}");
        }
    }
}
