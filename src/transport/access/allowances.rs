//! What a caller may take as the client that it is, looked up once for each request.

use std::sync::Arc;

use crate::caller::{Allowance, Caller, Client};
use crate::quota::{QuotaRules, Quotas};
use crate::transport::client_address::KnownClient;
use crate::transport::connection_info::ConnectionInfo;

/// The limits of clients, and what they have taken.
pub(super) struct Allowances {
    pub(super) quotas: Quotas,
    pub(super) rules: QuotaRules,
}

impl Allowances {
    /// The caller with what it may take.
    pub(super) fn limit(
        &self,
        caller: Arc<Caller>,
        client: &KnownClient,
        connection: &ConnectionInfo,
    ) -> Arc<Caller> {
        let client = Client {
            address: Some(client.address()),
            identity: &caller.identity,
            connection: &connection.subscriptions,
        };
        let allowance = Allowance::new(&self.quotas, &self.rules, client);
        // Without limits all requests of a caller share it.
        if allowance.is_unlimited() {
            return caller;
        }
        Arc::new(Caller {
            allowance,
            ..Caller::clone(&caller)
        })
    }
}
