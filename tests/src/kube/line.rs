//! The line between a hub and the API server, which a test can cut.

use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports::free_port;
use crate::wait::eventually;

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Everything goes through.
    Whole,
    /// Connections are refused, and those that there were are closed.
    Refused,
    /// Connections stay open and are accepted, and nothing goes through: a network that swallows packets.
    Silent,
}

/// A port whose connections go on to another one. It works as long as the test's runtime does.
#[derive(Debug)]
pub struct Line {
    /// Its port on 127.0.0.1.
    pub port: u16,
    to: u16,
    condition: watch::Sender<Condition>,
    accepting: Option<JoinHandle<()>>,
}

impl Line {
    /// A whole line to a port on 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be listened on.
    pub async fn to(port: u16) -> Result<Self> {
        let (condition, _) = watch::channel(Condition::Whole);
        let mut line = Self { port: free_port(), to: port, condition, accepting: None };
        line.accept().await?;
        Ok(line)
    }

    /// Changes how the line is, for the connections that there are too.
    ///
    /// # Errors
    /// When the port has been taken by somebody else in the meantime.
    pub async fn be(&mut self, condition: Condition) -> Result<()> {
        self.condition.send_replace(condition);
        match (condition, self.accepting.is_some()) {
            (Condition::Refused, true) => self.stop_accepting().await,
            (Condition::Whole | Condition::Silent, false) => self.accept().await?,
            _ => {}
        }
        Ok(())
    }

    async fn accept(&mut self) -> Result<()> {
        let address = ("127.0.0.1", self.port);
        let listener = eventually("the line's port is free", Duration::from_secs(10), || async move {
            Ok(TcpListener::bind(address).await.ok())
        });
        let listener = listener.await?;
        let (to, condition) = (self.to, self.condition.subscribe());
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(carry(from, to, condition.clone()));
            }
        }));
        Ok(())
    }

    async fn stop_accepting(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            // The port is closed when the task is gone.
            let _ = task.await;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
        }
    }
}

/// Joins a connection with the far end until one of the two ends it, or the line changes. A connection that has gone
/// through a silence is closed at its end: what was under way is lost.
async fn carry(mut from: TcpStream, to: u16, mut condition: watch::Receiver<Condition>) {
    let now = *condition.borrow_and_update();
    if now == Condition::Whole {
        let Ok(mut far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
        tokio::select! {
            _ = copy_bidirectional(&mut from, &mut far) => return,
            _ = condition.changed() => {}
        }
    }
    let _ = condition.wait_for(|condition| *condition != Condition::Silent).await;
}
