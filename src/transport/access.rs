//! Who makes a request, and what it may do: every request of every driver passes here once.
//!
//! Invariants:
//! - a request for another host, and a page of another origin that would publish, are refused
//!   before any handler sees them;
//! - a handler that reads or publishes takes the [`RequestCaller`] that was decided here. A request
//!   without one has not passed here: it is answered with an internal error, and its maker is never
//!   taken for somebody who may do something.

mod hosts;
mod origin;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, Method, Request, header};

use super::connection_info::ConnectionInfo;
use super::{grpc, publish};
use crate::caller::{Caller, Permission};
use crate::config::OriginsConfig;
use crate::error::{Error, Result};
pub(super) use origin::{cors, mark};

/// The rules for requests, of one configuration.
pub(super) struct Access {
    origins: OriginsConfig,
    /// Somebody who has not said who it is.
    anonymous: RequestCaller,
    /// The same, on a web page that may not publish.
    on_foreign_page: RequestCaller,
}

impl Access {
    pub(super) fn new(origins: OriginsConfig, anonymous: Caller) -> Self {
        let on_foreign_page = Caller {
            may_publish: Permission::Nothing,
            ..anonymous.clone()
        };
        Access {
            origins,
            anonymous: RequestCaller(Arc::new(anonymous)),
            on_foreign_page: RequestCaller(Arc::new(on_foreign_page)),
        }
    }

    /// Checks which host a request is for, and names it in the `Host` header. Only a listener that
    /// is guarded against DNS rebinding asks for one of the gateway's own hosts.
    pub(super) fn check_host<B>(&self, request: &mut Request<B>, is_guarded: bool) -> Result<()> {
        hosts::check(request, is_guarded.then_some(&self.origins.hosts))
    }

    /// Decides who makes a request, and puts that into it.
    #[expect(
        clippy::unused_async,
        reason = "keys of an identity provider are waited for here"
    )]
    pub(super) async fn admit<B>(
        &self,
        request: &mut Request<B>,
        connection: &Arc<ConnectionInfo>,
    ) -> Result<()> {
        // Only a browser sends an origin; a program that sends none is no page.
        let headers = request.headers();
        let is_foreign = headers.contains_key(header::ORIGIN)
            && !origin::may_publish(headers, &self.origins, connection);
        if is_foreign && publishes(request.method(), request.uri().path()) {
            return Err(origin::may_not_publish(headers));
        }

        // Without the right as well, so that a publishing route which `publishes` does not know
        // is not open to every page.
        let caller = if is_foreign {
            &self.on_foreign_page
        } else {
            &self.anonymous
        };
        request.extensions_mut().insert(caller.clone());
        Ok(())
    }
}

/// Does this request publish events?
fn publishes(method: &Method, path: &str) -> bool {
    let is_post_to = || path == publish::EVENTS || path.starts_with(publish::TOPICS);
    let is_call = || grpc::PUBLISHING_CALLS.contains(&path);
    match *method {
        Method::POST => is_post_to() || is_call(),
        Method::OPTIONS => false, // asks what is allowed, and does nothing
        _ => is_call(),           // gRPC looks at the path alone
    }
}

/// The caller of a request. A clone is one pointer.
#[derive(Debug, Clone)]
pub(super) struct RequestCaller(Arc<Caller>);

impl RequestCaller {
    /// The one that was decided when the request came.
    ///
    /// # Errors
    /// Internal when nobody has decided.
    pub(super) fn of(extensions: &Extensions) -> Result<Self> {
        extensions.get().cloned().ok_or_else(undecided)
    }
}

fn undecided() -> Error {
    Error::internal("this request passed no access check, which is a bug of the gateway")
}

#[cfg(test)]
impl RequestCaller {
    pub(super) fn anonymous() -> Self {
        RequestCaller(Arc::new(Caller::anonymous()))
    }
}

impl Deref for RequestCaller {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RequestCaller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Self::of(&parts.extensions)
    }
}
