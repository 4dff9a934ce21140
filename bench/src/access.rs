//! How the bench comes in: whose certificates it trusts, and the token that it shows.
//!
//! Invariant: the token is in requests alone, never in a report or an error.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};

use super::address::Address;
use super::args::AccessArgs;
use super::tls::{self, Trust};
use crate::limits;

const NO_TRUST: &str = "an address https://… needs --ca FILE, or --insecure-tls";

/// What is spoken inside of TLS.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// The same for all readers and publishers of a run.
#[derive(Default)]
pub(crate) struct Access {
    /// For HTTP/1.1, and for HTTP/2: which one it is has to be offered.
    tls: Option<[Arc<ClientConfig>; 2]>,
    token: Option<String>,
}

impl Access {
    pub(crate) fn read(args: &AccessArgs) -> Result<Self, String> {
        let trust = match &args.ca {
            Some(file) => Some(Trust::Authorities(file)),
            None => args.insecure_tls.then_some(Trust::Anyone),
        };
        let config = trust.map(tls::client_config).transpose()?;
        Ok(Access {
            tls: config.map(|config| tls::with_protocols(&config)),
            token: args.token_file.as_deref().map(read_token).transpose()?,
        })
    }

    /// Says in time that an address cannot be reached so.
    pub(crate) fn check(&self, address: &Address) -> Result<(), String> {
        if address.server_name.is_some() && self.tls.is_none() {
            return Err(NO_TRUST.to_owned());
        }
        Ok(())
    }

    /// The client's side of a new connection; none where the address is not encrypted.
    pub(crate) fn session(
        &self,
        address: &Address,
        protocol: Protocol,
    ) -> io::Result<Option<ClientConnection>> {
        let Some(name) = address.server_name.clone() else {
            return Ok(None);
        };
        let configs = self.tls.as_ref();
        let [http1, http2] = configs.ok_or_else(|| io::Error::other(NO_TRUST))?;
        let config = match protocol {
            Protocol::Http1 => http1,
            Protocol::Http2 => http2,
        };
        let session = ClientConnection::new(config.clone(), name);
        session.map(Some).map_err(io::Error::other)
    }

    /// The value of the header that names the caller.
    pub(crate) fn authorization(&self) -> Option<String> {
        let token = self.token.as_ref();
        token.map(|token| format!("Bearer {token}"))
    }

    /// The same as a line of a request's head; nothing without a token.
    pub(crate) fn authorization_line(&self) -> String {
        let value = self.authorization();
        value.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"))
    }
}

fn read_token(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("--token-file {}: {error}", file.display()))?;
    let token = text.trim();

    // Anything else would end up as a header of its own, or be refused without a clear reason.
    let is_one_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_one_word || token.len() > limits::TOKEN_BYTES {
        return Err(format!(
            "--token-file {} does not hold one token of at most {} bytes",
            file.display(),
            limits::TOKEN_BYTES
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn token_of(text: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("it is written");
        read_token(file.path())
    }

    #[test]
    fn a_token_is_one_word_and_an_error_does_not_repeat_it() {
        assert_eq!(token_of("abc.def\n").as_deref(), Ok("abc.def"));
        let long = "secret".repeat(limits::TOKEN_BYTES);
        for wrong in ["", "secret\r\nX: y", "secret two", &long] {
            let error = token_of(wrong).expect_err("an error");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_encrypted_address_needs_somebody_to_trust() {
        let access = Access::default();
        let address = |text| Address::parse(text).expect("an address");
        assert!(access.check(&address("http://127.0.0.1:1")).is_ok());
        assert!(access.check(&address("https://127.0.0.1:1")).is_err());
    }
}
