//! The token that says who a client is, and where the next one comes from.
//!
//! Invariants:
//! - a token is never shown: it is in no error and in no `Debug`;
//! - the source is asked by one at a time, also where many wait for a token;
//! - a token that the gateway has refused is not taken from its source a second time.

use std::fmt::{self, Display};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
#[cfg(feature = "client-grpc")]
use tonic::metadata::AsciiMetadataValue;

use super::error::{ClientError, ClientErrorKind};
use crate::limits;

/// Where a client's token comes from: a JWT or an API key that the gateway knows (contract §8).
///
/// It is asked for the first token, again when the gateway has refused the one before, and shortly
/// before the end that a JWT names.
#[derive(Clone)]
pub struct TokenSource(Arc<Origin>);

enum Origin {
    Fixed(String),
    File(PathBuf),
    Function(TokenFunction),
}

type TokenFunction = Box<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

impl TokenSource {
    /// A token that has no successor. Reading and publishing end when it expires.
    pub fn fixed(token: impl Into<String>) -> Self {
        TokenSource(Arc::new(Origin::Fixed(token.into())))
    }

    /// A file that has the token and nothing else. Whoever renews the token replaces the file, best
    /// by renaming another one to it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        TokenSource(Arc::new(Origin::File(path.into())))
    }

    /// A function that gets a token, as from an identity provider. Its errors are taken to pass:
    /// it is asked again later. They are shown, so they must not hold a secret.
    ///
    /// ```
    /// use vidette::client::TokenSource;
    ///
    /// async fn ask_the_identity_provider() -> Result<String, std::io::Error> {
    ///     // …
    /// #   Ok("x".to_owned())
    /// }
    /// let source = TokenSource::function(ask_the_identity_provider);
    /// # let _ = source;
    /// ```
    pub fn function<F, T, E>(get: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Display,
    {
        let get = move || get().map(|got| got.map_err(|e| e.to_string())).boxed();
        TokenSource(Arc::new(Origin::Function(Box::new(get))))
    }

    async fn get(&self) -> Result<BearerToken, ClientError> {
        let token = match &*self.0 {
            Origin::Fixed(token) => token.clone(),
            Origin::File(path) => read_file(path).await?,
            // An identity provider that is away comes back.
            Origin::Function(get) => get().await.map_err(|why| {
                let text = format!("no token was got: {why}");
                ClientError::new(ClientErrorKind::Unavailable, text)
            })?,
        };
        BearerToken::parse(token.trim()).map_err(|why| no_token(format!("{self}: {why}")))
    }

    /// What helps when the source has no other token than the one that was refused.
    fn remedy(&self) -> String {
        match &*self.0 {
            Origin::Fixed(_) => "get a new token".to_owned(),
            Origin::File(path) => {
                let path = path.display();
                format!("{path} has no other token than this; put a new one there")
            }
            Origin::Function(_) => "the same token was got again".to_owned(),
        }
    }
}

impl Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Origin::Fixed(_) => f.write_str("the token"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Function(_) => f.write_str("the token that was got"),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSource({self})")
    }
}

/// The text of a file, which is short. A file that is just being written is empty for a moment.
async fn read_file(path: &Path) -> Result<String, ClientError> {
    let mut tries = 0;
    loop {
        let text = read_up_to(limits::MAX_CREDENTIAL_BYTES, path).await;
        let text = text.map_err(|error| no_token(format!("{}: {error}", path.display())))?;
        tries += 1;
        if !text.trim().is_empty() || tries == limits::TOKEN_FILE_TRIES {
            return Ok(text);
        }
        sleep(limits::TOKEN_FILE_PAUSE).await;
    }
}

async fn read_up_to(most_bytes: usize, path: &Path) -> std::io::Result<String> {
    // A byte and a line break more than may be: it is refused for its length.
    let file = tokio::fs::File::open(path).await?;
    let mut text = String::new();
    let mut file = file.take(most_bytes as u64 + 3);
    file.read_to_string(&mut text).await?;
    Ok(text)
}

