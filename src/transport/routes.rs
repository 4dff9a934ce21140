//! The routes of a listener, which a new configuration can replace while it serves.
//!
//! Invariants:
//! - a request is answered by the routes of one configuration, from its first byte to its last;
//! - nothing that runs is ended by a replacement: what was answered before goes on with the routes
//!   that it began with.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use axum::http::{Method, Request};
use axum::response::Response;

use super::connection_info::ConnectionInfo;
use super::router::{Begun, RouteParts, RouteTable};
use super::state::{ConnectionLimits, Settings};
use crate::config::ListenAddress;

/// The routes of a listener. A clone is a pointer.
#[derive(Clone)]
pub(crate) struct Routes {
    live: Arc<LiveRoutes>,
    listener: ListenerRules,
}

/// What is special about a listener.
#[derive(Clone, Copy)]
pub(super) struct ListenerRules {
    /// Does it answer for hosts of the gateway's own alone?
    pub(super) is_guarded: bool,
    /// The port to which the configuration may send its requests; none where it is encrypted itself
    /// or can be reached from this machine alone.
    pub(super) https_port: Option<u16>,
}

impl ListenerRules {
    /// Reached from this machine alone.
    pub(super) const LOCAL: Self = ListenerRules {
        is_guarded: true,
        https_port: None,
    };
}

struct LiveRoutes {
    parts: RouteParts,
    current: ArcSwap<RouteTable>,
}

impl Routes {
    /// Routes that answer for the hosts of the configuration and the loopback names alone.
    pub(crate) fn new(parts: RouteParts, settings: Settings) -> Self {
        let current = ArcSwap::from_pointee(RouteTable::new(&parts, settings));
        Routes {
            live: Arc::new(LiveRoutes { parts, current }),
            listener: ListenerRules::LOCAL,
        }
    }

    /// The same for an address: what everybody can reach by its own name is asked by any. Where it
    /// is not encrypted, there may be a port that is.
    pub(crate) fn at(&self, address: &ListenAddress, https_port: Option<u16>) -> Self {
        let is_local = address.is_local();
        let listener = ListenerRules {
            is_guarded: is_local,
            https_port: https_port.filter(|_| !is_local),
        };
        Routes {
            listener,
            ..self.clone()
        }
    }

    /// Has requests and connections from now on follow these settings, on every listener.
    pub(crate) fn replace(&self, settings: Settings) {
        // Built before it is stored, so that no request waits for it.
        let table = RouteTable::new(&self.live.parts, settings);
        self.live.current.store(Arc::new(table));
    }

    /// The routes for one request.
    pub(crate) fn current(&self) -> CurrentRoutes {
        CurrentRoutes {
            table: self.live.current.load_full(),
            listener: self.listener,
        }
    }

    /// What connections are bound by at the moment.
    pub(crate) fn limits<T>(&self, read: impl FnOnce(&ConnectionLimits) -> T) -> T {
        read(self.live.current.load().limits())
    }

    /// Answers a request that is read already; see [`CurrentRoutes::answer`].
    pub(crate) fn answer<B>(
        &self,
        request: Request<B>,
        connection: Arc<ConnectionInfo>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.current().answer(request, connection)
    }
}

/// The routes that one request is answered by.
pub(crate) struct CurrentRoutes {
    table: Arc<RouteTable>,
    listener: ListenerRules,
}

impl CurrentRoutes {
    /// What connections are bound by.
    pub(crate) fn limits(&self) -> &ConnectionLimits {
        self.table.limits()
    }

    /// Is this one of the few requests that a gateway has very many of: to wait for events, or to
    /// publish one?
    pub(crate) fn takes_lean_path(&self, method: &Method, path: &str) -> bool {
        self.table.takes_lean_path(method, path)
    }

    /// Answers a request. It cannot fail: an error is an answer.
    ///
    /// What is returned is kept for as long as a stream of HTTP/2 lives, or a poll waits. So the
    /// request has a box until what answers begins, and that has one of its own until the answer is
    /// there, or a poll waits: a waiting stream took 1,250 bytes more without, and a waiting poll
    /// 1,500. The second is made no earlier, or a thousand requests that come at once would leave
    /// as many holes.
    pub(crate) fn answer<B>(
        self,
        request: Request<B>,
        connection: Arc<ConnectionInfo>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = Box::new(request);
        async move {
            // The first box is freed where the second is made.
            let beginning = self
                .table
                .begin(unboxed(request), &connection, self.listener);
            Ok(match Box::pin(beginning).await? {
                Begun::Answered(answer) => answer,
                Begun::Waits { waiting, has_shown } => {
                    self.table.end_wait(waiting.await, has_shown)
                }
            })
        }
    }
}

/// Takes out what is in a box, and frees it.
#[expect(
    clippy::boxed_local,
    reason = "a box that is only moved out of lives on until its scope ends"
)]
fn unboxed<T>(boxed: Box<T>) -> T {
    *boxed
}
