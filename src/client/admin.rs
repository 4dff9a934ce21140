//! Looking at a gateway, and changing it, by its admin API.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::http::{body_up_to, refusal};
use super::token::BearerToken;
use super::{Client, ClientError};
use crate::limits;

/// The status is answered after a second, a purge after as long as it takes.
const TIMEOUT: Duration = Duration::from_secs(300);

impl Client {
    /// Asks the admin API of the gateway: `status`, `connections?limit=10`, `topics`.
    ///
    /// # Errors
    /// [`super::ClientErrorKind::Unauthenticated`] and [`super::ClientErrorKind::Refused`] where
    /// the gateway wants to know who asks, or does not allow it; those of a gateway that is not
    /// reached.
    pub async fn admin_get(&self, what: &str) -> Result<Value, ClientError> {
        let path = format!("/admin/api/{what}");
        let path = &path;
        let ask = |token: Option<BearerToken>| async move {
            self.json_of(self.http.get(path, token.as_ref())).await
        };
        self.http
            .with_fresh_token(ask)
            .await
            .map(|(value, _)| value)
    }

    /// Has the admin API of the gateway do something: `cut`, `revoke`, `purge`, `delete` or
    /// `read-only`, each with its object.
    ///
    /// # Errors
    /// As those of [`admin_get`](Self::admin_get).
    pub async fn admin_post(&self, action: &str, body: &Value) -> Result<Value, ClientError> {
        let path = format!("/admin/api/{action}");
        let path = &path;
        let ask = |token: Option<BearerToken>| async move {
            let request = self.http.post(path, token.as_ref());
            let request = request.header(CONTENT_TYPE, "application/json");
            self.json_of(request.body(body.to_string())).await
        };
        self.http
            .with_fresh_token(ask)
            .await
            .map(|(value, _)| value)
    }

    async fn json_of(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let sent = request.timeout(TIMEOUT).send().await;
        let response = sent.map_err(|error| self.http.no_answer(&error))?;
        if !response.status().is_success() {
            let passes = |status| matches!(status, 429 | 502..=504 | 507);
            return Err(refusal(response, passes).await);
        }
        let body = body_up_to(limits::READ_ANSWER_BYTES, response).await;
        let body = body.map_err(|error| self.http.no_answer(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::protocol(format!("the answer is no JSON: {error}")))
    }
}
