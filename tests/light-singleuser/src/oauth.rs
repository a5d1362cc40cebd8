//! Logging people in by the hub: there, and back again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::Serializer;

use crate::cookies;
use crate::login::{LOGIN_LIFE, Pending, random};
use crate::routes::{App, Asked, Reply, redirect, text};

impl App {
    /// Sends the browser to the hub, to come back to what it asked for.
    pub(crate) fn send_to_hub(&self, asked: &Asked) -> Reply {
        let settings = &self.settings;
        let usual = format!("{}-oauth-state", cookies::login_name(settings));
        // another tab may be on its way at the same time
        let cookie = match cookies::get(&asked.cookies, &usual) {
            Some(_) => format!(
                "{usual}-{}",
                random().chars().filter(char::is_ascii_alphabetic).take(8).collect::<String>()
            ),
            None => usual,
        };
        let verifier = random();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let state =
            self.logins.begin(Pending { next: asked.target.clone(), verifier, cookie: cookie.clone() });
        let query = Serializer::new(String::new())
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &settings.callback)
            .append_pair("response_type", "code")
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", &state)
            .finish();
        let life = u32::try_from(LOGIN_LIFE.as_secs()).ok();
        redirect(&format!("{}{}hub/api/oauth2/authorize?{query}", settings.hub_host, settings.base))
            .cookie(cookies::set(settings, &cookie, &state, life, asked.https))
    }

    /// The browser comes back with a code.
    pub(crate) async fn back_from_hub(&self, asked: &Asked) -> Reply {
        if let Some(error) = asked.query("error") {
            return text(StatusCode::BAD_REQUEST, &format!("The hub refused the login: {error}\n"));
        }
        let (Some(code), Some(state)) = (asked.query("code"), asked.query("state")) else {
            return text(StatusCode::BAD_REQUEST, "code and state are needed\n");
        };
        let pending = self.logins.end(&state);
        let Some(pending) =
            pending.filter(|pending| cookies::get(&asked.cookies, &pending.cookie) == Some(state.as_str()))
        else {
            return text(
                StatusCode::FORBIDDEN,
                "This login does not belong to this browser, or it took too long.\n",
            );
        };
        let token = match self.hub.token_for(&code, &pending.verifier).await {
            Ok(token) => token,
            Err(error) => return text(StatusCode::BAD_GATEWAY, &format!("The login failed: {error}\n")),
        };
        match self.hub.person_of(&token).await {
            Ok(Some(person)) => eprintln!("{} logged in", person.name),
            Ok(None) => return text(StatusCode::FORBIDDEN, "The hub does not know whose login this is.\n"),
            Err(error) => return text(StatusCode::BAD_GATEWAY, &format!("The login failed: {error}\n")),
        }
        let settings = &self.settings;
        let session = self.logins.remember(token);
        redirect(&pending.next)
            .cookie(cookies::set(settings, &pending.cookie, "", Some(0), asked.https))
            .cookie(cookies::set(settings, &cookies::login_name(settings), &session, None, asked.https))
    }

    /// Forgets the browser, and lets the hub do the same.
    pub(crate) fn log_out(&self, asked: &Asked) -> Reply {
        let settings = &self.settings;
        let name = cookies::login_name(settings);
        if let Some(session) = cookies::get(&asked.cookies, &name) {
            self.logins.forget(session);
        }
        redirect(&format!("{}{}hub/logout", settings.hub_host, settings.base)).cookie(cookies::set(
            settings,
            &name,
            "",
            Some(0),
            asked.https,
        ))
    }
}
