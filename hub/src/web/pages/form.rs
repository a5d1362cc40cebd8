//! Forms as browsers send them, with files or without.

use std::collections::BTreeMap;

use actix_multipart::{Multipart, MultipartError};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value, json};

use crate::web::error::{ApiError, ApiResult};

/// Most fields.
const MAX_FIELDS: usize = 1_000;
/// What stock takes a file for that has no type.
const UNKNOWN: &str = "application/unknown";

/// What a form holds.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Values by the name of the field.
    pub(super) fields: BTreeMap<String, Vec<String>>,
    /// Files by `NAME_file`, as stock keeps them in a server's options.
    pub(super) files: Map<String, Value>,
}

fn unreadable(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("The form cannot be read: {error}"))
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large.")
}

impl Form {
    /// Reads an urlencoded or multipart form of `most` bytes.
    pub(super) async fn read(rq: &HttpRequest, body: web::Payload, most: usize) -> ApiResult<Self> {
        let kind = rq.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.starts_with("multipart/form-data") {
            return Self::of_parts(rq, body, most).await;
        }
        let bytes = body.to_bytes_limited(most).await.map_err(|_| too_large())?.map_err(unreadable)?;
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(&bytes).into_owned().take(MAX_FIELDS) {
            form.fields.entry(name).or_default().push(value);
        }
        Ok(form)
    }

    async fn of_parts(rq: &HttpRequest, body: web::Payload, most: usize) -> ApiResult<Self> {
        let mut payload = body.into_inner();
        let mut parts = Multipart::from_request(rq, &mut payload).await.map_err(unreadable)?;
        let unreadable = |error: MultipartError| unreadable(error);
        let mut form = Self::default();
        let (mut size, mut count) = (0, 0);
        while let Some(mut part) = parts.try_next().await.map_err(unreadable)? {
            let Some(name) = part.name().map(str::to_owned) else { continue };
            // A field for a file in which none was chosen has an empty one.
            let file =
                part.content_disposition().and_then(|d| d.get_filename()).filter(|name| !name.is_empty());
            let file = file.map(str::to_owned);
            let kind = part.content_type().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
            let mut content = Vec::new();
            while let Some(chunk) = part.try_next().await.map_err(unreadable)? {
                size += chunk.len();
                if size > most {
                    return Err(too_large());
                }
                content.extend_from_slice(&chunk);
            }
            count += 1;
            if count > MAX_FIELDS {
                return Err(too_large());
            }
            match file {
                Some(file) => form.add_file(&name, &file, &content, &kind),
                None => {
                    let text = String::from_utf8_lossy(&content).into_owned();
                    form.fields.entry(name).or_default().push(text);
                }
            }
        }
        Ok(form)
    }

    fn add_file(&mut self, name: &str, file: &str, content: &[u8], kind: &str) {
        let all = self.files.entry(format!("{name}_file")).or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.push(json!({ "filename": file, "body": bytes(content), "content_type": kind }));
        }
    }
}

/// Bytes in the JSON of stock's database: base64 in lines of 76 characters.
fn bytes(content: &[u8]) -> Value {
    // Whole groups of three, so that no line but the last one is filled up.
    let data: String = content.chunks(57).map(|line| STANDARD.encode(line) + "\n").collect();
    json!({ "__jupyterhub_bytes__": true, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_python_writes_them() {
        assert_eq!(bytes(b"")["data"], "");
        assert_eq!(bytes(b"some text\xff")["data"], "c29tZSB0ZXh0/w==\n");
        let long = bytes(&[b'a'; 58]);
        assert_eq!(long["data"], format!("{}\nYQ==\n", "YWFh".repeat(19)));
        assert_eq!(long["__jupyterhub_bytes__"], true);
    }
}
