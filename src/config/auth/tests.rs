//! What of `[auth]` is read, and what is refused.

use crate::caller::Permission;
use crate::config::{AuthConfig, Config, Overrides};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Overrides::default()).map_err(|errors| errors.to_string())
}

fn auth(text: &str) -> AuthConfig {
    parse(text).expect("a configuration").auth.expect("[auth]")
}

#[test]
fn an_empty_section_gives_nobody_anything_and_none_is_another_thing() {
    let auth = auth("[auth]");
    assert_eq!(auth.anonymous.publish, Permission::Nothing);
    assert_eq!(auth.anonymous.subscribe, Permission::Nothing);
    assert!(parse("").expect("a configuration").auth.is_none());
}

#[test]
fn a_key_of_the_contract_is_read() {
    let digest = "ab".repeat(32);
    let text = format!(
        "[auth]\nanonymous = {{ subscribe = [\"public.>\"], publish = [] }}\n\
         query_parameter = \"access_token\"\ncookie = \"vidette\"\n\
         [[auth.api_key]]\nname = \"doors\"\nsha256 = \"{digest}\"\npublish = [\"door.>\"]\n\
         [[auth.certificate]]\nname = \"billing.example\"\nsubscribe = [\"billing.>\"]"
    );
    let auth = auth(&text);
    assert!(matches!(auth.anonymous.subscribe, Permission::Topics(_)));
    assert_eq!(auth.api_keys[0].sha256, [0xab; 32]);
    assert_eq!(auth.api_keys[0].rights.subscribe, Permission::Nothing);
    assert_eq!(auth.certificates[0].name, "billing.example");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "
        [auth]
        anonymous = { subscribe = [\"a..b\"], write = [] }
        query_parameter = \"topic\"
        cookie = \"a b\"
        [[auth.jwt]]
        algorithms = [\"none\", \"HS256\", \"RS256\"]
        [[auth.jwt]]
        algorithms = [\"RS256\"]
        jwks_url = \"http://id.example/keys\"
        leeway = \"1h\"
        [[auth.jwt]]
        secret_file = \"/nowhere\"
        [[auth.jwt]]
        algorithms = [\"HS256\"]
        jwks_url = \"https://id.example/keys\"
        [[auth.api_key]]
        name = \"a\"
        sha256 = \"hunter2\"
        [[auth.certificate]]
        publish = [\"door.>\", \"*x\"]
        ";
    let errors = parse(text).expect_err("errors");
    for part in [
        "line 3, column 35: auth.anonymous.subscribe: [0]: ",
        "auth.anonymous.write: unknown setting",
        "line 4, column 27: auth.query_parameter",
        "line 5, column 18: auth.cookie",
        "would accept a token of anybody",
        "mixes families",
        "auth.jwt[0] has to have one of",
        "auth.jwt[1].jwks_url has to be https",
        "auth.jwt[1].leeway",
        "auth.jwt[2].algorithms is missing",
        "/nowhere",
        "auth.jwt[3].jwks_url: HS256",
        "auth.api_key[0].sha256 has to be",
        "auth.certificate[0].name is missing",
        "auth.certificate[0].publish: [1]: ",
    ] {
        assert!(errors.contains(part), "{part} is missing in {errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn who_can_be_reached_by_others_says_who_may() {
    let public = "listen = [\"0.0.0.0:8080\", \"127.0.0.1:8081\"]\n";
    let refused = parse(public).expect_err("open to all");
    for part in ["0.0.0.0:8080", "[auth]", "--insecure"] {
        assert!(refused.contains(part), "{part} is missing in {refused}");
    }
    assert!(!refused.contains("8081"), "{refused}");
    assert!(parse(&format!("{public}[auth]")).is_ok());
    let plain = parse("listen_plain = \"0.0.0.0:8081\"").expect_err("open to all");
    assert!(plain.contains("listen_plain: "), "{plain}");

    let insecure = Overrides {
        insecure: true,
        ..Overrides::default()
    };
    assert!(Config::parse(public, insecure).is_ok());
    assert!(parse("listen = \"unix:/run/vidette.sock\"").is_ok());
}
