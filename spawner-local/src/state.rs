//! The stored state of a server, and finding the process that it speaks of.

use std::io;

use hub_core::ServerKey;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::{Map, Value};

use crate::launcher::LAUNCH_VARIABLE;
use crate::procfs::{self, Environ, Process};

/// What is stored. Stock reads and writes `pid` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerState {
    /// Process id of the server, which leads its own session and group.
    pub(crate) pid: Option<i32>,
    /// When that process started.
    pub(crate) start_time: Option<u64>,
    /// Boot of the machine in which both hold.
    pub(crate) boot: Option<String>,
    /// Id of the start, found again in the environment of every process of the run.
    pub(crate) launch: Option<String>,
    /// Where the output goes.
    pub(crate) log: Option<String>,
    /// Address on which the hub reaches the server.
    pub(crate) ip: Option<String>,
    /// Its port.
    pub(crate) port: Option<u16>,
    /// Whether it speaks TLS there.
    pub(crate) tls: bool,
}

/// The part that stock knows.
pub(crate) fn shown(state: &Value) -> Value {
    Value::Object(state.get("pid").map(|pid| ("pid".to_owned(), pid.clone())).into_iter().collect())
}

impl ServerState {
    /// Takes what can be used; anything odd counts as absent.
    pub(crate) fn read(value: &Value) -> Self {
        let text =
            |key: &str| value.get(key).and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
        Self {
            // numbers below 2 would address init, this process's group, or everything
            pid: value
                .get("pid")
                .and_then(Value::as_i64)
                .and_then(|pid| i32::try_from(pid).ok())
                .filter(|pid| *pid > 1),
            start_time: value.get("start_time").and_then(Value::as_u64),
            boot: text("boot"),
            launch: text("launch"),
            log: text("log"),
            ip: text("ip"),
            port: value.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()),
            tls: value.get("tls").and_then(Value::as_bool).unwrap_or_default(),
        }
    }

    /// The value to store, without what is not known.
    pub(crate) fn write(&self) -> Value {
        let fields = [
            ("pid", self.pid.map(Value::from)),
            ("start_time", self.start_time.map(Value::from)),
            ("boot", self.boot.clone().map(Value::from)),
            ("launch", self.launch.clone().map(Value::from)),
            ("log", self.log.clone().map(Value::from)),
            ("ip", self.ip.clone().map(Value::from)),
            ("port", self.port.map(Value::from)),
            ("tls", self.tls.then_some(Value::Bool(true))),
        ];
        let known: Map<String, Value> =
            fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        Value::Object(known)
    }

    /// The process that was recorded, alive or not, when it is known beyond doubt.
    pub(crate) fn recorded(&self) -> Option<Process> {
        let same_boot = self.boot.is_none() || self.boot == procfs::boot_id();
        match (self.pid, self.start_time) {
            (Some(pid), Some(start_time)) if same_boot => Some(Process { pid, start_time }),
            _ => None,
        }
    }

    /// The server's process, if it runs. Reads `/proc`, so off the async threads.
    pub(crate) fn find(&self, key: &ServerKey) -> io::Result<Option<Process>> {
        match (self.pid, self.start_time, &self.launch) {
            (Some(_), Some(_), _) => {
                let Some(process) = self.recorded() else { return Ok(None) };
                Ok(process.is_alive()?.then_some(process))
            }
            (Some(pid), None, _) => find_by_number(pid, key),
            (None, _, Some(launch)) => find_by_launch(launch),
            (None, _, None) => Ok(None),
        }
    }
}

/// Stock stores the number alone, and a number may be given again. The environment tells whose server it is.
fn find_by_number(pid: i32, key: &ServerKey) -> io::Result<Option<Process>> {
    let Some(stat) = procfs::stat(pid)?.filter(procfs::Stat::is_alive) else { return Ok(None) };
    let ours = match Environ::of(pid) {
        Some(environ) => {
            environ.get("JUPYTERHUB_USER") == Some(key.user.as_str())
                && environ.get("JUPYTERHUB_SERVER_NAME").unwrap_or_default() == key.server.as_str()
        }
        // what may not even be signalled cannot be a server of this hub
        None => kill(Pid::from_raw(pid), None).is_ok(),
    };
    Ok(ours.then_some(stat.process))
}

/// A run whose process id was never stored: its helper ends by itself, but should there be a server, it leads a
/// session and knows its address.
fn find_by_launch(launch: &str) -> io::Result<Option<Process>> {
    Ok(procfs::all()?
        .into_iter()
        .filter(|stat| stat.is_alive() && stat.session == stat.process.pid)
        .filter(|stat| {
            Environ::of(stat.process.pid).is_some_and(|environ| {
                environ.get(LAUNCH_VARIABLE) == Some(launch)
                    && environ.get("JUPYTERHUB_SERVICE_URL").is_some()
            })
        })
        .map(|stat| stat.process)
        // kernels lead sessions of their own and have the same environment, but are younger
        .min_by_key(|process| (process.start_time, process.pid)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_api_shows_what_stock_would_show() {
        assert_eq!(shown(&json!({ "pid": 4711, "log": "/x.log" })), json!({ "pid": 4711 }));
        assert_eq!(shown(&json!({ "log": "/x.log" })), json!({}));
    }

    #[test]
    fn what_is_written_is_read_again_and_stock_finds_its_pid() {
        let state = ServerState {
            pid: Some(4711),
            start_time: Some(99),
            boot: Some("b".to_owned()),
            launch: Some("l".to_owned()),
            log: Some("/x.log".to_owned()),
            ip: Some("127.0.0.1".to_owned()),
            port: Some(8001),
            tls: true,
        };
        let value = state.write();
        assert_eq!(value.get("pid"), Some(&json!(4711)));
        assert_eq!(ServerState::read(&value), state);
        assert_eq!(ServerState::default().write(), json!({}));
    }

    #[test]
    fn numbers_that_would_address_other_processes_are_not_taken() {
        for pid in [json!(1), json!(0), json!(-1), json!(1_u64 << 40), json!("77"), json!(null)] {
            assert_eq!(ServerState::read(&json!({"pid": pid})).pid, None, "{pid}");
        }
        assert_eq!(ServerState::read(&Value::Null), ServerState::default());
    }

    #[test]
    fn a_process_of_another_boot_is_not_found() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = procfs::stat(pid).unwrap().unwrap().process;
        let key = ServerKey::new(hub_core::UserName::stored("ann"), hub_core::ServerName::default());
        let state = ServerState {
            pid: Some(pid),
            start_time: Some(me.start_time),
            boot: procfs::boot_id(),
            ..ServerState::default()
        };
        assert_eq!(state.find(&key).unwrap(), Some(me));
        let other = ServerState { boot: Some("another".to_owned()), ..state };
        assert_eq!(other.find(&key).unwrap(), None);
    }
}
