//! What a token says, once its signature is verified.
//!
//! Invariant: a claim that is not as it has to be makes the token a bad one; no right is guessed.

use serde_json::{Map, Value};

use crate::caller::{Permission, Rights};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;

/// The claims that matter here.
#[derive(Debug)]
pub(super) struct Claims {
    /// `jti`
    pub(super) id: Option<Box<str>>,
    /// `sub`
    pub(super) subject: Option<Box<str>>,
    /// `exp`, in milliseconds since 1970.
    pub(super) expires_ms: Option<i64>,
    /// `vidette`
    pub(super) rights: Rights,
}

impl Claims {
    pub(super) fn of(claims: &Map<String, Value>) -> Result<Self> {
        Ok(Claims {
            id: name(claims, "jti")?,
            subject: name(claims, "sub")?,
            expires_ms: time_ms(claims, "exp")?,
            rights: rights(claims.get("vidette"))?,
        })
    }
}

/// A text by which a token can be revoked: one that could not be would outlive its revocation.
fn name(claims: &Map<String, Value>, claim: &str) -> Result<Option<Box<str>>> {
    let most = limits::MAX_CREDENTIAL_ID_BYTES;
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) if name.len() <= most => Ok(Some(name.as_str().into())),
        Some(Value::String(_)) => Err(bad(&format!("{claim} has more than {most} bytes"))),
        Some(_) => Err(bad(&format!("{claim} is not a text"))),
    }
}

/// Seconds since 1970, which may have a fraction (RFC 7519 §2, `NumericDate`).
fn time_ms(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>> {
    match claims.get(claim) {
        None => Ok(None),
        Some(seconds) => {
            let seconds = seconds.as_f64().filter(|seconds| seconds.is_finite());
            let seconds = seconds.ok_or_else(|| bad(&format!("{claim} is not a time")))?;
            // The conversion takes what is beyond the range of an i64 to its end.
            #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
            Ok(Some((seconds * 1000.0) as i64))
        }
    }
}

fn rights(claim: Option<&Value>) -> Result<Rights> {
    match claim {
        None | Some(Value::Null) => Ok(Rights::NONE),
        Some(Value::Object(lists)) => Ok(Rights {
            publish: permission(lists, "publish")?,
            subscribe: permission(lists, "subscribe")?,
        }),
        Some(_) => Err(bad("vidette is not an object of publish and subscribe")),
    }
}

fn permission(lists: &Map<String, Value>, list: &str) -> Result<Permission> {
    let filters = match lists.get(list) {
        None | Some(Value::Null) => return Ok(Permission::Nothing),
        Some(Value::Array(filters)) => filters.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    let not_texts = || bad(&format!("vidette.{list} is not a list of texts"));
    let filters: Vec<&str> = filters.ok_or_else(not_texts)?;
    let permission = Permission::of_list(filters.into_iter());
    permission.map_err(|error| bad(&format!("vidette.{list}: {error}")))
}

fn bad(what: &str) -> Error {
    let detail = format!("the token's claim {what}; ask for another token");
    Error::new(ErrorKind::Unauthenticated, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> Result<Claims> {
        Claims::of(value.as_object().expect("an object"))
    }

    #[test]
    fn what_is_missing_gives_nothing() {
        for empty in [json!({}), json!({"vidette": {}}), json!({"vidette": null})] {
            assert_eq!(claims(&empty).expect("claims").rights, Rights::NONE);
        }
        let reader = json!({"exp": 1.5, "sub": "a", "vidette": {"subscribe": ["door.>"]}});
        let reader = claims(&reader).expect("claims");
        assert_eq!(reader.expires_ms, Some(1500));
        assert_eq!(reader.rights.publish, Permission::Nothing);
        assert!(matches!(reader.rights.subscribe, Permission::Topics(_)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = vec!["a"; 101];
        for (wrong, part) in [
            (json!({"jti": 7}), "jti is not a text"),
            (json!({"sub": "x".repeat(513)}), "sub has more than"),
            (json!({"exp": "soon"}), "exp is not a time"),
            (json!({"exp": null}), "exp is not a time"),
            (json!({"vidette": []}), "vidette is not an object"),
            (
                json!({"vidette": {"publish": "a"}}),
                "vidette.publish is not a list",
            ),
            (
                json!({"vidette": {"publish": ["a", 7]}}),
                "vidette.publish is not a list",
            ),
            (
                json!({"vidette": {"subscribe": ["a", "b..c"]}}),
                "vidette.subscribe: [1]: ",
            ),
            (
                json!({"vidette": {"subscribe": many}}),
                "vidette.subscribe: 101 filters",
            ),
        ] {
            let refused = claims(&wrong).expect_err(part);
            assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
            assert!(refused.to_string().contains(part), "{part}: {refused}");
        }
    }
}
