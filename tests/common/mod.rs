//! What the test programs share. Which harness a test takes:
//!
//! - **An engine alone** (`engines()`): what an engine promises, by its trait. In tests/engines.
//! - **A bus alone**, on an engine or on a [`wrapping_engine`]: publishing, waking, pacing, time,
//!   which can be paused. In tests/bus.
//! - **A gateway in this process** ([`in_process::InProcessGateway`]): what clients receive, where
//!   the test has to reach the log as well, to trim it, to restart it, or to put a wrong engine
//!   or a [`shared_log`] below the gateway. In tests/conformance and tests/model.
//! - **A gateway as a process** ([`gateway::Gateway`]), the program itself: settings, signals,
//!   files, exit codes, bytes on the wire. In tests/contract, tests/faults, tests/history,
//!   tests/clients.
//!
//! The lower the harness, the faster and the more exact the test: take the lowest one that still
//! has the promise in it. Clients for all of them: [`read`] subscribes by each transport and yields
//! the same steps, [`steps`] looks at those, [`publisher`] publishes in each way.
//! [`nats`] starts servers of NATS for a log of several gateways, [`nats_stream`] looks at one of
//! their streams and changes it as an administrator does, and [`tcp_proxy`] is a bad network on the
//! way to them. [`tls`] makes certificates, [`token`] what callers prove their rights with, and
//! [`secure`] puts both below all of these clients.

// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod closing;
pub mod engines;
pub mod gateway;
pub mod grpc;
pub mod http2;
pub mod in_process;
pub mod leave;
pub mod link;
pub mod nats;
pub mod nats_engine;
pub mod nats_stream;
pub mod poll;
pub mod preload;
pub mod publisher;
pub mod read;
pub mod secure;
pub mod shared_log;
pub mod sse;
pub mod steps;
pub mod target;
pub mod tcp_proxy;
pub mod tls;
pub mod token;
pub mod wrapping_engine;

pub use engines::engines;
