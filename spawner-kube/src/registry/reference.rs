//! Names of images, as container runtimes read them.

/// Where an image without a registry is.
const USUAL: &str = "docker.io";
/// Who answers for it.
const USUAL_HOST: &str = "registry-1.docker.io";
/// Names under which secrets know it.
const USUAL_NAMES: [&str; 3] = [USUAL, USUAL_HOST, "index.docker.io"];

/// The parts of an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    pub(super) repository: String,
    /// Tag or digest.
    pub(super) version: String,
}

impl Reference {
    /// None when it is no name of an image: the node then says so.
    pub(super) fn parse(image: &str) -> Option<Self> {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let (first, rest) = name.split_once('/').unwrap_or(("", name));
        let is_host = first.contains(['.', ':']) || first == "localhost";
        let (registry, path) = if is_host { (first, rest) } else { (USUAL, name) };
        let (path, tag) = path.rsplit_once(':').map_or((path, None), |(path, tag)| (path, Some(tag)));
        let version = digest.or(tag).unwrap_or("latest");
        let repository = if registry == USUAL && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let parts =
            repository.split('/').all(|part| plain(part, "._-") && !part.trim_matches('.').is_empty());
        (parts && plain(registry, ".:-") && plain(version, "._-:")).then(|| Self {
            registry: registry.to_owned(),
            repository,
            version: version.to_owned(),
        })
    }

    /// Scheme and host. As container runtimes do, a registry on this machine is asked without TLS.
    pub(super) fn base(&self) -> String {
        let host = if self.registry == USUAL { USUAL_HOST } else { &self.registry };
        let scheme = if self.is_local() { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// Whether its registry runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.registry.split(':').next().unwrap_or_default();
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback())
    }

    /// Whether the key of a pull secret means this registry: `quay.io`, `https://index.docker.io/v1/`.
    pub(super) fn is_at(&self, key: &str) -> bool {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        let host = key.split('/').next().unwrap_or_default();
        host == self.registry || (self.registry == USUAL && USUAL_NAMES.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ubuntu", "https://registry-1.docker.io", "library/ubuntu", "latest")]
    #[case("jupyter/base:1", "https://registry-1.docker.io", "jupyter/base", "1")]
    #[case(
        "quay.io/jupyter/base-notebook:2026-11-01",
        "https://quay.io",
        "jupyter/base-notebook",
        "2026-11-01"
    )]
    #[case("localhost:5000/a/b@sha256:0af", "http://localhost:5000", "a/b", "sha256:0af")]
    #[case("127.0.0.1:5000/a", "http://127.0.0.1:5000", "a", "latest")]
    #[case("r.example/a:1@sha256:0af", "https://r.example", "a", "sha256:0af")]
    fn names_are_read_as_runtimes_do(
        #[case] image: &str,
        #[case] base: &str,
        #[case] repository: &str,
        #[case] version: &str,
    ) {
        let found = Reference::parse(image).unwrap();
        assert_eq!(
            (found.base().as_str(), found.repository.as_str(), found.version.as_str()),
            (base, repository, version)
        );
    }

    #[rstest]
    #[case("")]
    #[case("r.example/../x")]
    #[case("r.example/a?b")]
    #[case("a b")]
    #[case("r.example/a:")]
    fn what_is_no_name_is_left_to_the_node(#[case] image: &str) {
        assert_eq!(Reference::parse(image), None);
    }

    #[test]
    fn secrets_name_registries_in_several_ways() {
        let hub = Reference::parse("ubuntu").unwrap();
        assert!(hub.is_at("https://index.docker.io/v1/") && hub.is_at("docker.io") && !hub.is_at("quay.io"));
        let own = Reference::parse("r.example:5000/a").unwrap();
        assert!(
            own.is_at("r.example:5000") && own.is_at("https://r.example:5000/v2/") && !own.is_at("r.example")
        );
    }
}
