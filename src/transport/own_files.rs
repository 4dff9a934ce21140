//! Files of the user's own, from the folder that `pages.dir` names.
//!
//! Invariants:
//! - what is served lies in the folder, also behind every symbolic link on the way to it;
//! - hidden files are not there, but for `.well-known` (RFC 8615), and nothing but regular files;
//! - a redirect leads to a path of this gateway: to a browser `//host` is another host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::percent_decode_str;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::compression;
use super::pages::{nothing_at, of_own_files};
use super::pieces;
use super::router::wrong_method_at;
use crate::config::PagesConfig;
use crate::memory::MemoryBudget;

/// The one hidden folder that is made to be found.
const WELL_KNOWN: &str = ".well-known";
/// What a folder shows.
const INDEX: &str = "index.html";

/// A folder that is served.
pub(super) struct OwnFiles {
    /// Without symbolic links.
    root: PathBuf,
    files: ServeDir,
    config: PagesConfig,
    /// What browsers may do with them.
    headers: HeaderMap,
    /// Files on their way to slow clients are paid from it.
    memory: MemoryBudget,
}

impl OwnFiles {
    pub(super) fn new(folder: &Path, config: &PagesConfig, memory: MemoryBudget) -> Self {
        OwnFiles {
            // A folder that is gone again has nothing to serve.
            root: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
            files: ServeDir::new(folder).append_index_html_on_directories(true),
            headers: of_own_files(config),
            config: config.clone(),
            memory,
        }
    }

    /// Serves a file, or says that there is none.
    pub(super) async fn answer(self: Arc<Self>, mut request: Request) -> Response {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let asked = request.headers().clone();
        let nothing = || nothing_at(&self.config, &method, &asked, uri.path());

        // A hidden file looks to clients as one that does not exist.
        if !self.is_shown_at(uri.path()).await {
            return nothing();
        }

        // Only the path: a redirect is made of the address, which may name any host.
        let path = uri.path_and_query().cloned();
        *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
        let answer = self.files.clone().oneshot(request).await;
        let answer = answer.unwrap_or_else(|never| match never {});

        // What the file service says itself has no body that a person could read.
        match answer.status() {
            StatusCode::NOT_FOUND => nothing(),
            StatusCode::METHOD_NOT_ALLOWED => {
                let allow = [(header::ALLOW, "GET, HEAD")];
                (allow, wrong_method_at(&method, uri.path())).into_response()
            }
            _ => {
                let answer =
                    compression::whole(compression::accepted(&asked), answer.map(Body::new));
                let answer = pieces::paid(&self.memory, answer.await);
                (self.headers.clone(), answer).into_response()
            }
        }
    }

    /// Does an address name something that is served?
    async fn is_shown_at(&self, path: &str) -> bool {
        match below_folder(path) {
            Some(path) => self.has(&path).await,
            None => false,
        }
    }

    /// Is there a file, or a folder with an index, that lies in the folder behind all links?
    async fn has(&self, path: &Path) -> bool {
        match self.resolved(path).await {
            Some((_, kind)) if kind.is_file() => true,
            Some((folder, kind)) if kind.is_dir() => {
                let index = self.resolved(&folder.join(INDEX)).await;
                index.is_some_and(|(_, kind)| kind.is_file())
            }
            _ => false,
        }
    }

    async fn resolved(&self, path: &Path) -> Option<(PathBuf, std::fs::FileType)> {
        let resolved = tokio::fs::canonicalize(self.root.join(path)).await.ok()?;

        // Behind all links it may lie outside the folder, or be hidden within it.
        let is_inside = resolved
            .strip_prefix(&self.root)
            .is_ok_and(|below| below.iter().all(|name| is_shown(&name.to_string_lossy())));
        let kind = tokio::fs::metadata(&resolved).await.ok()?.file_type();
        is_inside.then_some((resolved, kind))
    }
}

/// The relative path that an address names; none where it has an empty, hidden or unusual part.
fn below_folder(path: &str) -> Option<PathBuf> {
    // Decoded before it is split, so that no encoded slash or dot passes the check.
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let path = decoded.strip_prefix('/')?;
    if path.is_empty() {
        return Some(PathBuf::new()); // the folder itself
    }

    // A slash at the end asks for a folder, and names no further part.
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|name| Some(name).filter(|name| is_shown(name)))
        .collect()
}

/// Some clients take a backslash for a slash.
fn is_shown(name: &str) -> bool {
    let is_hidden = name.starts_with('.') && name != WELL_KNOWN;
    !name.is_empty() && !is_hidden && !name.contains(|c: char| c == '\\' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_file_below_the_folder_or_nothing() {
        for (path, named) in [
            ("/", ""),
            ("/a.html", "a.html"),
            ("/a/b/", "a/b"),
            ("/a%2Fb%20c", "a/b c"),
            ("/.well-known/x", ".well-known/x"),
            ("/a...b", "a...b"),
        ] {
            assert_eq!(below_folder(path), Some(named.into()), "{path}");
        }
        for path in [
            "//",
            "//a",
            "/a//",
            "//evil.example/..",
            "/%2Fa",
            "/a/%2F",
            "/.",
            "/..",
            "/a/..",
            "/%2e%2e/a",
            "/.git/config",
            "/a/.env",
            "/%2eenv",
            "/\\evil.example",
            "/%5Cevil.example",
            "/a%00b",
            "/%ff",
            "a",
        ] {
            assert_eq!(below_folder(path), None, "{path}");
        }
    }
}
