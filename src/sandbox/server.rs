//! What both sandboxes share: a listener on loopback, the clock on the wire, and an end without leftovers.
//!
//! # Promises
//! * Every answer carries a `Date` header of the sandbox's own [`Clock`]; clients take the remote time from it.
//! * `POST /__sandbox/clock {"advance_seconds": N}` moves that clock; `GET /__sandbox/clock` reads it.
//! * Dropping a [`Server`] ends its listener and cuts every connection; [`Server::stop`] lets open answers finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection;
use super::connection::Served;
use super::tls::Tls;
use crate::clock::Clock;
use crate::error::Error;
use crate::error::Result;

/// How long [`Server::stop`] waits for open answers.
const GRACE: Duration = Duration::from_secs(5);

/// A sandbox that is listening. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Binds `address` (port 0 takes a free one) and serves `routes` there.
    ///
    /// The clock control and the `Date` header are added to the routes.
    ///
    /// # Errors
    /// Config, if the address is taken or not allowed.
    pub async fn start(routes: Router, clock: Clock, address: SocketAddr) -> Result<Self> {
        Ok(Self::on(bind(address).await?, routes, clock, None))
    }

    /// Serves `routes` on a listener that is already bound, for owners who need its address first; with `tls` over HTTPS too.
    pub(super) fn on(listener: Bound, routes: Router, clock: Clock, tls: Option<Tls>) -> Self {
        let control = get(read_clock).post(move_clock);
        let routes = routes.merge(Router::new().route("/__sandbox/clock", control).with_state(clock.clone()));
        let served = Arc::new(Served::new(routes, clock, tls));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener.listener, served, stopped));
        Self { address: listener.address, stop, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more requests, lets the open ones finish for a few seconds, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, self.tasks.join_next()).await.is_err() {
            tracing::debug!("The sandbox ends although answers are still open.");
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds `address`; port 0 takes a free one.
///
/// # Errors
/// Config, if the address is taken or not allowed.
pub async fn bind(address: SocketAddr) -> Result<Bound> {
    let fail = |cause: std::io::Error| {
        Error::config(format!("the sandbox cannot listen on {address}"))
            .hint("choose another port, or 0 for a free one")
            .source(cause)
    };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok(Bound { listener, address })
}

/// Takes connections until told to stop, then waits for the open ones.
async fn accept(listener: TcpListener, served: Arc<Served>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection::serve(stream, Arc::clone(&served), stopped.clone()));
                }
                // Out of descriptors or the peer is gone already: the next accept may work again.
                Err(error) => {
                    tracing::debug!(%error, "The sandbox could not take a connection.");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockOrder {
    advance_seconds: i64,
}

async fn read_clock(State(clock): State<Clock>) -> Response {
    axum::Json(serde_json::json!({ "now": clock.now().to_rfc3339() })).into_response()
}

async fn move_clock(State(clock): State<Clock>, axum::Json(order): axum::Json<ClockOrder>) -> Response {
    clock.advance(TimeDelta::try_seconds(order.advance_seconds).unwrap_or_default());
    read_clock(State(clock)).await
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        use tokio::io::AsyncReadExt;
        use tokio::io::AsyncWriteExt;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_clock_is_on_every_answer_and_can_be_moved() {
        let clock = Clock::held_at(DateTime::UNIX_EPOCH);
        let server = Server::start(Router::new(), clock.clone(), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let answer = ask(server.address(), "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("Date: Thu, 01 Jan 1970 00:00:00 GMT"), "{answer}");
        let order = "{\"advance_seconds\":3600}";
        let answer = ask(
            server.address(),
            &format!(
                "POST /__sandbox/clock HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{order}",
                order.len()
            ),
        )
        .await;
        assert!(answer.contains("1970-01-01T01:00:00"), "{answer}");
        assert_eq!(clock.now().timestamp(), 3600);
    }

    #[tokio::test]
    async fn a_dropped_server_is_gone() {
        let server =
            Server::start(Router::new(), Clock::system(), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = server.address();
        drop(server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).await.is_err());
        let server = Server::start(Router::new(), Clock::system(), address).await.unwrap();
        server.stop().await;
    }
}
