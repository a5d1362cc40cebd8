//! What hooks and workspaces want to be different about one start, beyond its environment and labels.

/// Changes of one start, for spawners that have such a thing; the others pass over them.
///
/// All texts are literal: a spawner must not expand templates in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The name of what the spawner makes for the server (a pod): a DNS label.
    pub object_name: Option<String>,
    /// The image that the server runs.
    pub image: Option<String>,
    /// Whether the server does without the person's own volume: no claim is made, and volumes that belong to it
    /// (their names begin with `volume-`) are left out.
    pub without_own_volume: bool,
    /// Directories of the machine that the server sees.
    pub binds: Vec<Bind>,
}

/// A directory of the machine that the server can read and write under another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the machine.
    pub source: String,
    /// Absolute path that the server sees. The home of Jupyter's images is `/home/jovyan`.
    pub target: String,
}

impl Bind {
    /// The home directory in Jupyter's images.
    pub const HOME: &str = "/home/jovyan";

    /// The target below the home directory, for spawners whose servers have another one; none when it lies elsewhere
    /// or climbs out of it.
    pub fn below_home(&self) -> Option<&str> {
        let rest = self.target.strip_prefix(Self::HOME)?.strip_prefix('/')?.trim_end_matches('/');
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        rest.split('/').all(plain).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_stays_below_the_home_directory() {
        let below = |target: &str| {
            let bind = Bind { source: "/data".to_owned(), target: target.to_owned() };
            bind.below_home().map(str::to_owned)
        };
        assert_eq!(below("/home/jovyan/workspace").as_deref(), Some("workspace"));
        assert_eq!(below("/home/jovyan/a/b/").as_deref(), Some("a/b"));
        for elsewhere in
            ["/home/jovyan", "/home/jovyan/", "/home/jovyan/../x", "/home/jovyanx/a", "/data", ""]
        {
            assert_eq!(below(elsewhere), None, "{elsewhere}");
        }
    }
}
