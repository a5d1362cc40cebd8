//! Commands of the hub's own under other accounts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hub_spawner_local::{CommandOf, RunAs, RunAsError};
use nix::unistd::{Group, Uid, User, getgrouplist};

fn reenter() -> [OsString; 1] {
    [OsString::from(env!("CARGO_BIN_EXE_local-launch"))]
}

fn command<'a>(script: &str, directory: Option<&'a std::path::Path>) -> CommandOf<'a> {
    CommandOf {
        argv: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        directory,
    }
}

/// An account of this machine and all its groups. One that is in more groups than its own shows more; Debian has such
/// ones only where a package made them.
fn account() -> (User, Vec<u32>) {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let members = groups.lines().filter_map(|line| line.rsplit(':').next()).flat_map(|all| all.split(','));
    let mut named = members.filter(|name| !name.is_empty()).filter_map(|name| User::from_name(name).unwrap());
    let user = named.find(|user| !user.uid.is_root());
    let user = user.unwrap_or_else(|| User::from_name("nobody").unwrap().unwrap());
    let login = std::ffi::CString::new(user.name.as_str()).unwrap();
    let mut groups: Vec<u32> =
        getgrouplist(&login, user.gid).unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
    groups.sort_unstable();
    groups.dedup();
    (user, groups)
}

/// `cargo xtask test unit` runs these when it is root.
mod as_root {
    use super::*;

    #[tokio::test]
    #[ignore = "only root becomes another account"]
    async fn a_command_has_the_supplementary_groups_of_its_account_and_none_of_the_hub() {
        let (user, groups) = account();
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("told");
        fs::write(&told, "").unwrap();
        fs::set_permissions(&told, fs::Permissions::from_mode(0o666)).unwrap();
        // The hub's directory is entered before the account is, which could not enter it.
        let account = RunAs::account(&user.name).unwrap();
        assert!(account.is_another());
        let variables: BTreeMap<String, String> = account.variables().collect();
        assert_eq!(variables["USER"], user.name);
        assert_eq!(variables["HOME"], user.dir.to_str().unwrap());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let script = format!("(id -u; id -g; id -G; pwd) >{}", told.display());
        let mut child = account.run(&reenter(), command(&script, Some(directory.path()))).await.unwrap();
        assert!(child.wait().await.unwrap().success());
        let text = fs::read_to_string(&told).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut found: Vec<u32> = lines[2].split(' ').map(|id| id.parse().unwrap()).collect();
        found.sort_unstable();
        let named = |gid: &u32| Group::from_gid((*gid).into()).unwrap().map(|group| group.name);
        assert_eq!(found, groups, "{:?}", groups.iter().map(named).collect::<Vec<_>>());
        assert_eq!(lines[..2], [user.uid.to_string(), user.gid.to_string()]);
        assert_eq!(lines[3], directory.path().to_str().unwrap());
    }

    #[tokio::test]
    #[ignore = "only root becomes another account"]
    async fn what_cannot_be_run_is_told_with_its_reason_and_leaves_no_process() {
        let account = RunAs::account(&account().0.name).unwrap();
        let mut missing = command("", None);
        missing.argv = vec!["no-such-command".to_owned()];
        let error = account.run(&reenter(), missing).await.unwrap_err();
        assert!(
            matches!(&error, RunAsError::Command { subject, .. } if subject == "no-such-command"),
            "{error}"
        );
        let gone = std::path::Path::new("/no/such/directory");
        let error = account.run(&reenter(), command("true", Some(gone))).await.unwrap_err();
        assert!(error.to_string().contains("/no/such/directory"), "{error}");
    }
}

#[test]
fn an_account_that_is_none_or_the_own_one_is_told() {
    let error = RunAs::account("no-such-account").unwrap_err();
    assert_eq!(error.to_string(), "user: there is no system user \"no-such-account\"");
    let own = User::from_uid(Uid::effective()).unwrap().unwrap();
    let account = RunAs::account(&own.name).unwrap();
    assert!(!account.is_another());
    assert!(account.variables().any(|pair| pair == ("USER".to_owned(), own.name.clone())));
}
