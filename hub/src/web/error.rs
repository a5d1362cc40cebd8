//! The one way in which a request fails.
//!
//! Every handler and extractor answers with an [`ApiError`]: status, message for the client, headers, and a cause
//! that only the log gets. It becomes `{"status", "message"}` here; the middleware turns it into an HTML page for
//! requests outside `/hub/api`.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use hub_core::spawner::SpawnFault;
use hub_core::{AuthError, NameError, SpawnError, WayIn};
use hub_db::DbError;
use jupyterhub_api_compat::ErrorBody;
use jupyterhub_api_compat::json::dumps;
use jupyterhub_api_compat::requests::RequestError;

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

/// A failed request.
#[derive(Debug)]
pub struct ApiError {
    /// Status code.
    pub status: StatusCode,
    /// Text for the client; none is sent as `null`, as stock does for errors without a text.
    pub message: Option<String>,
    /// The same as HTML, for pages.
    pub message_html: Option<String>,
    /// Where to log in first, for pages.
    pub way_in: Option<Box<WayIn>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl ApiError {
    /// A status with a text for the client.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::bare(status) }
    }

    /// A status without a text.
    pub fn bare(status: StatusCode) -> Self {
        Self { status, message: None, message_html: None, way_in: None, headers: Vec::new(), cause: None }
    }

    /// 400 with a text.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 403 with a text.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 403 for an API call by nobody.
    pub fn anonymous() -> Self {
        Self::forbidden("Missing or invalid credentials.")
    }

    /// 404 without a text.
    pub fn not_found() -> Self {
        Self::bare(StatusCode::NOT_FOUND)
    }

    /// 404 for a resource outside the caller's filter: it does not tell whether there is one.
    pub fn no_access() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No access to resources or resources not found")
    }

    /// 409 with a text.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 500; the cause goes to the log, the client gets a fixed sentence.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }

    /// 503 with `Retry-After` in seconds.
    pub fn unavailable(message: impl Into<String>, retry_after: u32, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
            .with_header(RETRY_AFTER, &retry_after.to_string())
    }

    /// Adds a header; a value that is no header value is left out.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// What the log is told beyond the message.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The headers that go with the answer.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Gives an answer the headers that go with the error.
    pub fn put_headers(&self, answer: &mut HttpResponse) {
        for (name, value) in &self.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }

    /// The text shown on an error page.
    pub fn page_message(&self) -> String {
        self.message.clone().unwrap_or_default()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status.as_u16(), self.message.as_deref().unwrap_or("no message"))?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.insert_header(header.clone());
        }
        let body = ErrorBody { status: self.status.as_u16(), message: self.message.clone() };
        let body = dumps(&body).expect("a number and a text are always JSON");
        response.content_type("application/json").body(body)
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) => {
                Self::unavailable("The hub's database is not available at the moment.", 5, error)
            }
            // Somebody else was a moment quicker: the next try sees what they did.
            DbError::Conflict(text) => {
                Self::conflict(format!("Somebody changed this at the same time: {text}"))
            }
            // A value of the request that this database cannot keep.
            DbError::Invalid(text) => Self::bad_request(text),
            error => Self::internal(error),
        }
    }
}

impl From<SpawnError> for ApiError {
    fn from(error: SpawnError) -> Self {
        Self::from(&error)
    }
}

impl From<&SpawnError> for ApiError {
    fn from(error: &SpawnError) -> Self {
        let status = match error.fault {
            SpawnFault::Refused => StatusCode::BAD_REQUEST,
            SpawnFault::Broken | SpawnFault::TimedOut => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            message_html: error.user_html.clone(),
            cause: Some(error.operator.clone()),
            ..Self::new(status, error.user.clone())
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid(why) => {
                Self { cause: Some(why), ..Self::forbidden("Invalid username or password") }
            }
            AuthError::Denied(text) => Self::forbidden(text),
            AuthError::Elsewhere { way, why } => Self {
                cause: Some(why),
                way_in: Some(way),
                ..Self::new(StatusCode::UNAUTHORIZED, "You are not logged in.")
            },
            AuthError::Again(text) => Self::bad_request(text),
            AuthError::Throttled(seconds) => Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many attempts.")
                .with_header(RETRY_AFTER, &seconds.to_string()),
            AuthError::Unavailable(why) => {
                Self::unavailable("The identity service is not available at the moment.", 10, why)
            }
        }
    }
}
