//! Every route and every call × what a request shows × what that gives, against contract §8.
//!
//! What is expected is written from the contract alone: it knows no handler, and not how callers
//! are made.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// What is open to everybody.
    Nothing,
    /// What any right is enough for.
    AnyRight,
    /// The topic `door.1`.
    Reading,
    /// To publish to `door.1`.
    Publishing,
    /// The inside of the gateway.
    Admin,
}

/// What the paths of HTTP ask for. Who adds one says it here.
fn asked_at(method: &Method, path: &str) -> Asks {
    match (method.as_str(), path) {
        (_, "/" | "/healthz" | "/readyz") => Asks::Nothing,
        (_, "/clients/longpoll/backend.php") => Asks::Reading,
        (_, page) if page.starts_with("/clients/") => Asks::Nothing,
        (_, "/v1/bus") => Asks::AnyRight,
        (_, "/metrics") => Asks::Admin,
        ("GET" | "HEAD", "/v1/poll" | "/v1/sse" | "/v1/topics" | "/backend.php") => Asks::Reading,
        ("POST", "/v1/events" | "/v1/topics/{*topic}") => Asks::Publishing,
        new => panic!("{new:?} is not known: what does it ask for?"),
    }
}

/// What the calls ask for. Who adds one says it here.
fn asked_by_call(path: &str) -> Asks {
    match path.strip_prefix("/vidette.v1.EventBus/") {
        Some("Publish" | "PublishStream") => Asks::Publishing,
        Some("Subscribe" | "ListTopics") => Asks::Reading,
        Some("GetBus") => Asks::AnyRight,
        Some(new) => panic!("{new} is not known: what does it ask for?"),
        None => Asks::Nothing, // health and reflection
    }
}

/// Rights that a credential gives, or that everybody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    Nothing,
    Reading,
    ReadingOther,
    Publishing,
    PublishingOther,
    Both,
    Admin,
}

const ALL_RIGHTS: [Gives; 7] = [
    Gives::Nothing,
    Gives::Reading,
    Gives::ReadingOther,
    Gives::Publishing,
    Gives::PublishingOther,
    Gives::Both,
    Gives::Admin,
];

impl Gives {
    fn subscribe(self) -> &'static [&'static str] {
        match self {
            Gives::Reading | Gives::Both => &["door.>"],
            Gives::ReadingOther => &["lift.>"],
            Gives::Admin => &["vidette.admin"],
            Gives::Nothing | Gives::Publishing | Gives::PublishingOther => &[],
        }
    }

    fn publish(self) -> &'static [&'static str] {
        match self {
            Gives::Publishing | Gives::Both => &["door.>"],
            Gives::PublishingOther => &["lift.>"],
            Gives::Nothing | Gives::Reading | Gives::ReadingOther | Gives::Admin => &[],
        }
    }

    fn is_enough_for(self, asks: Asks) -> bool {
        match asks {
            Asks::Nothing => true,
            Asks::AnyRight => self != Gives::Nothing,
            Asks::Reading => matches!(self, Gives::Reading | Gives::Both),
            Asks::Publishing => matches!(self, Gives::Publishing | Gives::Both),
            Asks::Admin => self == Gives::Admin,
        }
    }
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Nothing,
    Token,
    ApiKey,
    Certificate,
    UnknownCertificate,
    NotAToken,
    TokenOfAnotherKey,
    TokenWithoutSignature,
    ExpiredToken,
    TokenOfLater,
    CookieOfOwnPage,
    CookieOfAllowedPage,
    CookieOfForeignPage,
    CookieWithoutOrigin,
    CookieOfSameOrigin,
    CookieOfOtherSite,
    ExpiredTokenInCookie,
    Parameter,
    ExpiredTokenInParameter,
    ParameterOffTheList,
    BadTokenBesideCookie,
    TokenBesideCertificate,
}

const ALL_SHOWN: [Shows; 22] = [
    Shows::Nothing,
    Shows::Token,
    Shows::ApiKey,
    Shows::Certificate,
    Shows::UnknownCertificate,
    Shows::NotAToken,
    Shows::TokenOfAnotherKey,
    Shows::TokenWithoutSignature,
    Shows::ExpiredToken,
    Shows::TokenOfLater,
    Shows::CookieOfOwnPage,
    Shows::CookieOfAllowedPage,
    Shows::CookieOfForeignPage,
    Shows::CookieWithoutOrigin,
    Shows::CookieOfSameOrigin,
    Shows::CookieOfOtherSite,
    Shows::ExpiredTokenInCookie,
    Shows::Parameter,
    Shows::ExpiredTokenInParameter,
    Shows::ParameterOffTheList,
    Shows::BadTokenBesideCookie,
    Shows::TokenBesideCertificate,
];

