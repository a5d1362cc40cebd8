//! Answers that are lists, whole or in pages.

use actix_web::HttpResponse;
use jupyterhub_api_compat::pagination::PageRequest;
use serde::Serialize;
use tracing::warn;

use super::answer;
use super::call::Call;
use crate::web::error::ApiResult;

/// One page: in its envelope for clients that understand that, else the bare items.
pub(super) fn page(
    call: &Call,
    page: &PageRequest,
    items: impl Serialize,
    total: u64,
) -> ApiResult<HttpResponse> {
    if page.envelope {
        return answer::ok(&page.page(items, total, &call.url()));
    }
    if page.offset == 0 && total > page.limit {
        let path = &call.facts.path;
        warn!(%path, total, limit = page.limit, "list cut short for a client that does not ask for pages");
    }
    answer::ok(&items)
}

/// The same for lists that are always sent in their envelope.
pub(super) fn enveloped(
    call: &Call,
    page: &PageRequest,
    items: impl Serialize,
    total: u64,
) -> ApiResult<HttpResponse> {
    answer::ok(&page.page(items, total, &call.url()))
}
