//! Who makes a request, and what it may do: every request of every driver passes here once.
//!
//! Invariants:
//! - a request for another host, and a page of another origin that would publish, are refused
//!   before any handler sees them;
//! - a handler that reads or publishes takes the [`RequestCaller`] that was decided here. A request
//!   without one has not passed here: it is answered with an internal error, and its maker is never
//!   taken for somebody who may do something;
//! - whoever shows bad credentials is refused wherever it matters who asks, and nowhere else: not
//!   where health is asked for;
//! - no handler sees a credential, so that none can let it out.

mod allowances;
mod credentials;
mod hosts;
mod origin;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, Method, Request, header};

use super::client_address::KnownClient;
use super::connection_info::ConnectionInfo;
use super::state::TransportConfig;
use super::{admin, grpc, publish};
use crate::auth::Authenticator;
use crate::caller::Caller;
use crate::config::OriginsConfig;
use crate::error::{Error, Result};
use crate::quota::Quotas;
use allowances::Allowances;
use credentials::Shown;
pub(super) use credentials::challenge;
pub(super) use origin::{cors, mark};

/// What was decided of a request.
pub(super) struct Admitted {
    caller: Result<Arc<Caller>>,
    /// It has shown something to be known by.
    pub(super) has_shown: bool,
    /// Why it is refused whatever else it asks, so that its body is not read.
    pub(super) refused: Option<Error>,
}

impl Admitted {
    /// Who makes it, for a handler that is called with that.
    ///
    /// # Errors
    /// Unauthenticated when it has shown bad credentials.
    pub(super) fn caller(&self) -> Result<&Caller> {
        self.caller.as_deref().map_err(Error::clone)
    }

    /// Puts that into the request, where a handler behind routes looks for it.
    pub(super) fn put_into(self, extensions: &mut Extensions) {
        extensions.insert(Decided(self.caller));
    }
}

/// The rules for requests, of one configuration.
pub(super) struct Access {
    origins: OriginsConfig,
    /// Somebody who has not said who it is.
    anonymous: Arc<Caller>,
    /// Who knows the others; none where nobody has to say who it is.
    authenticator: Option<Arc<Authenticator>>,
    allowances: Allowances,
}

impl Access {
    pub(super) fn new(config: &TransportConfig, quotas: Quotas) -> Self {
        let rules = config.quotas;
        Access {
            allowances: Allowances { quotas, rules },
            origins: config.origins.clone(),
            anonymous: Arc::new(config.anonymous.clone()),
            authenticator: config.authenticator.clone(),
        }
    }

    /// Checks which host a request is for, and names it in the `Host` header. Only a listener that
    /// is guarded against DNS rebinding asks for one of the gateway's own hosts.
    pub(super) fn check_host<B>(&self, request: &mut Request<B>, is_guarded: bool) -> Result<()> {
        hosts::check(request, is_guarded.then_some(&self.origins.hosts))
    }

    /// Decides who makes a request.
    ///
    /// # Errors
    /// When a page of another origin would publish.
    pub(super) async fn admit<B>(
        &self,
        request: &mut Request<B>,
        connection: &ConnectionInfo,
        client: &KnownClient,
    ) -> Result<Admitted> {
        // Only a browser sends an origin; a program that sends none is no page.
        let headers = request.headers();
        let is_publishing = publishes(request.method(), request.uri().path());
        let is_foreign = headers.contains_key(header::ORIGIN)
            && !origin::may_publish(headers, &self.origins, client.is_over_tls);
        if is_foreign && is_publishing {
            return Err(origin::may_not_publish(headers));
        }
        // Any page may read events, but not how the gateway is doing.
        let is_of_admin = request.uri().path().starts_with(admin::API);
        if is_of_admin && (is_foreign || origin::is_of_other_site(headers)) {
            return Err(origin::may_not_administer());
        }

        let identified = self.identify(request, connection, client, is_publishing);
        let (caller, has_shown) = identified.await;
        // Without the right as well, so that a publishing route which `publishes` does not know
        // is not open to every page.
        let caller = caller.map(|caller| reading_only(caller, is_foreign));
        let caller = caller.map(|caller| self.allowances.limit(caller, client, connection));

        // Not to be read: what strangers send would take memory from those who may publish.
        let refused = is_publishing.then(|| stranger(&caller)).flatten();
        Ok(Admitted {
            caller,
            has_shown,
            refused,
        })
    }

    /// Who makes a request, and whether it has shown anything to be known by.
    async fn identify<B>(
        &self,
        request: &mut Request<B>,
        connection: &ConnectionInfo,
        client: &KnownClient,
        is_publishing: bool,
    ) -> (Result<Arc<Caller>>, bool) {
        let Some(authenticator) = &self.authenticator else {
            return (Ok(self.anonymous.clone()), false);
        };
        let shown = credentials::take(
            request,
            authenticator,
            &self.origins,
            client.is_over_tls,
            is_publishing,
        );
        match shown {
            Ok(Shown::Nothing) => self.by_certificate(authenticator, connection),
            Ok(Shown::Openly(credential)) => (authenticator.known_by(&credential).await, true),
            Ok(Shown::InCookie {
                credential,
                for_reading_only,
            }) => {
                let caller = authenticator.known_by(&credential).await;
                (
                    caller.map(|caller| reading_only(caller, for_reading_only)),
                    true,
                )
            }
            Err(error) => (Err(error), true),
        }
    }

    fn by_certificate(
        &self,
        authenticator: &Authenticator,
        connection: &ConnectionInfo,
    ) -> (Result<Arc<Caller>>, bool) {
        let names = &connection.certificate_names;
        match authenticator.known_by_certificate(names) {
            Ok(Some(caller)) => (Ok(caller), true),
            Ok(None) => (Ok(self.anonymous.clone()), false),
            Err(error) => (Err(error), true),
        }
    }
}

/// Why somebody cannot publish anything who is not known.
fn stranger(caller: &Result<Arc<Caller>>) -> Option<Error> {
    match caller {
        Ok(caller) => caller.check_is_no_stranger().err(),
        Err(error) => Some(error.clone()),
    }
}

/// A caller, who may only read where that is so.
fn reading_only(caller: Arc<Caller>, for_reading_only: bool) -> Arc<Caller> {
    if !for_reading_only {
        return caller;
    }
    Arc::new(Caller {
        is_read_only: true,
        ..(*caller).clone()
    })
}

/// Does this request publish events, or change the gateway?
fn publishes(method: &Method, path: &str) -> bool {
    let is_post_to = || publish::takes_events(path) || path.starts_with(admin::API);
    let is_call = || grpc::PUBLISHING_CALLS.contains(&path);
    match *method {
        Method::POST => is_post_to() || is_call(),
        Method::OPTIONS => false, // asks what is allowed, and does nothing
        _ => is_call(),           // gRPC looks at the path alone
    }
}

/// What was decided of a request: whose it is, or why that cannot be said.
#[derive(Clone)]
struct Decided(Result<Arc<Caller>>);

/// The caller of a request. A clone is one pointer.
#[derive(Debug, Clone)]
pub(super) struct RequestCaller(Arc<Caller>);

impl RequestCaller {
    /// The one that was decided when the request came.
    ///
    /// # Errors
    /// Unauthenticated when it has shown bad credentials, internal when nobody has decided.
    pub(super) fn of(extensions: &Extensions) -> Result<Self> {
        let decided = extensions.get::<Decided>().ok_or_else(undecided)?;
        decided.0.clone().map(RequestCaller)
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
