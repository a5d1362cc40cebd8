//! Lists in pages: which part is asked for, and in what form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::requests::RequestError;

/// The media type in `Accept` by which a client says that it understands pages.
pub const MEDIA_TYPE: &str = "application/jupyterhub-pagination+json";

/// How many items a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// For a client that understands pages and names no limit (`api_page_default_limit`).
    pub default: u64,
    /// For everybody (`api_page_max_limit`), and the default for clients that do not understand pages.
    pub max: u64,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { default: 50, max: 200 }
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items to skip; at most 2^63-1, the most that a database takes.
    pub offset: u64,
    /// How many items at most, 1 to [`PageLimits::max`].
    pub limit: u64,
    /// Whether the client understands pages: else the bare list is sent. Lists of shares are always pages.
    pub envelope: bool,
}

impl PageRequest {
    /// Reads the query arguments `offset` and `limit` and the `Accept` header. Numbers lose their sign and are
    /// clamped; what is no number is an error.
    pub fn parse(
        offset: Option<&str>,
        limit: Option<&str>,
        accept: Option<&str>,
        limits: PageLimits,
    ) -> Result<Self, RequestError> {
        let envelope = accepts_pages(accept);
        let integer = |text: &str| {
            python_int(text).ok_or_else(|| {
                RequestError::Invalid("Invalid argument type, offset and limit must be integers".to_owned())
            })
        };
        let offset = offset.map(integer).transpose()?.unwrap_or(0);
        let limit =
            limit.map(integer).transpose()?.unwrap_or(if envelope { limits.default } else { limits.max });
        Ok(Self { offset, limit: limit.min(limits.max).max(1), envelope })
    }

    /// The page as JSON. `url` is the full URL of this request, `total` counts all items of all pages.
    pub fn page<T>(&self, items: T, total: u64, url: &str) -> Page<T> {
        let offset = self.offset.saturating_add(self.limit);
        let next = (offset < total).then(|| NextPage {
            offset,
            limit: self.limit,
            url: next_url(url, offset, self.limit),
        });
        Page { items, pagination: PageInfo { offset: self.offset, limit: self.limit, total, next } }
    }
}

/// Whether one of the comma-separated media types is [`MEDIA_TYPE`], without parameters.
pub fn accepts_pages(accept: Option<&str>) -> bool {
    accept.is_some_and(|types| types.split(',').any(|one| one.trim().eq_ignore_ascii_case(MEDIA_TYPE)))
}

/// One page. `items` is a list, or a map where the endpoint's list is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// What is on the page.
    pub items: T,
    /// Where it is in the whole.
    #[serde(rename = "_pagination")]
    pub pagination: PageInfo,
}

/// Where a page is in the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PageInfo {
    /// Items before this page.
    pub offset: u64,
    /// Items on a page at most.
    pub limit: u64,
    /// All items.
    pub total: u64,
    /// The page after this one; null on the last.
    pub next: Option<NextPage>,
}

/// How to get the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextPage {
    /// Its `offset`.
    pub offset: u64,
    /// Its `limit`.
    pub limit: u64,
    /// Its full URL: that of this request with the two arguments replaced.
    pub url: String,
}

/// Replaces `offset` and `limit` where they stand, or appends them. Repeated arguments end up side by side.
fn next_url(url: &str, offset: u64, limit: u64) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut arguments: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match arguments.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value.into_owned()),
            None => arguments.push((name.into_owned(), vec![value.into_owned()])),
        }
    }
    for (name, number) in [("offset", offset), ("limit", limit)] {
        let values = vec![number.to_string()];
        match arguments.iter_mut().find(|(known, _)| known == name) {
            Some(argument) => argument.1 = values,
            None => arguments.push((name.to_owned(), values)),
        }
    }
    let pairs = arguments.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| format!("{}={}", quote(name), quote(value)))
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Python's `quote_plus`.
fn quote(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('*', "%2A").replace("%7E", "~")
}

/// The absolute value of what Python's `int()` reads: white space around, a sign, digits with single underscores
/// between them. Too large a number becomes the largest.
fn python_int(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bare = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let most = i64::MAX.unsigned_abs();
    bare.then(|| digits.replace('_', "").parse::<u64>().map_or(most, |n| n.min(most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recorded;

    #[test]
    fn pages_are_asked_for_as_in_stock() {
        for case in recorded::section("page_requests") {
            let text = |key: &str| case[key].as_str();
            let limits = PageLimits { default: 50, max: 200 };
            match PageRequest::parse(text("offset"), text("limit"), text("accept"), limits) {
                Ok(page) => {
                    assert_eq!(serde_json::json!([page.offset, page.limit]), case["found"], "{case}");
                    assert_eq!(page.envelope, case["envelope"].as_bool().unwrap(), "{case}");
                }
                Err(error) => assert_eq!(error.to_string(), case["error"].as_str().unwrap(), "{case}"),
            }
        }
    }

    #[test]
    fn pages_look_as_in_stock() {
        for case in recorded::section("pages") {
            let number = |key: &str| case[key].as_u64().unwrap();
            let request = PageRequest { offset: number("offset"), limit: number("limit"), envelope: true };
            let page = request.page([1], number("total"), case["url"].as_str().unwrap());
            assert_eq!(serde_json::to_value(page).unwrap(), case["page"]);
        }
    }

    proptest! {
        #[test]
        fn following_the_pages_sees_everything_once(total in 0_u64..300, limit in 0_u64..60) {
            let limits = PageLimits { default: 10, max: 50 };
            let mut url = format!("http://h/hub/api/users?limit={limit}&name_filter=%C3%A9");
            let mut seen = 0;
            loop {
                let query: Vec<(String, String)> =
                    url::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
                let of = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
                prop_assert_eq!(of("name_filter"), Some("é"));
                let request = PageRequest::parse(of("offset"), of("limit"), Some(MEDIA_TYPE), limits).unwrap();
                prop_assert_eq!(request.offset, seen);
                seen = total.min(request.offset + request.limit);
                match request.page((), total, &url).pagination.next {
                    Some(next) => url = next.url,
                    None => break,
                }
            }
            prop_assert_eq!(seen, total);
        }

        #[test]
        fn no_argument_makes_it_panic(offset in "\\PC{0,12}", limit in "[-+0-9_ ]{0,25}", url in "\\PC{0,40}") {
            let limits = PageLimits::default();
            if let Ok(page) = PageRequest::parse(Some(&offset), Some(&limit), None, limits) {
                prop_assert!((1..=limits.max).contains(&page.limit));
                page.page((), u64::MAX, &url);
            }
        }
    }
}
