//! What browsers may do with a page.
//!
//! Invariants:
//! - a page runs the scripts that it was built with and no other, whatever an event brings into it;
//! - no page of another site shows one of these in a frame, unless the configuration names it.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::PagesConfig;

/// What scripts of a page may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptRules {
    Strict,
    /// `eval` too, which prototype.js reads JSON with, and an event handler that is empty, by which
    /// it finds out what browser it is in.
    WithEval,
}

const EVAL_AND_EMPTY_HANDLER: &str =
    " 'unsafe-eval' 'unsafe-hashes' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";

/// The headers of pages, as a configuration has them.
#[derive(Clone)]
pub(in crate::transport) struct PageSecurity {
    /// The sources of `frame-ancestors`.
    framed_by: String,
    /// Is it the gateway alone?
    is_framed_by_itself: bool,
}

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A page's address may have a token in it, which no other site is to see.
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// For browsers that do not know `frame-ancestors`.
const SAMEORIGIN: HeaderValue = HeaderValue::from_static("SAMEORIGIN");
/// A browser asks anew each time, so that a new gateway meets no page of an old one.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

impl PageSecurity {
    pub(in crate::transport) fn of(config: &PagesConfig) -> Self {
        let mut framed_by = "'self'".to_owned();
        for origin in &config.framed_by {
            let _ = write!(framed_by, " {}", origin.as_str());
        }
        PageSecurity {
            framed_by,
            is_framed_by_itself: config.framed_by.is_empty(),
        }
    }

    /// The headers of one of the gateway's own pages.
    pub(super) fn headers(
        &self,
        content_type: &'static str,
        body: &str,
        rules: ScriptRules,
    ) -> HeaderMap {
        let mut scripts = String::new();
        for script in inline_scripts(body) {
            let digest = STANDARD.encode(Sha256::digest(script));
            let _ = write!(scripts, " 'sha256-{digest}'");
        }
        if rules == ScriptRules::WithEval {
            scripts.push_str(EVAL_AND_EMPTY_HANDLER);
        }
        let policy = format!(
            "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; \
             img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors {}",
            self.framed_by
        );
        let mut headers = self.common(&policy);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, NO_CACHE);
        headers
    }

    fn common(&self, policy: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(header::REFERRER_POLICY, SAME_ORIGIN);
        if self.is_framed_by_itself {
            headers.insert(header::X_FRAME_OPTIONS, SAMEORIGIN);
        }
        // The configuration has made sure that the origins are fit for a header.
        let policy = HeaderValue::try_from(policy).ok();
        headers.extend(policy.map(|policy| (POLICY, policy)));
        headers
    }
}

const POLICY: HeaderName = header::CONTENT_SECURITY_POLICY;

/// The headers of the user's own files. What scripts may do there is their own affair.
pub(in crate::transport) fn of_own_files(config: &PagesConfig) -> HeaderMap {
    let security = PageSecurity::of(config);
    security.common(&format!("frame-ancestors {}", security.framed_by))
}

/// The scripts that stand in a page itself.
fn inline_scripts(body: &str) -> impl Iterator<Item = &str> {
    let tags = body.split("<script").skip(1);
    tags.filter_map(|rest| {
        let (tag, rest) = rest.split_once('>')?;
        let (script, _) = rest.split_once("</script>")?;
        (!tag.contains("src=") && !script.is_empty()).then_some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_stand_in_a_page_are_named_by_their_digests() {
        let page = "<script src=\"a.js\"></script><script type=\"module\">go()</script>";
        assert_eq!(inline_scripts(page).collect::<Vec<_>>(), ["go()"]);

        let security = PageSecurity {
            framed_by: "'self' https://a.test".to_owned(),
            is_framed_by_itself: false,
        };
        let headers = security.headers("text/html", page, ScriptRules::Strict);
        let policy = headers[POLICY].to_str().expect("text");
        // printf 'go()' | openssl dgst -sha256 -binary | base64
        let digest = "script-src 'self' 'sha256-5KYv+PUboo5h+0+YAtGRPbwv5d/QxzHslP4YGnUaxRw=';";
        assert!(policy.contains(digest), "{policy}");
        assert!(policy.ends_with("frame-ancestors 'self' https://a.test"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!headers.contains_key(header::X_FRAME_OPTIONS));
    }
}
