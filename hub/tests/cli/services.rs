//! Services of other accounts, which need the whole program: it is what becomes them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use nix::unistd::{User, getgrouplist};

use crate::support::{DEADLINE, Place, Running, free_ports};

/// `cargo xtask test unit` runs these when it is root.
mod as_root {
    use super::*;

    #[test]
    #[ignore = "only root becomes another account"]
    fn a_service_runs_under_its_account_with_all_groups_of_it() {
        let members = fs::read_to_string("/etc/group").unwrap();
        let members =
            members.lines().filter_map(|line| line.rsplit(':').next()).flat_map(|all| all.split(','));
        // One that is in a second group, if there is one.
        let mut named =
            members.filter(|name| !name.is_empty()).filter_map(|name| User::from_name(name).unwrap());
        let account = named.rfind(|user| !user.uid.is_root());
        let account = account.unwrap_or_else(|| User::from_name("nobody").unwrap().unwrap());
        let login = std::ffi::CString::new(account.name.as_str()).unwrap();
        let mut groups: Vec<u32> =
            getgrouplist(&login, account.gid).unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        groups.sort_unstable();
        groups.dedup();

        let open = tempfile::tempdir().unwrap();
        fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let place = Place::new().file(
            "himalia.toml",
            &format!(
                "[[services]]\nname = \"other\"\nuser = {:?}\ncwd = {:?}\n\
                 command = [\"sh\", \"-c\", \"(id -u; id -G; echo $USER; pwd) >part && mv part told; exec sleep 600\"]\n",
                account.name,
                open.path().display(),
            ),
        );
        let (port, hub_port) = free_ports();
        let (port, hub) = (port.to_string(), format!("hub.hub_bind_url=http://127.0.0.1:{hub_port}"));
        let arguments = ["serve", "--config", "himalia.toml", "--port", &port, "--set", &hub];
        let running = Running::start(&place, "himalia", &arguments);
        running.wait_for("service started");
        let (began, told) = (Instant::now(), open.path().join("told"));
        while !told.exists() {
            assert!(began.elapsed() < DEADLINE, "the service does not tell");
            std::thread::yield_now();
        }
        let told = fs::read_to_string(told).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        let mut found: Vec<u32> = lines[1].split(' ').map(|id| id.parse().unwrap()).collect();
        found.sort_unstable();
        assert_eq!((lines[0], found), (account.uid.to_string().as_str(), groups));
        assert_eq!(lines[2..], [account.name.as_str(), open.path().to_str().unwrap()]);
        assert_eq!(running.terminate(), 0);
    }
}
