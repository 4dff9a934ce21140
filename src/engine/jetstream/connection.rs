//! The connection to a cluster of NATS servers.
//!
//! Invariants:
//! - it comes back by itself, on any of the servers, for as long as the gateway runs;
//! - a server that has stopped answering is noticed within seconds.

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use super::options::{JetStreamOptions, NatsCredentials};
use crate::engine::OpenError;
use crate::limits;

/// Counts how often the connection has been made, and notifies those who have to know.
pub(super) type Connects = watch::Receiver<u64>;

/// Connects to one of the servers.
///
/// # Errors
/// None of them can be reached, or they do not take the credentials.
pub(super) async fn connect(options: &JetStreamOptions) -> Result<(Client, Connects), OpenError> {
    let (counting, connects) = watch::channel(0);
    let connecting = connect_options(options)
        .await?
        .event_callback(move |event| {
            if event == Event::Connected {
                counting.send_modify(|count| *count += 1);
            }
            std::future::ready(())
        });
    let connected = connecting.connect(options.servers.as_slice()).await;
    let client = connected.map_err(|error| cannot_connect(options, &error))?;
    Ok((client, connects))
}

/// A connection to publish by. Where it breaks it comes back within seconds or not at all: what
/// still waits in it to be sent must not be sent once the servers have forgotten the ids.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_to_publish(options: &JetStreamOptions) -> Result<Client, OpenError> {
    let connecting = connect_options(options).await?;
    connecting
        .max_reconnects(options.servers.len().min(limits::NATS_PUBLISH_RECONNECTS))
        .connect(options.servers.as_slice())
        .await
        .map_err(|error| cannot_connect(options, &error))
}

async fn connect_options(options: &JetStreamOptions) -> Result<ConnectOptions, OpenError> {
    let mut connecting = ConnectOptions::new()
        .name("vidette")
        .ping_interval(limits::NATS_PING_INTERVAL)
        .connection_timeout(limits::NATS_CONNECT_TIMEOUT)
        .subscription_capacity(limits::NATS_SUBSCRIPTION_MESSAGES)
        .require_tls(options.tls.required)
        .max_reconnects(None);
    if let Some(ca) = &options.tls.ca {
        connecting = connecting.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &options.tls.client {
        connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
    }
    with_credentials(connecting, &options.credentials).await
}

async fn with_credentials(
    connecting: ConnectOptions,
    credentials: &NatsCredentials,
) -> Result<ConnectOptions, OpenError> {
    match credentials.clone() {
        NatsCredentials::None => Ok(connecting),
        NatsCredentials::User { name, password } => {
            Ok(connecting.user_and_password(name, password))
        }
        NatsCredentials::Token(token) => Ok(connecting.token(token)),
        NatsCredentials::NKeySeed(seed) => Ok(connecting.nkey(seed)),
        NatsCredentials::File(path) => {
            let loading = connecting.credentials_file(&path).await;
            loading.map_err(|error| {
                OpenError::new(format!("the credentials file {}: {error}", path.display()))
            })
        }
    }
}

fn cannot_connect(options: &JetStreamOptions, error: &async_nats::ConnectError) -> OpenError {
    let servers = options.servers.join(", ");
    OpenError::new(format!(
        "cannot connect to NATS at {servers}: {error}. Are the servers running, and are address, \
         credentials and TLS right?"
    ))
}
