//! Keys that tokens are verified with, and the files that they are in.
//!
//! Invariants:
//! - each key knows by which algorithms it verifies, so that no other one is tried with it;
//! - a private key is refused where a public one belongs.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::limits;

/// A key, with what it may verify.
#[derive(Clone)]
pub(crate) struct VerificationKey {
    /// By which tokens name it; none of a key in a file.
    pub(crate) id: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey for {:?}", self.algorithms)
    }
}

impl VerificationKey {
    pub(crate) fn new(id: Option<Box<str>>, algorithms: &[Algorithm], key: DecodingKey) -> Self {
        let algorithms = algorithms.to_vec();
        VerificationKey {
            id,
            algorithms,
            key,
        }
    }

    /// The same key for this algorithm alone; none where it is not one of its own.
    pub(crate) fn narrowed(self, algorithm: Algorithm) -> Option<Self> {
        let fits = self.fits(algorithm);
        fits.then(|| VerificationKey {
            algorithms: vec![algorithm],
            ..self
        })
    }

    /// Can it verify what was signed by this algorithm?
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// Reads a secret: the bytes of a file, less one newline at the end.
pub(super) fn read_secret(file: &Path) -> Result<VerificationKey, String> {
    let bytes = read_file(file)?;
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if secret.len() < limits::MIN_SECRET_BYTES {
        return Err(short_secret(file, secret.len()));
    }
    let key = DecodingKey::from_secret(secret);
    let key = key.map_err(|_| short_secret(file, secret.len()))?;
    let algorithms = AlgorithmFamily::Hmac.algorithms();
    Ok(VerificationKey::new(None, algorithms, key))
}

fn short_secret(file: &Path, bytes: usize) -> String {
    let (file, least) = (file.display(), limits::MIN_SECRET_BYTES);
    format!(
        "{file} has {bytes} bytes; a secret has at least {least}, or it can be guessed: \
         openssl rand -base64 48 makes one"
    )
}

/// Reads the public keys of a PEM file; each of them has to fit one of the algorithms.
pub(super) fn read_public_keys(
    file: &Path,
    algorithms: &[Algorithm],
) -> Result<Vec<VerificationKey>, String> {
    let bytes = read_file(file)?;
    let mut keys = Vec::new();
    for block in Pem::iter_from_reader(Cursor::new(bytes)) {
        let block = block.map_err(|_| at(file, "is not PEM"))?;
        let key = public_key(&block).map_err(|error| at(file, &error))?;
        if !algorithms.iter().any(|algorithm| key.fits(*algorithm)) {
            return Err(at(file, &unfit(&key)));
        }
        keys.push(key);
    }
    if keys.is_empty() || keys.len() > limits::MAX_VERIFICATION_KEYS {
        return Err(at(file, &wrong_count(keys.len())));
    }
    Ok(keys)
}

fn at(file: &Path, error: &str) -> String {
    format!("{} {error}", file.display())
}

fn wrong_count(count: usize) -> String {
    let most = limits::MAX_VERIFICATION_KEYS;
    format!("has {count} keys in PEM (-----BEGIN PUBLIC KEY-----); from 1 to {most} are taken")
}

fn unfit(key: &VerificationKey) -> String {
    let fitting: Vec<_> = key
        .algorithms
        .iter()
        .map(|one| format!("{one:?}"))
        .collect();
    format!(
        "has a key for {}, but algorithms has none of these",
        fitting.join(", ")
    )
}

fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|opened| {
        // One byte more shows that there is more.
        opened
            .take(limits::MAX_KEY_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
    });
    opened.map_err(|error| format!("{}: {error}", file.display()))?;
    if bytes.len() as u64 > limits::MAX_KEY_FILE_BYTES {
        let most = limits::MAX_KEY_FILE_BYTES;
        return Err(at(
            file,
            &format!("has more than {most} bytes; is it a key?"),
        ));
    }
    Ok(bytes)
}

const PRIVATE: &str = "has a private key, which verifying needs not and should not lie here; \
    openssl pkey -pubout makes the public one of it";

fn public_key(block: &Pem) -> Result<VerificationKey, String> {
    match block.label.as_str() {
        "PUBLIC KEY" => {
            let parsed = SubjectPublicKeyInfo::from_der(&block.contents);
            of_info(&parsed.map_err(|_| NOT_A_KEY)?.1)
        }
        "RSA PUBLIC KEY" => {
            let parsed = RSAPublicKey::from_der(&block.contents);
            of_rsa(&parsed.map_err(|_| NOT_A_KEY)?.1)
        }
        "CERTIFICATE" => {
            let parsed = block.parse_x509().map_err(|_| NOT_A_KEY)?;
            of_info(parsed.public_key())
        }
        label if label.contains("PRIVATE") => Err(PRIVATE.to_owned()),
        label => Err(format!("has {label:?} where a public key belongs")),
    }
}

const NOT_A_KEY: &str = "has a public key that cannot be read";
const UNKNOWN_KEY: &str = "has a key that is neither RSA, P-256, P-384 nor Ed25519";

fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<VerificationKey, String> {
    let bytes = &*info.subject_public_key.data;
    if info.algorithm.algorithm == OID_SIG_ED25519 {
        let key = DecodingKey::from_ed_der(bytes);
        return Ok(VerificationKey::new(None, &[Algorithm::EdDSA], key));
    }
    match info.parsed().map_err(|_| NOT_A_KEY)? {
        PublicKey::RSA(key) => of_rsa(&key),
        PublicKey::EC(_) => of_curve(info, bytes),
        _ => Err(UNKNOWN_KEY.to_owned()),
    }
}

fn of_rsa(key: &RSAPublicKey<'_>) -> Result<VerificationKey, String> {
    rsa_key(None, key.modulus, key.exponent)
}

/// Integers of DER may begin with a zero, as do those of some key sets.
fn without_zeros(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

/// An RSA key of these components, big-endian.
pub(crate) fn rsa_key(
    id: Option<Box<str>>,
    modulus: &[u8],
    exponent: &[u8],
) -> Result<VerificationKey, String> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let bits = modulus.len() * 8;
    let (least, most) = (limits::MIN_RSA_BITS, limits::MAX_RSA_BITS);
    if !(least..=most).contains(&bits) {
        return Err(format!(
            "has an RSA key of {bits} bits; from {least} to {most} are taken"
        ));
    }
    let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
    let algorithms = AlgorithmFamily::Rsa.algorithms();
    Ok(VerificationKey::new(id, algorithms, key))
}

fn of_curve(info: &SubjectPublicKeyInfo<'_>, point: &[u8]) -> Result<VerificationKey, String> {
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|parameters| parameters.as_oid().ok());
    let algorithm = match curve {
        Some(curve) if curve == OID_EC_P256 => Algorithm::ES256,
        Some(curve) if curve == OID_NIST_EC_P384 => Algorithm::ES384,
        _ => return Err(UNKNOWN_KEY.to_owned()),
    };
    Ok(VerificationKey::new(
        None,
        &[algorithm],
        DecodingKey::from_ec_der(point),
    ))
}
