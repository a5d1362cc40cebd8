//! Servers of other system accounts.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use hub_core::Spawner as _;
use hub_spawner_local::SwitchUser;
use nix::unistd::User;

use crate::support::{Bench, Sink};

/// The account that every system has.
fn nobody() -> User {
    User::from_name("nobody").unwrap().unwrap()
}

const TELL: &str = "id -u; id -g; id -G; pwd; echo $USER; echo $HOME; exit 5";

/// `cargo xtask test unit` runs these when it is root.
mod as_root {
    use super::*;

    #[tokio::test]
    #[ignore = "only root becomes another account"]
    async fn a_hub_of_root_runs_servers_under_the_account_of_the_person() {
        let nobody = nobody();
        let bench = Bench::as_root(true, |options| options.home_dir_template = None);
        let error = bench
            .spawner
            .start(bench.job("nobody", &["sh", "-c", TELL]), &Sink::default())
            .await
            .unwrap_err();
        assert_eq!(error.cause, "exited-at-once", "{error}");
        let lines: Vec<&str> = error.log_tail.iter().map(String::as_str).collect();
        let from = lines.len() - 6;
        let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
        assert_eq!(lines[from..from + 3], [&uid, &gid, &gid], "no group of root is left: {lines:?}");
        assert_eq!(lines[from + 4], "nobody");
        assert_eq!(lines[from + 5], nobody.dir.to_str().unwrap());
        if !nobody.dir.exists() {
            let away = lines.iter().any(|line| line.starts_with("Cannot enter the home directory"));
            assert!(away, "{lines:?}");
            assert!(lines[from + 3].starts_with("/tmp/home-"), "{lines:?}");
            let found = fs::metadata(lines[from + 3]).unwrap();
            assert_eq!((found.uid(), found.permissions().mode() & 0o777), (nobody.uid.as_raw(), 0o700));
            fs::remove_dir(lines[from + 3]).unwrap();
        }
    }

    #[tokio::test]
    #[ignore = "only root becomes another account"]
    async fn a_home_made_for_another_account_belongs_to_it() {
        let nobody = nobody();
        let bench = Bench::as_root(true, |options| options.switch_user = SwitchUser::Always);
        fs::set_permissions(bench.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = bench
            .spawner
            .start(bench.job("nobody", &["sh", "-c", TELL]), &Sink::default())
            .await
            .unwrap_err();
        let home = bench.path("home/nobody");
        assert_eq!(error.log_tail[3], home.display().to_string());
        let found = fs::metadata(&home).unwrap();
        assert_eq!((found.uid(), found.gid()), (nobody.uid.as_raw(), nobody.gid.as_raw()));
        assert_eq!(found.permissions().mode() & 0o777, 0o755);
    }

    #[tokio::test]
    #[ignore = "only root becomes another account"]
    async fn a_command_that_the_account_cannot_reach_is_told_from_a_missing_one() {
        let bench = Bench::as_root(true, |options| options.home_dir_template = None);
        fs::set_permissions(bench.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let tool = bench.path("tool");
        fs::write(&tool, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let job = bench.job("nobody", &[tool.to_str().unwrap()]);
        let error = bench.spawner.start(job, &Sink::default()).await.unwrap_err();
        assert_eq!(error.cause, "permission-denied", "{error}");
        assert!(error.operator.contains("nobody may not enter a directory on the way to"), "{error}");
    }
}

#[tokio::test]
async fn a_person_without_account_is_told_so() {
    let bench = Bench::as_root(true, |options| options.home_dir_template = None);
    let error =
        bench.spawner.start(bench.job("no-such-person", &["true"]), &Sink::default()).await.unwrap_err();
    assert_eq!((error.cause.as_ref(), error.retry), ("no-such-user", false));
}
