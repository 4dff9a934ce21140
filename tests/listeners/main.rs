//! Where a gateway listens, and whom it takes its peers for: Unix sockets and short addresses by
//! the clients that people use, proxies that speak for others (`HAProxy`, nginx, curl and made-up
//! ones), and limits for each address.

#[path = "../common/mod.rs"]
mod common;
#[path = "../clients/tools.rs"]
#[allow(dead_code, reason = "made for another program")]
mod tools;

mod addresses;
mod forwarded;
mod haproxy;
mod limits;
mod nginx;
mod open_files;
mod proxy_header;
mod python;
mod samples;
mod served;
mod socket_files;
mod unix;
mod wire;
