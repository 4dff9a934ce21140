//! The library for PHP.

use std::process::Command;

use crate::{play, root, succeeds};

#[test]
fn its_own_tests_pass() {
    let mut phpunit = Command::new("phpunit");
    phpunit.args(["--fail-on-skipped"]);

    succeeds(phpunit.current_dir(root().join("clients/php")));
}

#[test]
fn its_package_is_valid() {
    let mut composer = Command::new("composer");
    composer.args(["validate", "--strict", "--no-interaction"]);

    // Composer warns, and fails by that, when the superuser runs it.
    composer.env("COMPOSER_ALLOW_SUPERUSER", "1");
    succeeds(composer.current_dir(root().join("clients/php")));
}

#[test]
fn it_passes_every_scenario() {
    play("full", &["php", "clients/php/kit/adapter.php"]);
}
