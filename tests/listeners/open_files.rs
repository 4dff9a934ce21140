//! The system's limit of open files beside `limits.max_connections`.

use crate::served::Served;

/// Starts a gateway that may have so many files open; what it logs until it listens.
async fn log_with(open_files: u32, config: &str) -> String {
    let script = format!("ulimit -n {open_files} && exec \"$@\"");
    let starter = ["sh", "-c", &script, "sh"];
    let config = format!("listen = \"0\"\n{config}");
    Served::start_as(&starter, &config, &[]).await.log()
}

#[tokio::test]
async fn a_limit_that_is_too_low_is_a_warning_with_both_numbers() {
    let log = log_with(3000, "[limits]\nmax_connections = 5000").await;
    let warning = log.lines().find(|line| line.contains("WARN"));
    let warning = warning.unwrap_or_else(|| panic!("{log}"));
    for part in [
        "3000 files",
        "limits.max_connections = 5000",
        "LimitNOFILE=",
        "ulimit -n",
    ] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}

#[tokio::test]
async fn one_that_is_high_enough_is_none() {
    let log = log_with(3000, "[limits]\nmax_connections = 1000").await;
    assert!(!log.contains("WARN"), "{log}");
}