/// Whom a request is taken for.
enum TakenFor {
    /// Somebody with the rights of what it shows.
    Known,
    /// Somebody who has shown nothing that counts.
    Anonymous,
    /// Somebody who has shown something bad.
    Nobody,
}

impl Shows {
    fn taken_for(self, asks: Asks) -> TakenFor {
        let is_publishing = asks == Asks::Publishing;
        match self {
            Shows::Token
            | Shows::ApiKey
            | Shows::Certificate
            | Shows::TokenBesideCertificate
            | Shows::CookieOfOwnPage
            | Shows::CookieOfAllowedPage
            | Shows::Parameter => TakenFor::Known,
            // For publishing a cookie counts only with an origin.
            Shows::CookieWithoutOrigin | Shows::CookieOfSameOrigin if !is_publishing => {
                TakenFor::Known
            }
            Shows::Nothing
            | Shows::UnknownCertificate
            | Shows::CookieWithoutOrigin
            | Shows::CookieOfSameOrigin
            | Shows::CookieOfForeignPage
            | Shows::CookieOfOtherSite
            | Shows::ParameterOffTheList => TakenFor::Anonymous,
            Shows::NotAToken
            | Shows::TokenOfAnotherKey
            | Shows::TokenWithoutSignature
            | Shows::ExpiredToken
            | Shows::TokenOfLater
            | Shows::ExpiredTokenInCookie
            | Shows::ExpiredTokenInParameter
            | Shows::BadTokenBesideCookie => TakenFor::Nobody,
        }
    }
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Served,
    /// 401, `UNAUTHENTICATED`
    Unauthenticated,
    /// 403, `PERMISSION_DENIED`
    Forbidden,
    Other(u16),
}

/// What contract §8 says.
fn expected(asks: Asks, shows: Shows, gives: Gives, everybody: Gives) -> Outcome {
    // Health is for everybody, whatever is shown.
    if asks == Asks::Nothing {
        return Outcome::Served;
    }
    // A page of another origin publishes nowhere, whoever its reader is.
    if asks == Asks::Publishing && shows == Shows::CookieOfForeignPage {
        return Outcome::Forbidden;
    }
    match shows.taken_for(asks) {
        TakenFor::Known if gives.is_enough_for(asks) => Outcome::Served,
        TakenFor::Known => Outcome::Forbidden,
        TakenFor::Anonymous if everybody.is_enough_for(asks) => Outcome::Served,
        // Credentials would help.
        TakenFor::Anonymous | TakenFor::Nobody => Outcome::Unauthenticated,
    }
}

const SECRET: &[u8] = b"a secret of the test, of more than 32 bytes";

/// A token, good from so many seconds from now for so many more.
fn token(secret: &[u8], gives: Gives, from_s: i64, for_s: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = i64::try_from(now.expect("after 1970").as_secs()).expect("it fits");
    let claims = json!({
        "sub": "somebody",
        "nbf": now_s + from_s,
        "exp": now_s + from_s + for_s,
        "vidette": { "publish": gives.publish(), "subscribe": gives.subscribe() },
    });
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret).expect("a key"),
    )
    .expect("a token")
}

fn good_token(gives: Gives) -> String {
    token(SECRET, gives, -60, 3600)
}

fn expired_token(gives: Gives) -> String {
    token(SECRET, gives, -3600, 1800)
}

/// The same claims, under a header that says that nobody has signed them.
fn unsigned(token: &str) -> String {
    // {"alg":"none","typ":"JWT"}
    let claims = token.split('.').nth(1).expect("claims");
    format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
}

fn key_of(gives: Gives) -> String {
    format!("the-key-of-{gives:?}")
}

/// A subject alternative name.
fn certificate_of(gives: Gives) -> String {
    format!("{gives:?}.example").to_lowercase()
}

/// A gateway that knows keys, tokens and certificates, and gives this to everybody else.
struct Guarded {
    table: RouteTable,
    everybody: Gives,
    requests: Vec<(String, Method)>,
    _folder: TempDir,
}

