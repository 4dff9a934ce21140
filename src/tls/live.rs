//! Certificates and keys that are replaced while connections are served.
//!
//! Invariant: connections go on with what they began with; new ones get what was read last and fits
//! together.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::load::{FileError, FilesSeen, load};
use super::{ServerTls, TlsFiles};
use crate::limits;

/// What is in use. A clone is the same one.
#[derive(Clone)]
pub(crate) struct LiveTls(Arc<ArcSwap<ServerTls>>);

impl LiveTls {
    pub(crate) fn new(tls: Arc<ServerTls>) -> Self {
        LiveTls(Arc::new(ArcSwap::new(tls)))
    }

    /// For a connection that begins now.
    pub(crate) fn current(&self) -> Arc<ServerTls> {
        self.0.load_full()
    }

    /// Has connections from now on use something else.
    pub(crate) fn replace(&self, tls: Arc<ServerTls>) {
        self.0.store(tls);
    }

    /// Looks at the files for as long as it is polled, and uses what they have become.
    pub(crate) async fn follow(self) {
        let mut looks = Looks::default();
        loop {
            sleep(limits::TLS_LOOK_INTERVAL).await;
            let tls = self.current();
            let files = tls.files.clone();
            let Ok(seen) = spawn_blocking(move || FilesSeen::of(&files)).await else {
                return; // the runtime ends
            };
            if looks.are_to_be_read(&tls.seen, seen) {
                self.read_anew(&tls).await;
            }
        }
    }

    async fn read_anew(&self, tls: &Arc<ServerTls>) {
        let files = tls.files.clone();
        match spawn_blocking(move || load(&files)).await {
            // Unless a new configuration has come meanwhile.
            Ok(Ok(new)) => drop(self.0.compare_and_swap(tls, Arc::new(new))),
            Ok(Err(errors)) => report(&tls.files, &errors),
            Err(_) => {}
        }
    }
}

/// Nothing is lost but time, so what was used before goes on.
fn report(files: &TlsFiles, errors: &[FileError]) {
    for FileError { setting, text } in errors {
        tracing::error!(
            "tls.{setting}: {text}. The certificate that was read before stays in use, until the \
             files change again"
        );
    }
    let certificate = files.certificate.display();
    tracing::debug!(%certificate, "the certificate was not replaced");
}

/// What was seen of the files, look by look.
#[derive(Default)]
struct Looks {
    last: Option<FilesSeen>,
    /// They have been read like this, whatever came of it.
    read: Option<FilesSeen>,
}

impl Looks {
    /// Have the files changed, and stood like this for one look? They are read once like this.
    fn are_to_be_read(&mut self, used: &FilesSeen, seen: FilesSeen) -> bool {
        let is_new = seen != *used && self.read.as_ref() != Some(&seen);
        let stands = self.last.as_ref() == Some(&seen);
        if is_new && stands {
            self.read = Some(seen.clone());
        }
        self.last = Some(seen);
        is_new && stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of which nothing is there; they differ in how many there are.
    fn seen(files: usize) -> FilesSeen {
        FilesSeen::missing(files)
    }

    #[test]
    fn files_are_read_once_when_they_have_changed_and_stand() {
        let (used, mut looks) = (seen(1), Looks::default());
        let mut look = |files| looks.are_to_be_read(&used, seen(files));
        assert!(!look(1), "nothing has changed");
        assert!(!look(2), "it may change again at once");
        assert!(!look(3), "as it has");
        assert!(look(3), "it stands");
        assert!(!look(3), "it was read, and was no good");
        assert!(!look(4) && look(4), "it has changed once more");
        assert!(!look(1) && !look(1), "as before");
    }
}
