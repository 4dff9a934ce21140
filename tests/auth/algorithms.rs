//! Every algorithm once, by keys in files.

use jsonwebtoken::Algorithm;

use crate::common::token::{Signer, rights};
use crate::ground::{Folder, SECRET, bearer, gateway, poll, publish};

const OF_SECRETS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const OF_RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const OF_CURVES: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

#[tokio::test]
async fn tokens_of_every_algorithm_are_accepted_where_it_is_configured_and_nowhere_else() {
    let folder = Folder::new();
    let secret = folder.file("jwt.key", SECRET);
    for algorithm in OF_SECRETS.into_iter().chain(OF_RSA).chain(OF_CURVES) {
        let (signer, key) = if OF_SECRETS.contains(&algorithm) {
            let signer = Signer::of_secret_with(algorithm, SECRET);
            (signer, format!("secret_file = {secret:?}"))
        } else {
            let signer = Signer::new(algorithm);
            let public = folder.file("public.pem", &signer.public_pem);
            (signer, format!("public_key_file = {public:?}"))
        };
        let text = format!("[auth]\n[[auth.jwt]]\nalgorithms = [\"{algorithm:?}\"]\n{key}");
        let gateway = gateway(&text);
        let token = bearer(&signer.token(&rights(&["door.>"], &["door.>"])));
        assert_eq!(poll(&gateway, "door.1", &token).await, 200, "{algorithm:?}");
        let published = publish(&gateway, "door.1", &token).await;
        assert_eq!(published.status, 200, "{algorithm:?}");

        // Another key of the same algorithm is another issuer's.
        let is_quickly_made = OF_CURVES.contains(&algorithm) || algorithm == Algorithm::RS256;
        if is_quickly_made {
            let other = bearer(&Signer::new(algorithm).token(&rights(&[], &["door.>"])));
            assert_eq!(poll(&gateway, "door.1", &other).await, 401, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn a_file_may_hold_the_next_key_as_well() {
    let folder = Folder::new();
    let signers = [
        Signer::new(Algorithm::ES256),
        Signer::new(Algorithm::ES384),
        Signer::new(Algorithm::ES256),
    ];
    let pems: Vec<_> = signers.iter().map(|one| one.public_pem.as_str()).collect();
    let public = folder.file("public.pem", pems.concat());
    let gateway = gateway(&format!(
        "[auth]\n[[auth.jwt]]\nalgorithms = [\"ES256\", \"ES384\"]\npublic_key_file = {public:?}"
    ));
    for signer in &signers {
        let token = bearer(&signer.token(&rights(&[], &["door.>"])));
        assert_eq!(poll(&gateway, "door.1", &token).await, 200);
    }
}