impl Guarded {
    async fn new(everybody: Gives) -> Self {
        let folder = TempDir::new().expect("a folder");
        let secret = folder.path().join("jwt.key");
        std::fs::write(&secret, SECRET).expect("a file");
        let mut text = format!(
            "[legacy]\nwait = \"1ms\"\ntopic = \"door.1\"\n\
             [origins]\nallow = [\"https://allowed.test\"]\n\
             [auth]\nquery_parameter = \"access_token\"\ncookie = \"vidette\"\n\
             anonymous = {{ publish = {:?}, subscribe = {:?} }}\n\
             [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = {:?}\n",
            everybody.publish(),
            everybody.subscribe(),
            secret.display().to_string(),
        );
        for gives in ALL_RIGHTS {
            let digest = Sha256::digest(key_of(gives));
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let rights = format!(
                "publish = {:?}\nsubscribe = {:?}\n",
                gives.publish(),
                gives.subscribe()
            );
            text += &format!("[[auth.api_key]]\nname = \"{gives:?}\"\nsha256 = \"{digest}\"\n");
            text += &rights;
            let certificate = certificate_of(gives);
            text += &format!("[[auth.certificate]]\nname = \"{certificate}\"\n{rights}");
        }
        let config = Config::parse(&text, Overrides::default()).expect("a configuration");
        let transport = TransportConfig::of(&config, &AuthBackground::default());
        let table = table_with(&config, transport);
        let event = request(Method::POST, "/v1/events", "application/json", EVENT);
        let event = with_token(event, &good_token(Gives::Both));
        assert_eq!(answer(&table, event).await.status(), StatusCode::OK);
        Guarded {
            requests: http_requests(&table).await,
            table,
            everybody,
            _folder: folder,
        }
    }

    /// Asks for everything; gives what did not end as it has to.
    async fn check(&self, shows: Shows, gives: Gives) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, method) in &self.requests {
            let asks = asked_at(method, path);
            let ask = request(method.clone(), &asking(path), "application/json", EVENT);
            let answer = self.ask(ask, shows, gives).await;
            let outcome = http_outcome(&answer);
            let what = format!("{method} {path}");
            wrong.extend(self.difference(&what, asks, shows, gives, outcome));
            let is_challenged = answer.headers().contains_key(header::WWW_AUTHENTICATE);
            if (outcome == Outcome::Unauthenticated) != is_challenged {
                wrong.push(format!(
                    "{what} shows {shows:?}: challenged: {is_challenged}"
                ));
            }
        }
        for path in all_calls() {
            let answer = self.ask(call_of(&path), shows, gives).await;
            let outcome = call_outcome(&path, answer).await;
            let asks = asked_by_call(&path);
            wrong.extend(self.difference(&path, asks, shows, gives, outcome));
        }
        wrong
    }

    async fn ask(&self, mut request: Request<Body>, shows: Shows, gives: Gives) -> Response {
        let names = show(&mut request, shows, gives);
        let connection = Arc::new(ConnectionInfo {
            certificate_names: names.into_iter().map(Into::into).collect(),
            ..ConnectionInfo::plain(connection().peer)
        });
        let answer = self.table.answer(request, &connection, true);
        answer.await.expect("an answer")
    }

    fn difference(
        &self,
        what: &str,
        asks: Asks,
        shows: Shows,
        gives: Gives,
        outcome: Outcome,
    ) -> Option<String> {
        let everybody = self.everybody;
        let expected = expected(asks, shows, gives, everybody);
        let is_fine = match outcome {
            // A parameter that is none of the gateway's may be refused for itself.
            Outcome::Other(400) => shows == Shows::ParameterOffTheList,
            // Pages that are not installed are missing for everybody.
            Outcome::Other(404) => asks == Asks::Nothing,
            outcome => outcome == expected,
        };
        (!is_fine).then(|| {
            format!(
                "{what} asks for {asks:?} and shows {shows:?}, which gives {gives:?}, where \
                 everybody has {everybody:?}: {outcome:?} and not {expected:?}"
            )
        })
    }
}

fn http_outcome(answer: &Response) -> Outcome {
    match answer.status() {
        status if status.is_success() || status.is_redirection() => Outcome::Served,
        StatusCode::UNAUTHORIZED => Outcome::Unauthenticated,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        other => Outcome::Other(other.as_u16()),
    }
}

fn asking(path: &str) -> String {
    let path = path.replace("{*topic}", "door.1");
    match &*path {
        "/v1/poll" | "/v1/sse" => format!("{path}?wait=0&topic=door.1"),
        "/v1/topics" => format!("{path}?topic=door.1"),
        _ => path,
    }
}

