//! `vidette token pair`: a private key that signs tokens, and the public one that checks them.

use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};

use super::files::{write_private, write_public};
use crate::cli::{CommandResult, Failure};

/// Make a pair of keys, so that who checks tokens cannot make them.
///
/// The private key is for `vidette token new --private-key-file`, the public one for
/// `public_key_file` in [[auth.jwt]]. Both are PEM.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette token pair jwt-private.pem jwt-public.pem
  vidette token new --private-key-file jwt-private.pem --subscribe 'door.>'")]
pub(super) struct PairArgs {
    /// File to write the private key to, for its owner's eyes only; it must not be there yet
    private: PathBuf,
    /// File to write the public key to; it must not be there yet
    public: PathBuf,
    /// What tokens are signed with
    #[arg(long, value_enum, default_value = "es256")]
    algorithm: PairAlgorithm,
}

#[derive(Clone, Copy, ValueEnum)]
enum PairAlgorithm {
    Es256,
    Es384,
    Eddsa,
}

/// Both keys in DER: PKCS#8, and as in a certificate.
struct Pair {
    private: Vec<u8>,
    public: Vec<u8>,
}

pub(super) fn run(args: &PairArgs) -> CommandResult {
    let pair = match args.algorithm {
        PairAlgorithm::Es256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        PairAlgorithm::Es384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        PairAlgorithm::Eddsa => ed25519(),
    };
    let pair = pair.map_err(|_| Failure::new("no keys could be made"))?;

    // The public one first: alone it does no harm.
    write_public(&args.public, &pem("PUBLIC KEY", &pair.public))?;
    write_private(&args.private, &pem("PRIVATE KEY", &pair.private)).inspect_err(|_| {
        // Without the private one it is of no use.
        let _ = std::fs::remove_file(&args.public);
    })
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Result<Pair, aws_lc_rs::error::Unspecified> {
    let pair = EcdsaKeyPair::generate(algorithm)?;
    Ok(Pair {
        private: pair.to_pkcs8v1()?.as_ref().to_vec(),
        public: pair.public_key().as_der()?.as_ref().to_vec(),
    })
}

fn ed25519() -> Result<Pair, aws_lc_rs::error::Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    Ok(Pair {
        private: pair.to_pkcs8v1()?.as_ref().to_vec(),
        public: pair.public_key().as_der()?.as_ref().to_vec(),
    })
}

/// Characters in a line of PEM (RFC 7468 §2).
const LINE: usize = 64;

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE) {
        // Base64 is ASCII, so a line of its bytes is a text.
        pem += &String::from_utf8_lossy(line);
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
