//! SIGHUP: a new configuration while the gateway serves.

use futures_util::future::join_all;
use nix::sys::signal::Signal;

use crate::common::gateway::{Gateway, Setup};
use crate::common::read::{ALL, Reader, SubscribeParams, Transport};
use crate::streams::{RawSse, gateway_over, until_subscribed};

fn gateway(config: &str, flags: &[&str]) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config: config.to_owned(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..Setup::default()
    })
}

/// Reloads, and waits until the log says so.
async fn reload(gateway: &Gateway, outcome: &str) {
    let before = gateway.log().matches(outcome).count();
    gateway.signal(Signal::SIGHUP);
    let is_told = || async { gateway.log().matches(outcome).count() > before };
    gateway.until(outcome, is_told).await;
}

const IN_FORCE: &str = "the configuration is in force";
const INVALID: &str = "the configuration is invalid: the one before stays in force";

async fn status_with_parameter(gateway: &Gateway) -> u16 {
    let url = format!("{}/v1/poll?wait=0&shop=7", gateway.url());
    reqwest::get(url)
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

#[tokio::test]
async fn new_requests_follow_and_streams_live_on() {
    let mut gateway = gateway("", &[]);
    let mut readers = Vec::new();
    for via in ALL {
        let opened = Reader::open(via, &gateway, &SubscribeParams::default()).await;
        readers.push(opened.expect("a subscription"));
    }
    assert_eq!(status_with_parameter(&gateway).await, 400);

    gateway.rewrite_config("[requests]\nignore_parameters = [\"shop\"]\n");
    reload(&gateway, IN_FORCE).await;
    assert!(
        gateway.log().contains("changed=\"requests\""),
        "{}",
        gateway.log()
    );
    assert_eq!(status_with_parameter(&gateway).await, 200);
    gateway.publish_numbers("door.1", 1).await;
    for mut reader in readers {
        assert_eq!(reader.event().await.0.vid, 1);
    }
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing_and_all_its_errors_are_logged() {
    let mut gateway = gateway("[requests]\nignore_parameters = [\"shop\"]\n", &[]);
    for (wrong, errors) in [
        (
            "[bus]\nheartbeat = \"soon\"\n[limits]\nmax_evnts = 3\n",
            &[
                "vidette.toml:2:13: bus.heartbeat",
                "vidette.toml:4:13: limits.max_evnts",
            ][..],
        ),
        ("[requests\n", &["vidette.toml:1:", "not TOML: "]),
    ] {
        gateway.rewrite_config(wrong);
        reload(&gateway, INVALID).await;
        for error in errors {
            assert!(gateway.log().contains(error), "{error}: {}", gateway.log());
        }
        assert_eq!(status_with_parameter(&gateway).await, 200);
    }

    // A file that is gone is an error like any other, and the next one is taken.
    std::fs::remove_file(gateway.config_file()).expect("it is removed");
    reload(&gateway, INVALID).await;
    gateway.rewrite_config("");
    reload(&gateway, IN_FORCE).await;
    assert_eq!(status_with_parameter(&gateway).await, 400);
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let mut gateway = gateway("", &[]);
    gateway.rewrite_config("[bus]\nheartbeat = \"7s\"\n[limits]\nmax_connections = 500\n");
    reload(&gateway, "need a restart").await;
    let log = gateway.log();
    assert!(log.contains("settings=\"bus.heartbeat\""), "{log}");
    assert!(log.contains("changed=\"limits.max_connections\""), "{log}");

    // Taken back, there is nothing to restart for.
    gateway.rewrite_config("");
    reload(&gateway, IN_FORCE).await;
    assert_eq!(gateway.log().matches("need a restart").count(), 1);
}

#[tokio::test]
async fn the_level_of_the_log_follows_unless_a_flag_gives_it() {
    let debug = "[log]\nlevel = \"debug\"\n";
    for (flags, is_followed) in [(&[][..], true), (&["--log", "info"], false)] {
        let mut gateway = gateway("", flags);
        gateway.rewrite_config(debug);
        reload(&gateway, IN_FORCE).await;
        // Said at this level: a head that never comes.
        drop(RawSse::open(gateway.address(), "", "Content-Length: x\r\n").await);
        gateway.rewrite_config("[log]\nlevel = \"error\"\n");
        gateway.signal(Signal::SIGHUP);
        if is_followed {
            let is_silent = || async {
                gateway.publish_numbers("door.1", 1).await;
                gateway.log().contains("DEBUG")
            };
            gateway
                .until("something is logged at this level", is_silent)
                .await;
        } else {
            reload(&gateway, IN_FORCE).await;
            assert!(!gateway.log().contains("DEBUG"), "{}", gateway.log());
        }
    }
}

#[tokio::test]
async fn a_storm_of_reloads_loses_no_event_and_ends_no_stream() {
    let gateway = gateway("", &[]);
    let reading = join_all([Transport::Sse, Transport::Grpc].map(|via| {
        let url = gateway.url();
        async move {
            let opened = Reader::open_at(via, &url, &SubscribeParams::default()).await;
            opened.expect("a subscription")
        }
    }));
    let readers = reading.await;
    for number in 0..100 {
        gateway.signal(Signal::SIGHUP);
        if number % 5 == 0 {
            gateway.publish_numbers("door.1", 5).await;
        }
    }
    for mut reader in readers {
        let vids: Vec<_> = reader
            .events(100)
            .await
            .iter()
            .map(|seen| seen.vid)
            .collect();
        assert_eq!(vids, (1..=100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_end_is_as_the_newest_configuration_says() {
    let mut gateway = gateway_over("1h");
    let address = gateway.address();
    let streams = [
        RawSse::open(address, "", "").await,
        RawSse::open(address, "", "").await,
    ];
    until_subscribed(&gateway, 2).await;
    gateway.rewrite_config("[drain]\nover = \"0s\"\n");
    reload(&gateway, IN_FORCE).await;
    assert!(gateway.terminate().await.success(), "{}", gateway.log());
    for stream in streams {
        assert!(stream.ended().await.is_told);
    }
}

#[tokio::test]
async fn a_reload_during_the_drain_changes_nothing_about_it() {
    let mut gateway = gateway_over("60s");
    let address = gateway.address();
    let streams = [
        RawSse::open(address, "", "").await,
        RawSse::open(address, "", "").await,
    ];
    until_subscribed(&gateway, 2).await;
    gateway.ask_to_end();
    until_subscribed(&gateway, 1).await;
    gateway.rewrite_config("[drain]\nover = \"0s\"\n");
    reload(&gateway, IN_FORCE).await;
    assert_eq!(gateway.get("/v1/bus").await["subscribers"], 1);
    gateway.ask_to_end();
    assert!(gateway.ended().await.success(), "{}", gateway.log());
    for stream in streams {
        assert!(stream.ended().await.is_told);
    }
}
