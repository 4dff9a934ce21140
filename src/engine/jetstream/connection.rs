//! The connection to a cluster of NATS servers.
//!
//! Invariants:
//! - it comes back by itself, on any of the servers, for as long as the gateway runs;
//! - a server that has stopped answering is noticed within seconds, and so is one that can be
//!   reached again.

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

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
    match connected {
        Ok(client) => Ok((client, connects)),
        Err(error) => Err(cannot_connect(options, &error).await),
    }
}

/// The same at start, where the servers may be starting as well: those that cannot be reached are
/// tried for a while.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_at_start(
    options: &JetStreamOptions,
) -> Result<(Client, Connects), OpenError> {
    let give_up_at = Instant::now() + limits::NATS_OPEN_WAIT;
    loop {
        match connect(options).await {
            Err(error) if error.may_pass() && Instant::now() < give_up_at => {
                tracing::info!("waiting for NATS: {error}");
                sleep(limits::NATS_CONNECT_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// A connection to publish by. Where it breaks it comes back within seconds or not at all: what
/// still waits in it to be sent must not be sent once the servers have forgotten the ids.
///
/// # Errors
/// As [`connect`].
pub(super) async fn connect_to_publish(options: &JetStreamOptions) -> Result<Client, OpenError> {
    let connecting = connect_options(options).await?;
    let connected = connecting
        .max_reconnects(options.servers.len().min(limits::NATS_PUBLISH_RECONNECTS))
        .connect(options.servers.as_slice())
        .await;
    // Asked for again and again by those who wait: the servers are not asked each for its reason.
    connected.map_err(|error| not_connected(options, &error.to_string()))
}

async fn connect_options(options: &JetStreamOptions) -> Result<ConnectOptions, OpenError> {
    let mut connecting = ConnectOptions::new()
        .name("vidette")
        .ping_interval(limits::NATS_PING_INTERVAL)
        .connection_timeout(limits::NATS_CONNECT_TIMEOUT)
        .reconnect_delay_callback(reconnect_pause)
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

/// The pause before the next of so many tries in a row, which doubles. A log that can be reached
/// again is noticed soon.
fn reconnect_pause(tries: usize) -> Duration {
    let doubled = 1_u64.checked_shl(tries.try_into().unwrap_or(u32::MAX));
    let pause = Duration::from_millis(doubled.unwrap_or(u64::MAX));
    match tries {
        0 | 1 => Duration::ZERO,
        _ => pause.min(limits::NATS_RECONNECT_PAUSE_MAX),
    }
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

/// Why none of the servers can be connected to: each is asked once more for its own reason.
async fn cannot_connect(options: &JetStreamOptions, error: &ConnectError) -> OpenError {
    let asking = options.servers.iter().map(async |server| {
        let connecting = connect_options(options)
            .await
            .map_err(|error| error.to_string())?;
        let connected = connecting.connect(server.as_str()).await;
        match connected {
            Ok(_) => Err(format!("{server}: it answers again")),
            Err(error) => Ok::<_, String>(format!("{server}: {error}")),
        }
    });
    let reasons = join_all(asking).await;
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|r| r.unwrap_or_else(|text| text))
        .collect();
    let text = not_connected(options, &reasons.join("; "));
    match error.kind() {
        ConnectErrorKind::Io | ConnectErrorKind::Dns | ConnectErrorKind::TimedOut => text.passing(),
        _ => text,
    }
}

fn not_connected(options: &JetStreamOptions, reasons: &str) -> OpenError {
    let credentials = match &options.credentials {
        NatsCredentials::None => "without credentials".to_owned(),
        shown => format!("with {shown:?}"),
    };
    OpenError::new(format!(
        "cannot connect to NATS {credentials} ({reasons}). Are the servers running, and are \
         address, credentials and TLS right?"
    ))
}