/// There is no token that can be sent.
fn no_token(why: String) -> ClientError {
    ClientError::new(ClientErrorKind::Unauthenticated, why)
}

/// The value of an `Authorization` header. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct BearerToken(HeaderValue);

impl BearerToken {
    fn parse(token: &str) -> Result<Self, &'static str> {
        if token.is_empty() {
            return Err("there is no token in it");
        }
        if token.len() > limits::MAX_CREDENTIAL_BYTES {
            return Err("it is longer than any token that a gateway takes");
        }
        // White space inside is the likely mistake, as of a file with two tokens.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it is not one token: it has a space or a character that no token has");
        }

        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| "it is no token")?;
        // So that nobody who prints a request shows it.
        value.set_sensitive(true);
        Ok(BearerToken(value))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Will a JWT have expired soon? Of other tokens only the gateway knows.
    fn ends_soon(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let soon = now.unwrap_or_default() + limits::TOKEN_RENEWED_BEFORE;
        self.expiry().is_some_and(|expiry| expiry < soon)
    }

    /// The end that a JWT names, since 1970.
    fn expiry(&self) -> Option<Duration> {
        let payload = self.0.to_str().ok()?.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: JwtClaims = serde_json::from_slice(&payload).ok()?;
        Duration::try_from_secs_f64(claims.exp).ok()
    }

    /// The same for gRPC.
    #[cfg(feature = "client-grpc")]
    pub(super) fn metadata(&self) -> AsciiMetadataValue {
        let mut value = AsciiMetadataValue::try_from(self.0.as_bytes())
            .expect("what is the value of a header is one of metadata");
        value.set_sensitive(true);
        value
    }
}

/// What is read of a JWT; only the gateway checks it.
#[derive(Deserialize)]
struct JwtClaims {
    exp: f64,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// The token that is good for now; all connections of a client share it.
#[derive(Debug)]
pub(super) struct TokenKeeper {
    source: TokenSource,
    /// Held by whoever asks the source.
    asking: tokio::sync::Mutex<()>,
    /// Never held while something is waited for.
    kept: Mutex<KeptTokens>,
}

#[derive(Debug, Default)]
struct KeptTokens {
    current: Option<BearerToken>,
    /// The last one that the gateway did not take, and why.
    refused: Option<(BearerToken, String)>,
}

impl TokenKeeper {
    pub(super) fn new(source: TokenSource) -> Self {
        TokenKeeper {
            source,
            asking: tokio::sync::Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// The current token, or a fresh one where that was refused or ends soon.
    ///
    /// # Errors
    /// Unauthenticated when the source has no token, or none but the one that was refused.
    pub(super) async fn get(&self) -> Result<BearerToken, ClientError> {
        if let Some(token) = self.good_token() {
            return Ok(token);
        }

        // Whoever has waited for the turn may find that another has got the token.
        let _turn = self.asking.lock().await;
        if let Some(token) = self.good_token() {
            return Ok(token);
        }
        let token = self.source.get().await?;
        self.kept(|kept| match &kept.refused {
            Some((refused, why)) if *refused == token => Err(why.clone()),
            _ => {
                kept.current = Some(token.clone());
                Ok(token)
            }
        })
        .map_err(|why| no_token(format!("{why}; {}", self.source.remedy())))
    }

    fn good_token(&self) -> Option<BearerToken> {
        let token = self.kept(|kept| kept.current.clone())?;
        // A fixed one has no successor, and the gateway's clock is the one that counts.
        let is_good = matches!(&*self.source.0, Origin::Fixed(_)) || !token.ends_soon();
        is_good.then_some(token)
    }

    /// The gateway does not take this token, or takes it no more.
    pub(super) fn refuse(&self, token: &BearerToken, why: &str) {
        self.kept(|kept| {
            // Another connection may have a fresh one already.
            if kept.current.as_ref() == Some(token) {
                kept.current = None;
            }
            kept.refused = Some((token.clone(), why.to_owned()));
        });
    }

    fn kept<T>(&self, look: impl FnOnce(&mut KeptTokens) -> T) -> T {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