fn all_calls() -> Vec<String> {
    let sets = [
        grpc::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(calls_of).collect()
}

/// A request that each call can serve to its end.
fn call_of(path: &str) -> Request<Body> {
    let topic = vec!["door.1".to_owned()];
    match path.strip_prefix("/vidette.v1.EventBus/") {
        Some("Subscribe") => {
            let first = client_proto::SubscribeRequest {
                topic,
                after: "earliest".into(),
                limit: 1,
                ..Default::default()
            };
            call(path, &first)
        }
        Some("ListTopics") => {
            let doors = client_proto::ListTopicsRequest {
                topic,
                ..Default::default()
            };
            call(path, &doors)
        }
        _ => guarded_call(path).unwrap_or_else(|| call(path, &())),
    }
}

async fn call_outcome(path: &str, answer: Response) -> Outcome {
    // Those that are open may go on for ever; a refusal stands in the head.
    if asked_by_call(path) == Asks::Nothing {
        let code = answer.headers().get("grpc-status");
        return match code.map(HeaderValue::as_bytes) {
            Some(b"16") => Outcome::Unauthenticated,
            Some(b"7") => Outcome::Forbidden,
            _ => Outcome::Served,
        };
    }
    match code_of(answer).await {
        Code::Ok => Outcome::Served,
        Code::Unauthenticated => Outcome::Unauthenticated,
        Code::PermissionDenied => Outcome::Forbidden,
        other => Outcome::Other(other as u16),
    }
}

fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = value.parse().expect("a header");
    request.headers_mut().append(name, value);
    request
}

fn with_token(request: Request<Body>, token: &str) -> Request<Body> {
    with_header(request, "authorization", &format!("Bearer {token}"))
}

fn with_parameter(request: &mut Request<Body>, name: &str, value: &str) {
    let target = request.uri().to_string();
    let separator = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{separator}{name}={value}");
    *request.uri_mut() = target.parse().expect("an address");
}

/// Shows something with a request; gives the names of the connection's certificate.
fn show(request: &mut Request<Body>, shows: Shows, gives: Gives) -> Vec<String> {
    let mut taken = std::mem::take(request);
    let mut names = Vec::new();
    let good = good_token(gives);
    let cookie = format!("other=1; vidette={good}");
    taken = match shows {
        Shows::Nothing => taken,
        Shows::Token => with_token(taken, &good),
        Shows::ApiKey => with_token(taken, &key_of(gives)),
        Shows::Certificate | Shows::TokenBesideCertificate => {
            // The certificate's rights are others than the token's, which counts before it.
            let is_beside = shows == Shows::TokenBesideCertificate;
            names.push("unknown.example".to_owned());
            if is_beside {
                names.push(certificate_of(Gives::Both));
                with_token(taken, &good)
            } else {
                names.push(certificate_of(gives));
                taken
            }
        }
        Shows::UnknownCertificate => {
            names.push("unknown.example".to_owned());
            taken
        }
        Shows::NotAToken => with_token(taken, "no-token-at-all"),
        Shows::TokenOfAnotherKey => {
            let other = b"another secret that is as long as the first one";
            with_token(taken, &token(other, gives, -60, 3600))
        }
        Shows::TokenWithoutSignature => with_token(taken, &unsigned(&good)),
        Shows::ExpiredToken => with_token(taken, &expired_token(gives)),
        Shows::TokenOfLater => with_token(taken, &token(SECRET, gives, 3600, 3600)),
        Shows::CookieOfOwnPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "http://localhost")
        }
        Shows::CookieOfAllowedPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "https://allowed.test")
        }
        Shows::CookieOfForeignPage => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "https://foreign.test")
        }
        Shows::CookieWithoutOrigin => with_header(taken, "cookie", &cookie),
        Shows::CookieOfSameOrigin => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "sec-fetch-site", "same-origin")
        }
        Shows::CookieOfOtherSite => {
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "sec-fetch-site", "cross-site")
        }
        Shows::ExpiredTokenInCookie => {
            let cookie = format!("vidette={}", expired_token(gives));
            let taken = with_header(taken, "cookie", &cookie);
            with_header(taken, "origin", "http://localhost")
        }
        Shows::Parameter => {
            with_parameter(&mut taken, "access_token", &good);
            taken
        }
        Shows::ExpiredTokenInParameter => {
            with_parameter(&mut taken, "access_token", &expired_token(gives));
            taken
        }
        Shows::ParameterOffTheList => {
            with_parameter(&mut taken, "token", &good);
            taken
        }
        Shows::BadTokenBesideCookie => {
            let taken = with_header(taken, "cookie", &cookie);
            let taken = with_header(taken, "origin", "http://localhost");
            with_token(taken, "no-token-at-all")
        }
    };
    *request = taken;
    names
}

#[tokio::test]
async fn whoever_shows_something_gets_what_it_gives_and_nothing_else() {
    let (guarded, mut wrong) = (Guarded::new(Gives::Nothing).await, Vec::new());
    for shows in ALL_SHOWN {
        for gives in ALL_RIGHTS {
            wrong.extend(guarded.check(shows, gives).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn whoever_shows_nothing_that_counts_gets_what_everybody_has() {
    let mut wrong = Vec::new();
    for everybody in ALL_RIGHTS {
        let guarded = Guarded::new(everybody).await;
        for shows in ALL_SHOWN {
            wrong.extend(guarded.check(shows, Gives::Nothing).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
