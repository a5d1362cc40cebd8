//! Which request goes where. Resources carry the name of stock's handler class, which is the metrics' label.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage as _, HttpRequest, Resource};

use super::pages::login::AuthPath;
use super::pages::{admin, error, home, login, misc, oauth, sessions, share, spawn, user};
use super::{api, pages};
use crate::app::Hub;

/// Largest body of a form, in bytes.
const MAX_FORM: usize = 1 << 20;

fn resource(path: &str, name: &str) -> Resource {
    web::resource(path.to_owned()).name(name).default_service(web::to(misc::no_method))
}

/// The name of stock's handler class for a request that was answered, if anything was found for it.
pub fn class_of(rq: &HttpRequest) -> Option<&str> {
    let placed = rq.extensions().get::<api::Placed>().copied();
    placed.map(api::Placed::class).or_else(|| rq.match_name())
}

/// The same for any request: stock has a handler also for what there is not.
pub fn label<'r>(hub: &Hub, rq: &'r HttpRequest) -> &'r str {
    class_of(rq).unwrap_or_else(|| match rq.uri().path().strip_prefix(hub.urls.hub()) {
        Some(rest) if rest == "api" || rest.starts_with("api/") => "jupyterhub.apihandlers.base.API404",
        Some(_) => "jupyterhub.handlers.base.Template404",
        None if misc::lacks_slash(hub.urls.base(), rq.uri().path()) => {
            "jupyterhub.handlers.base.AddSlashHandler"
        }
        None => "jupyterhub.handlers.base.PrefixRedirectHandler",
    })
}

/// All routes.
pub fn configure(cfg: &mut ServiceConfig, hub: &web::Data<Hub>) {
    let base = hub.urls.base_decoded();
    let prefix = format!("{base}hub");
    cfg.app_data(web::FormConfig::default().limit(MAX_FORM).error_handler(|e, _| {
        super::error::ApiError::bad_request(format!("The form cannot be read: {e}")).into()
    }));
    cfg.app_data(web::PayloadConfig::new(MAX_FORM));
    cfg.service(
        resource("/favicon.ico", "jupyterhub.handlers.static.CacheControlStaticFilesHandler")
            .route(web::get().to(misc::favicon)),
    );
    cfg.service(
        web::resource("/robots.txt")
            .name("jupyterhub.handlers.static.CacheControlStaticFilesHandler")
            .to(misc::no_robots),
    );
    cfg.service(
        resource(&prefix, "jupyterhub.handlers.base.AddSlashHandler").route(web::get().to(misc::to_hub)),
    );
    let mut scope = web::scope(&prefix)
        .service(web::scope("/api").configure(api::configure).configure(oauth_routes))
        .service(resource("/", "jupyterhub.handlers.pages.RootHandler").route(web::get().to(home::root)))
        .service(resource("/home", "jupyterhub.handlers.pages.HomeHandler").route(web::get().to(home::home)))
        .service(
            resource("/token", "jupyterhub.handlers.pages.TokenPageHandler")
                .route(web::get().to(home::tokens)),
        )
        .service(resource("/sessions", "himalia.SessionsPage").route(web::get().to(sessions::show)))
        .service(
            resource("/admin", "jupyterhub.handlers.pages.AdminHandler").route(web::get().to(admin::show)),
        )
        .service(
            resource("/login", "jupyterhub.handlers.login.LoginHandler")
                .route(web::get().to(login::show))
                .route(web::post().to(login::submit)),
        )
        .service(
            resource("/accept-share", "jupyterhub.handlers.pages.AcceptShareHandler")
                .route(web::get().to(share::show))
                .route(web::post().to(share::accept)),
        )
        .service(
            resource("/logout", "jupyterhub.handlers.login.LogoutHandler")
                .route(web::get().to(login::logout)),
        )
        .service(
            resource("/health", "jupyterhub.handlers.pages.HealthCheckHandler")
                .route(web::get().to(misc::health))
                .route(web::head().to(misc::health)),
        )
        .service(
            resource("/metrics", "jupyterhub.handlers.metrics.MetricsHandler")
                .route(web::get().to(api::metrics)),
        )
        .service(
            resource("/logo", "jupyterhub.handlers.static.LogoHandler")
                .route(web::get().to(misc::logo))
                .route(web::head().to(misc::logo)),
        )
        .service(
            resource("/static/{path:.*}", "jupyterhub.handlers.static.CacheControlStaticFilesHandler")
                .route(web::get().to(misc::file))
                .route(web::head().to(misc::file)),
        )
        .service(
            resource("/security/csp-report", "jupyterhub.handlers.base.CSPReportHandler")
                .route(web::post().to(misc::csp_report)),
        )
        .service(
            resource("/error/{code}", "jupyterhub.handlers.pages.ProxyErrorHandler")
                .route(web::get().to(error::of_proxy)),
        );
    for path in ["/spawn", "/spawn/{user}", "/spawn/{user}/{server:[^/]*}"] {
        scope = scope.service(
            resource(path, "jupyterhub.handlers.pages.SpawnHandler")
                .route(web::get().to(spawn::show))
                .route(web::post().to(spawn::submit)),
        );
    }
    for path in ["/spawn-pending/{user}", "/spawn-pending/{user}/{server:[^/]*}"] {
        scope = scope.service(
            resource(path, "jupyterhub.handlers.pages.SpawnPendingHandler")
                .route(web::get().to(spawn::pending)),
        );
    }
    for path in ["/user/{user}", "/user/{user}/{rest:.*}"] {
        scope = scope.service(
            resource(path, "jupyterhub.handlers.base.UserUrlHandler")
                .route(web::get().to(user::read))
                .route(web::post().to(user::write))
                .route(web::patch().to(user::write))
                .route(web::delete().to(user::write)),
        );
    }
    scope = scope.service(
        resource("/user-redirect/{rest:.*}", "jupyterhub.handlers.base.UserRedirectHandler")
            .route(web::get().to(user::own)),
    );
    for route in hub.auth.authenticator.routes() {
        let path = AuthPath { path: route.path.clone(), xsrf: route.xsrf };
        scope = scope.service(
            resource(&format!("/{}", route.path), "himalia.authenticator")
                .wrap(actix_web::middleware::from_fn(
                    move |rq: actix_web::dev::ServiceRequest, next: actix_web::middleware::Next<_>| {
                        rq.extensions_mut().insert(path.clone());
                        next.call(rq)
                    },
                ))
                .route(web::get().to(login::route))
                .route(web::post().to(login::route)),
        );
    }
    cfg.service(scope.default_service(web::to(pages::misc::not_found)));
    cfg.default_service(web::to(misc::to_hub));
}

/// The OAuth provider, below `/hub/api/oauth2`.
fn oauth_routes(cfg: &mut ServiceConfig) {
    cfg.service(
        resource("/oauth2/authorize", "jupyterhub.apihandlers.auth.OAuthAuthorizeHandler")
            .route(web::get().to(oauth::show))
            .route(web::post().to(oauth::submit)),
    )
    .service(
        resource("/oauth2/token", "jupyterhub.apihandlers.auth.OAuthTokenHandler")
            .route(web::post().to(crate::oauth::token::token)),
    );
}
