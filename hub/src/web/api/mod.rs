//! The REST API.
pub fn configure(_: &mut actix_web::web::ServiceConfig) {}
pub async fn metrics() -> actix_web::HttpResponse { actix_web::HttpResponse::Ok().finish() }
