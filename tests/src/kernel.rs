//! A kernel of a server, as a notebook uses it: started over REST, spoken to over a websocket.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::Person;

const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// A kernel with an open websocket.
#[derive(Debug)]
pub struct Kernel {
    /// Its id, by which it is found again.
    pub id: String,
    session: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Kernel {
    /// Starts a Python kernel in the server at `server` (`user/alice/`) and connects to it. The person must have
    /// opened a page of the server before, which gives the cookies for it.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(person: &Person, server: &str) -> Result<Self> {
        let request = person.scripted(Method::POST, &format!("{server}api/kernels"))?;
        let answer = request.json(&json!({ "name": "python3" })).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status == 201, "starting a kernel answers {status}: {text}");
        let kernel: Value = serde_json::from_str(&text)?;
        let id = kernel.get("id").and_then(Value::as_str).context("a kernel without id")?;
        Self::connect(person, server, id).await
    }

    /// Connects to a kernel that runs.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(person: &Person, server: &str, id: &str) -> Result<Self> {
        let session = uuid::Uuid::new_v4().simple().to_string();
        let mut url = person.url(&format!("{server}api/kernels/{id}/channels?session_id={session}"))?;
        let cookies = person.cookies(&url);
        let origin = url.origin().ascii_serialization();
        url.set_scheme("ws").ok().context("the address has no websocket form")?;
        let mut request = url.as_str().into_client_request()?;
        request.headers_mut().insert("Cookie", cookies.parse()?);
        request.headers_mut().insert("Origin", origin.parse()?);
        let (socket, _) =
            tokio_tungstenite::connect_async(request).await.context("the websocket is refused")?;
        Ok(Self { id: id.to_owned(), session, socket })
    }

    /// Runs code and returns what it printed.
    ///
    /// # Errors
    /// When the code raises, or the connection breaks.
    pub async fn execute(&mut self, code: &str) -> Result<String> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let header = json!({
            "msg_id": id, "msg_type": "execute_request", "session": self.session,
            "username": "", "version": "5.3", "date": "2026-01-01T00:00:00Z",
        });
        let content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true,
        });
        let message = json!({
            "channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": [],
        });
        self.socket.send(Message::text(message.to_string())).await?;
        tokio::time::timeout(ANSWER_WITHIN, self.collect(&id)).await.context("the kernel does not answer")?
    }

    /// Waits until the other side has closed the websocket.
    pub async fn closes(&mut self) {
        while let Some(Ok(frame)) = self.socket.next().await {
            if frame.is_close() {
                return;
            }
        }
    }

    /// What is printed in answer to the request `id`, until the kernel is idle again and has replied.
    async fn collect(&mut self, id: &str) -> Result<String> {
        let (mut printed, mut idle, mut replied) = (String::new(), false, false);
        while !(idle && replied) {
            let frame = self.socket.next().await.context("the websocket was closed")??;
            let Message::Text(text) = frame else { continue };
            let message: Value = serde_json::from_str(&text)?;
            let field = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if field("/parent_header/msg_id") != id {
                continue;
            }
            match field("/header/msg_type") {
                "stream" => printed.push_str(field("/content/text")),
                "status" => idle = field("/content/execution_state") == "idle",
                "execute_reply" => replied = true,
                "error" => bail!("the code raised {}: {}", field("/content/ename"), field("/content/evalue")),
                _ => {}
            }
        }
        Ok(printed)
    }
}
