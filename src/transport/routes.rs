//! The routes of a listener, which a new configuration can replace while it serves.
//!
//! Invariants:
//! - a request is answered by the routes of one configuration, from its first byte to its last;
//! - nothing that runs is ended by a replacement: what was answered before goes on with the routes
//!   that it began with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use axum::http::{Method, Request};

use super::answering::Answering;
use super::connection_info::ConnectionInfo;
use super::router::{RouteParts, RouteTable};
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
    ) -> Answering<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.current().answer(Box::new(request), connection)
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

    /// Answers a request.
    pub(crate) fn answer<B>(
        self,
        request: Box<Request<B>>,
        connection: Arc<ConnectionInfo>,
    ) -> Answering<B>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Answering::new(self.table, request, connection, self.listener)
    }
}
