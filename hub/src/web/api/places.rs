//! Which endpoints a path of the API is for.
//!
//! One tree holds all paths and is made once. An expression for each of them, made by each worker and tried one after
//! the other, takes megabytes, and more time than most of the calls themselves.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::{HttpMessage as _, HttpRequest};
use jupyterhub_api_compat::endpoints::{ENDPOINTS, Endpoint, Segment, Xsrf};
use matchit::Router;

use super::{Handler, class_of, handler};

/// A path with all that is there.
#[derive(Debug)]
pub(super) struct Place {
    /// As the table writes it, below `{base}hub/api`.
    pub(super) path: &'static str,
    /// The name of stock's class, which is the metrics' label.
    pub(super) class: String,
    /// One for each method.
    pub(super) endpoints: Vec<&'static Endpoint>,
}

impl Place {
    fn is_page(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.xsrf == Xsrf::Page)
    }

    /// The path, and the one without its last part where that may be empty.
    fn paths(&self) -> impl Iterator<Item = String> {
        let segments: Vec<Segment> = self.endpoints.first().into_iter().flat_map(|e| e.segments()).collect();
        let written = |without: bool| {
            segments.iter().fold(String::new(), |path, segment| match segment {
                Segment::Literal(text) => path + "/" + text,
                Segment::Param { may_be_empty: true, .. } if without => path + "/",
                Segment::Param { name, .. } => path + "/{" + name + "}",
            })
        };
        let may_be_empty =
            segments.iter().any(|segment| matches!(segment, Segment::Param { may_be_empty: true, .. }));
        let paths = [Some(written(false)), may_be_empty.then(|| written(true))];
        paths.into_iter().flatten()
    }
}

/// The rows of the table that are answered here, by path.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut paths: BTreeMap<&str, Vec<&'static Endpoint>> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        paths.entry(endpoint.path).or_default().push(endpoint);
    }
    let places = paths.into_iter().filter_map(|(path, endpoints)| match handler(endpoints.first()?.id) {
        (Handler::Elsewhere, _) => None,
        (_, name) => Some(Place { path, class: class_of(name), endpoints }),
    });
    places.collect()
});

static TREE: LazyLock<Router<&'static Place>> = LazyLock::new(|| {
    let mut tree = Router::new();
    for place in PLACES.iter().filter(|place| !place.is_page() && !place.path.is_empty()) {
        for path in place.paths() {
            tree.insert(path, place).expect("the paths of the table do not contradict each other");
        }
    }
    tree
});

/// The places that are handlers of pages in stock. None of them has a parameter.
pub(super) fn of_pages() -> impl Iterator<Item = &'static Place> {
    PLACES.iter().filter(|place| place.is_page())
}

/// The place that a request within the API's scope is for. It is noted on the request.
pub(super) fn find(rq: &HttpRequest) -> Option<&'static Place> {
    let found = TREE.at(below(rq)).ok()?;
    rq.extensions_mut().insert(Placed(found.value));
    Some(found.value)
}

/// The place that was found for a request.
#[derive(Debug, Clone, Copy)]
pub struct Placed(&'static Place);

impl Placed {
    /// The name of stock's class.
    pub fn class(self) -> &'static str {
        &self.0.class
    }
}

/// A part of the path, percent-encoded, of a request whose place was found.
pub fn named<'r>(rq: &'r HttpRequest, name: &str) -> Option<&'r str> {
    rq.extensions().get::<Placed>()?;
    TREE.at(below(rq)).ok()?.params.get(name)
}

/// The path below the scope. `{base}hub/api` is the same as `{base}hub/api/`.
fn below(rq: &HttpRequest) -> &str {
    let path = rq.match_info().unprocessed();
    if path.is_empty() { "/" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(path: &str) -> Option<&'static str> {
        TREE.at(path).ok().map(|found| found.value.path)
    }

    #[test]
    fn each_place_is_found_by_its_path() {
        for place in PLACES.iter().filter(|place| !place.is_page() && !place.path.is_empty()) {
            for path in place.paths() {
                let path = path.replace(['{', '}'], "~");
                assert_eq!(path_of(&path), Some(place.path), "{path}");
            }
        }
    }

    #[test]
    fn the_last_part_may_be_empty_where_it_names_a_server_or_a_token() {
        assert_eq!(path_of("/users/ada/servers/"), Some("/users/{user}/servers/{server}"));
        assert_eq!(path_of("/users/ada/servers//progress"), Some("/users/{user}/servers/{server}/progress"));
        assert_eq!(path_of("/users/ada/tokens/"), Some("/users/{user}/tokens/{token}"));
    }

    #[test]
    fn nothing_else_is_found() {
        for path in
            ["/users/", "/users//servers/x", "/users/ada/", "/groups/a/b", "//users", "/Users", "/health"]
        {
            assert_eq!(path_of(path), None, "{path}");
        }
    }

    #[test]
    fn pages_have_no_parameters() {
        assert!(of_pages().count() > 0);
        assert!(of_pages().all(|place| !place.path.contains('{')));
    }
}
