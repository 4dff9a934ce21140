//! The address of a gateway.
//!
//! Invariant: what is shown of it has no user name and no password.

use std::fmt;

use reqwest::Url;

use super::error::{ClientError, ClientErrorKind};

/// An address that this client can use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct GatewayAddress {
    /// Without a slash at its end: paths are appended to it.
    url: String,
    /// The same without user name and password.
    shown: String,
    pub(super) is_encrypted: bool,
    pub(super) has_password: bool,
}

impl GatewayAddress {
    pub(super) fn parse(text: &str) -> Result<Self, ClientError> {
        let url = match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => return Err(wrong("not an address such as http://127.0.0.1:8080")),
        };
        // A path could not be appended to it; and it would show a token in many a log.
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("an address with a ? or a #; leave them out"));
        }

        Ok(GatewayAddress {
            url: text.trim_end_matches('/').to_owned(),
            shown: without_password(&url),
            is_encrypted: url.scheme() == "https",
            has_password: !url.username().is_empty() || url.password().is_some(),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.url
    }
}

/// The address as a person may see it.
fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    // Both have a host, so neither can be refused.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn wrong(why: &str) -> ClientError {
    ClientError::new(ClientErrorKind::Address, why)
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_http_or_https_and_loses_its_slash() {
        let url = |text| {
            let address = GatewayAddress::parse(text).map_err(|error| error.kind())?;
            Ok((address.as_str().to_owned(), address.is_encrypted))
        };
        assert_eq!(url("http://a:1/"), Ok(("http://a:1".to_owned(), false)));
        assert_eq!(
            url("https://a:1/b/"),
            Ok(("https://a:1/b".to_owned(), true))
        );
        for wrong in [
            "ftp://a",
            "127.0.0.1:8080",
            "http://",
            "",
            "http://a/?access_token=x",
            "http://a/#x",
        ] {
            assert_eq!(url(wrong), Err(ClientErrorKind::Address), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let address = GatewayAddress::parse("http://me:s3cret@a:1").expect("an address");
        assert!(address.has_password && address.as_str().contains("s3cret"));
        assert_eq!(format!("{address} {address:?}"), "http://a:1 http://a:1");
    }
}
