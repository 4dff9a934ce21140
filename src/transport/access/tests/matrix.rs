//! Every route and every call × what a request shows × what that gives, against contract §8.
//!
//! What is expected is written from the contract alone: it knows no handler, and not how callers
//! are made.

mod guarded;
mod showing;

use axum::http::Method;

use guarded::Guarded;

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
    /// The same, where a page of another origin may not look either.
    AdminApi,
    /// To change something of it.
    Administering,
}

/// What the paths of HTTP ask for. Who adds one says it here.
fn asked_at(method: &Method, path: &str) -> Asks {
    match (method.as_str(), path) {
        (_, "/" | "/healthz" | "/readyz" | "/openapi.json") => Asks::Nothing,
        (_, "/clients/longpoll/backend.php") => Asks::Reading,
        (_, page) if page.starts_with("/clients") || page.starts_with("/docs") => Asks::Nothing,
        (_, "/v1/bus") => Asks::AnyRight,
        (_, "/metrics" | "/admin") => Asks::Admin,
        ("GET" | "HEAD", api) if api.starts_with("/admin/api/") => Asks::AdminApi,
        ("POST", api) if api.starts_with("/admin/api/") => Asks::Administering,
        ("GET" | "HEAD", "/v1/poll" | "/v1/sse" | "/v1/topics" | "/backend.php") => Asks::Reading,
        ("POST", "/v1/events" | "/v1/topics/{*topic}" | "/v1/cloudevents") => Asks::Publishing,
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
    Operator,
}

const ALL_RIGHTS: [Gives; 8] = [
    Gives::Nothing,
    Gives::Reading,
    Gives::ReadingOther,
    Gives::Publishing,
    Gives::PublishingOther,
    Gives::Both,
    Gives::Admin,
    Gives::Operator,
];

impl Gives {
    fn subscribe(self) -> &'static [&'static str] {
        match self {
            Gives::Reading | Gives::Both => &["door.>"],
            Gives::ReadingOther => &["lift.>"],
            Gives::Admin | Gives::Operator => &["vidette.admin"],
            Gives::Nothing | Gives::Publishing | Gives::PublishingOther => &[],
        }
    }

    fn publish(self) -> &'static [&'static str] {
        match self {
            Gives::Publishing | Gives::Both => &["door.>"],
            Gives::PublishingOther => &["lift.>"],
            Gives::Operator => &["vidette.admin"],
            Gives::Nothing | Gives::Reading | Gives::ReadingOther | Gives::Admin => &[],
        }
    }

    fn is_enough_for(self, asks: Asks) -> bool {
        match asks {
            Asks::Nothing => true,
            Asks::AnyRight => self != Gives::Nothing,
            Asks::Reading => matches!(self, Gives::Reading | Gives::Both),
            Asks::Publishing => matches!(self, Gives::Publishing | Gives::Both),
            Asks::Admin | Asks::AdminApi => matches!(self, Gives::Admin | Gives::Operator),
            Asks::Administering => self == Gives::Operator,
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
        let is_publishing = matches!(asks, Asks::Publishing | Asks::Administering);
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
    // Nor does it see or change the inside of the gateway.
    let is_of_other_page = matches!(shows, Shows::CookieOfForeignPage | Shows::CookieOfOtherSite);
    if matches!(asks, Asks::AdminApi | Asks::Administering) && is_of_other_page {
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
