//! Addresses to listen on.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Overrides;
use super::section::Section;
use crate::limits;

const UNIX: &str = "unix:";
const LOCALHOST: &str = "localhost:";

/// An address to listen on.
///
/// As a text it is `127.0.0.1:8080`, `[::1]:8080`, `8080` or `localhost:8080` for the loopback
/// address, `:8080` for every address of the machine, or `unix:/run/vidette.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// Every address of the machine, of IPv4 and IPv6, at this port.
    Every(u16),
    /// A Unix socket, at this path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Can it be reached from this machine alone?
    pub(crate) fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Every(_) => false,
            ListenAddress::Unix(_) => true,
        }
    }

    fn loopback(port: u16) -> Self {
        ListenAddress::Tcp((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The same where a relative path is relative to the configuration's folder.
    fn of_file(self, section: &Section) -> Result<Self, String> {
        match self {
            ListenAddress::Unix(path) => unix(section.resolve(&path)),
            address => Ok(address),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix(path.into());
        }
        // No other name is an address: what it resolves to may change.
        let port_alone = text.strip_prefix(LOCALHOST).unwrap_or(text);
        let address = match (text.strip_prefix(':'), port(port_alone)) {
            (Some(every), _) => port(every).map(ListenAddress::Every),
            (None, Some(port)) => Some(ListenAddress::loopback(port)),
            (None, None) => text.parse().ok().map(ListenAddress::Tcp),
        };
        address.ok_or_else(|| not_an_address(text))
    }
}

/// A sign, which numbers may have otherwise, is not allowed.
fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn not_an_address(text: &str) -> String {
    format!(
        "{text:?} is not an address such as 127.0.0.1:8080, 8080 (loopback), :8080 (every \
         address) or unix:/run/vidette.sock"
    )
}

fn unix(path: PathBuf) -> Result<ListenAddress, String> {
    let bytes = path.as_os_str().len();
    match bytes {
        0 => Err(format!("{UNIX} has no path: write {UNIX}/run/vidette.sock")),
        1..=limits::MAX_SOCKET_PATH_BYTES => Ok(ListenAddress::Unix(path)),
        _ => Err(too_long(&path, bytes)),
    }
}

fn too_long(path: &Path, bytes: usize) -> String {
    let (path, most) = (path.display(), limits::MAX_SOCKET_PATH_BYTES);
    format!(
        "the path {path} has {bytes} bytes, and the system takes at most {most} for a Unix \
         socket: use a shorter one, such as {UNIX}/run/vidette.sock"
    )
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Every(port) => write!(f, ":{port}"),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Addresses that take the place of the configured ones, where there are any.
#[derive(Clone, Copy)]
pub(super) struct Flag<'o> {
    name: &'static str,
    texts: &'o [String],
}

impl<'o> Flag<'o> {
    pub(super) const NONE: Flag<'static> = Flag {
        name: "",
        texts: &[],
    };

    pub(super) fn of(overrides: &'o Overrides) -> Self {
        Flag {
            name: overrides.name_of("--listen"),
            texts: &overrides.listen,
        }
    }
}

/// Reads a list of addresses. Flags replace it, but it is checked all the same.
pub(super) fn addresses(
    section: &mut Section,
    key: &str,
    default: &[&str],
    flag: Flag<'_>,
) -> Vec<ListenAddress> {
    let texts = section.list(key, default.iter().map(|text| (*text).to_owned()).collect());
    // Where there is a default, some address has to be there.
    let is_enough = !texts.is_empty() || default.is_empty();
    section.require(key, is_enough, NOWHERE);

    let parsed = texts.iter().filter_map(|text| {
        let address = text
            .parse()
            .and_then(|address: ListenAddress| address.of_file(section));
        address.map_err(|error| section.error(key, error)).ok()
    });
    let addresses = parsed.collect();
    if flag.texts.is_empty() {
        return addresses;
    }
    section.replaced(key, flag.name, &flag.texts);
    let parsed = flag.texts.iter().filter_map(|text| {
        let address = text.trim().parse::<ListenAddress>();
        address.map_err(|error| section.error(key, error)).ok()
    });
    let addresses: Vec<_> = parsed.collect();
    // `8080` is shown as what it means.
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    section.replaced(key, flag.name, &shown);
    addresses
}

const NOWHERE: &str = "names no address, so nobody could connect: write one such as \"8080\", or \
    leave the setting out";

/// Reads the permissions of Unix sockets; none where the system's default is taken.
pub(super) fn unix_mode(section: &mut Section) -> Option<u32> {
    let text = section.text("unix_mode");
    if text.is_empty() {
        return None;
    }
    let is_octal = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(&text, 8).ok();
    let mode = mode.filter(|mode| is_octal && *mode <= 0o777);
    if mode.is_none() {
        section.error("unix_mode", not_a_mode(&text));
    }
    mode
}

fn not_a_mode(text: &str) -> String {
    format!("{text:?} is not a mode in octal such as \"660\" (owner and group may connect)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn read(text: &str) -> Result<Config, String> {
        Config::parse(text, Overrides::default()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_port_alone_is_loopback_and_one_behind_a_colon_is_every_address() {
        for (text, shown, is_local) in [
            ("8080", "127.0.0.1:8080", true),
            ("localhost:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
            ("[::1]:8080", "[::1]:8080", true),
            (":8080", ":8080", false),
            ("0.0.0.0:8080", "0.0.0.0:8080", false),
            ("[::]:8080", "[::]:8080", false),
            ("unix:/run/vidette.sock", "unix:/run/vidette.sock", true),
            ("unix:v.sock", "unix:v.sock", true),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_local(), is_local, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_those_that_are() {
        for wrong in [
            "",
            ":",
            "nowhere",
            "127.0.0.1",
            "::1",
            "65536",
            ":65536",
            "+80",
            ":+80",
            "a.test:80",
            "localhost",
            "localhost:",
            "http://127.0.0.1:80",
            "unix:",
        ] {
            let error = wrong.parse::<ListenAddress>().expect_err(wrong);
            assert!(error.contains("unix:/run/vidette.sock"), "{error}");
        }
        let errors = read("listen = []").expect_err("nobody");
        assert!(errors.contains("listen names no address"), "{errors}");
        assert!(read("listen = \":8080\"\n[auth]").is_ok());
    }

    #[test]
    fn a_relative_path_is_relative_to_the_file_and_not_too_long() {
        let file = Path::new("/etc/vidette/vidette.toml");
        let text = "listen = [\"unix:v.sock\", \"unix:/run/v.sock\"]";
        let config = Config::parse_file(text, Some(file), &Overrides::default());
        let listen = config.0.expect("a configuration").listen;
        let shown: Vec<_> = listen.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["unix:/etc/vidette/v.sock", "unix:/run/v.sock"]);

        // Seven bytes more than fit, of which the folder has thirteen.
        let text = format!("listen = \"unix:{}\"", "x".repeat(101));
        let config = Config::parse_file(&text, Some(file), &Overrides::default());
        let errors = config.0.expect_err("too long").to_string();
        assert!(errors.contains("has 114 bytes"), "{errors}");
        assert!(errors.contains("at most 107"), "{errors}");
        assert!("x".repeat(107).parse::<ListenAddress>().is_err());
    }

    #[test]
    fn permissions_are_written_as_for_chmod() {
        for (text, mode) in [("660", 0o660), ("0600", 0o600), ("777", 0o777)] {
            let config = read(&format!("unix_mode = {text:?}")).expect(text);
            assert_eq!(config.unix_mode, Some(mode));
        }
        assert_eq!(read("").expect("defaults").unix_mode, None);
        for wrong in ["rw-rw----", "888", "1777", "+660"] {
            let errors = read(&format!("unix_mode = {wrong:?}")).expect_err(wrong);
            assert!(errors.contains("unix_mode: "), "{errors}");
        }
        assert!(read("unix_mode = 660").is_err());
    }

    #[test]
    fn a_wrong_flag_is_one_of_all_errors() {
        let flags = Overrides {
            listen: vec!["8080".to_owned(), "nowhere".to_owned()],
            ..Overrides::default()
        };
        let text = "listen = \"neither\"\n[limits]\nmax_connections = 0";
        let errors = Config::parse(text, flags).expect_err("three").to_string();
        for part in [
            "line 1, column 10: listen: \"neither\" is not an address",
            "--listen: listen: \"nowhere\" is not an address",
            "limits.max_connections has to be",
        ] {
            assert!(errors.contains(part), "{part} is not in {errors}");
        }
    }
}
