//! The few facts about processes that `/proc` tells and that are needed here.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;

/// Most of an environment that is read; the kernel allows about 2 MiB for arguments and environment together.
const MAX_ENVIRON: u64 = 4 * 1024 * 1024;

/// A process, told apart from a later one with the same number by the time of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    /// Process id, greater than 1.
    pub(crate) pid: i32,
    /// Clock ticks from the machine's boot to the start of the process.
    pub(crate) start_time: u64,
}

/// Fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    /// One letter: `R`, `S`, `Z` and so on.
    pub(crate) state: char,
    pub(crate) group: i32,
    pub(crate) session: i32,
}

impl Stat {
    /// Whether it still runs: a zombie has ended and waits to be noticed.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl Process {
    /// Whether this very process still runs.
    pub(crate) fn is_alive(self) -> io::Result<bool> {
        Ok(stat(self.pid)?.is_some_and(|stat| stat.process == self && stat.is_alive()))
    }
}

/// What is known of the process with this number; none when there is none.
pub(crate) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => parse_stat(pid, &String::from_utf8_lossy(&bytes)).map(Some).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("cannot read /proc/{pid}/stat"))
        }),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name in brackets may itself hold spaces and brackets, so the fields are counted from the last bracket.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // start time is field 22 of the file, session was field 6
    let start_time = fields.nth(15)?.parse().ok()?;
    Some(Stat { process: Process { pid, start_time }, state, group, session })
}

/// All processes that can be seen, in no order.
pub(crate) fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // one that ended meanwhile, or that cannot be read, is none of ours
        if let Ok(Some(stat)) = stat(pid) {
            found.push(stat);
        }
    }
    Ok(found)
}

/// The environment that a process was started with.
#[derive(Debug)]
pub(crate) struct Environ(Vec<u8>);

impl Environ {
    /// Reads it; none when the process is gone or may not be looked into.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(format!("/proc/{pid}/environ")).ok()?.take(MAX_ENVIRON).read_to_end(&mut bytes).ok()?;
        // a process that is ending has lost its memory, and its environment with it
        if bytes.is_empty() { None } else { Some(Self(bytes)) }
    }

    /// The value of one variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.split(|byte| *byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    }
}

/// The account under which a process runs; none when it is gone.
pub(crate) fn owner(pid: i32) -> io::Result<Option<u32>> {
    match fs::metadata(format!("/proc/{pid}")) {
        Ok(about) => Ok(Some(about.uid())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a process itself has a TCP socket that listens on this port. One that may not be looked into does not.
pub(crate) fn listens(pid: i32, port: u16) -> io::Result<bool> {
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(format!("/proc/{pid}/net/{table}")) {
            Ok(text) => sockets.extend(text.lines().filter_map(|line| listening(line, port))),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Ok(false) };
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links.filter_map(|link| inode(link.to_str()?)).any(|inode| sockets.contains(&inode)))
}

/// The inode of a line of `/proc/net/tcp`, if it is a socket that listens on the port.
fn listening(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let (_, local) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    (u16::from_str_radix(local, 16).ok()? == port && state == "0A").then_some(inode)
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Id of this boot of the machine: after another boot, the same number and start time mean nothing.
pub(crate) fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let line = "77 (a) Z 1 (x) S 1 70 71 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = parse_stat(77, line).unwrap();
        assert_eq!(stat.process, Process { pid: 77, start_time: 4242 });
        assert_eq!((stat.state, stat.group, stat.session), ('S', 70, 71));
        assert_eq!(parse_stat(77, "77 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_is_found_alive_and_among_all() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let me = stat(pid).unwrap().unwrap();
        assert!(me.process.is_alive().unwrap());
        assert!(!Process { start_time: me.process.start_time + 1, ..me.process }.is_alive().unwrap());
        assert!(all().unwrap().iter().any(|stat| stat.process == me.process));
    }

    #[test]
    fn whoever_listens_is_known_and_nobody_else() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(listens(pid, port).unwrap());
        assert!(!listens(1, port).unwrap());
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4711 1 0 100";
        assert_eq!(listening(line, 8080), Some(4711));
        assert_eq!(listening(line, 8081), None);
        assert_eq!(listening(&line.replace(" 0A ", " 01 "), 8080), None);
        assert_eq!(owner(pid).unwrap(), Some(nix::unistd::getuid().as_raw()));
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = Environ(b"AB=1\0B=two=2\0C\0".to_vec());
        assert_eq!(environ.get("B"), Some("two=2"));
        assert_eq!(environ.get("A"), None);
        assert_eq!(environ.get("C"), None);
    }
}
