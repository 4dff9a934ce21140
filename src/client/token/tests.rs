//! What a token is, and when the next one is asked for.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_token_is_one_word_within_a_bound() {
    let longest = "x".repeat(limits::MAX_CREDENTIAL_BYTES);
    for good in ["a.b.c", "key_1", longest.as_str()] {
        assert!(BearerToken::parse(good).is_ok());
    }
    let longer = longest.clone() + "x";
    for wrong in ["", "a b", "a\nb", "ключ", longer.as_str()] {
        assert!(BearerToken::parse(wrong).is_err());
    }
}

#[tokio::test]
async fn nothing_that_can_be_printed_shows_a_token() {
    let source = TokenSource::fixed("s3cret");
    let keeper = TokenKeeper::new(source.clone());
    let token = keeper.get().await.expect("a token");
    keeper.refuse(&token, "expired");
    let error = keeper.get().await.expect_err("there is no other");
    let header = token.header();
    let shown = format!("{source} {source:?} {keeper:?} {token:?} {header:?} {error} {error:?}");
    assert!(!shown.contains("s3cret"), "{shown}");

    let wrong = TokenKeeper::new(TokenSource::fixed("s3cret s3cret"));
    let error = wrong.get().await.expect_err("two words");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_source_is_asked_again_only_when_its_token_was_refused() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let keeper = TokenKeeper::new(TokenSource::function(|| async {
        // The first two answers are the same token.
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(format!("token-{}", asked / 2))
    }));
    let first = keeper.get().await.expect("a token");
    assert_eq!(keeper.get().await.expect("the same"), first);
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);

    keeper.refuse(&first, "it has expired");
    let error = keeper.get().await.expect_err("the refused one again");
    assert!(error.to_string().contains("it has expired"), "{error}");
    assert_eq!(error.kind(), ClientErrorKind::Unauthenticated);

    let second = keeper.get().await.expect("a fresh one");
    // A connection that still had the first one changes nothing.
    keeper.refuse(&first, "it has expired");
    assert_eq!(keeper.get().await.expect("the fresh one"), second);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_and_waited_for_while_it_is_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").expect("a file");
    let keeper = TokenKeeper::new(TokenSource::file(&path));
    let first = keeper.get().await.expect("a token");
    assert_eq!(first.header(), "Bearer first");

    keeper.refuse(&first, "it has expired");
    std::fs::write(&path, "").expect("a file");
    let writing = async {
        sleep(limits::TOKEN_FILE_PAUSE).await;
        std::fs::write(&path, "second\n").expect("a file");
    };
    let (second, ()) = tokio::join!(keeper.get(), writing);
    assert_eq!(second.expect("a fresh token").header(), "Bearer second");

    std::fs::remove_file(&path).expect("it goes");
    let error = TokenKeeper::new(TokenSource::file(&path)).get().await;
    let error = error.expect_err("no file").to_string();
    assert!(error.contains("token: No such file"), "{error}");
}

#[tokio::test]
async fn many_who_wait_for_a_token_ask_for_it_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let keeper = TokenKeeper::new(TokenSource::function(|| async {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(format!("token-{asked}"))
    }));
    let tokens = futures_util::future::join_all((0..5).map(|_| keeper.get())).await;
    assert!(tokens.iter().all(Result::is_ok));
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_token_that_names_its_end_is_replaced_shortly_before_it() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let keeper = TokenKeeper::new(TokenSource::function(|| async {
        // The first one has ten seconds left, the next one an hour.
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let exp = now.as_secs() + [10, 3600][asked.min(1)];
        let payload = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}"));
        Ok::<_, std::io::Error>(format!("a.{payload}.c"))
    }));
    let first = keeper.get().await.expect("a token");
    let second = keeper.get().await.expect("a fresher one");
    assert!(first != second);
    assert_eq!(keeper.get().await.expect("the same"), second);
}
