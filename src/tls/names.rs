//! Whom a client's certificate names (RFC 5280 §4.2.1.6).
//!
//! Invariant: only a certificate that has been verified is read here; what is taken of it is
//! bounded in count and in bytes.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;

use crate::limits;

/// The subject alternative names of a certificate: host names, URIs, addresses of mail and of
/// machines. Any other kind, and what is too long or no text, is left out: a name that is not there
/// gives no right.
pub(super) fn of(certificate: &[u8]) -> Vec<Box<str>> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let texts = names.value.general_names.iter().filter_map(text_of);
    texts.take(limits::CERTIFICATE_NAMES).collect()
}

fn text_of(name: &GeneralName<'_>) -> Option<Box<str>> {
    let text = match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => text,
        GeneralName::IPAddress(bytes) => return address_of(bytes),
        _ => return None,
    };
    let is_name = !text.is_empty()
        && text.len() <= limits::CERTIFICATE_NAME_BYTES
        && !text.contains(char::is_control);
    is_name.then(|| Box::from(*text))
}

fn address_of(bytes: &[u8]) -> Option<Box<str>> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_string().into())
}
