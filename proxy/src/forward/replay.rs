//! What is kept of a request in case it must be sent once more.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use hyper::body::Body;

use super::body::RequestBody;

/// A copy of a request that may be sent twice.
///
/// Its fields are kept as one piece of text: few copies are ever used, and to copy a map of fields costs more than all
/// that is done to it elsewhere.
#[derive(Debug)]
pub(super) struct Replay {
    method: Method,
    uri: Uri,
    version: Version,
    /// Lines of `name:value`. A name holds no colon, and a value no line feed.
    fields: Vec<u8>,
}

impl Replay {
    /// `None` when sending twice might do something twice, or when there is a body, which is sent once.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        let idempotent = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        );
        if !idempotent || !request.body().is_end_stream() {
            return None;
        }
        let headers = request.headers();
        let mut fields = Vec::with_capacity(headers.len() * 48);
        for (name, value) in headers {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        Some(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields,
        })
    }

    /// The request once more.
    pub(super) fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::default());
        *request.headers_mut() = fields(&self.fields);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        request
    }
}

fn fields(text: &[u8]) -> HeaderMap {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at(colon);
            let name = HeaderName::from_bytes(name).ok()?;
            Some((name, HeaderValue::from_bytes(value.get(1..)?).ok()?))
        })
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_request_as_it_was() {
        let build = || {
            Request::builder()
                .method("PUT")
                .uri("/a%20b?c=d:e")
                .header("host", "h:8000")
                .header("cookie", "one=1; two=\"2\"")
                .header("cookie", "three=3")
                .header("x-empty", "")
                .header("x-bytes", HeaderValue::from_bytes(b" \xff:\t ").unwrap())
                .header("content-length", "0")
                .body(RequestBody::default())
                .unwrap()
        };
        let (original, copy) = (build(), Replay::of(&build()).unwrap().into_request());
        assert_eq!(copy.method(), original.method());
        assert_eq!(copy.uri(), original.uri());
        assert_eq!(copy.version(), original.version());
        assert_eq!(copy.headers(), original.headers());
        assert!(copy.body().is_end_stream());
    }

    #[test]
    fn what_may_do_something_twice_is_not_kept() {
        for method in ["POST", "PATCH", "PROPFIND"] {
            let request = Request::builder().method(method).body(RequestBody::default()).unwrap();
            assert!(Replay::of(&request).is_none(), "{method}");
        }
    }
}
