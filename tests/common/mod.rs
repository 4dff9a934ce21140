//! What all tests share: a real gateway as a process of its own, and one reader for each transport.

#![allow(dead_code, unreachable_pub)] // each test program uses a part of it

pub mod gateway;
pub mod grpc;
pub mod http2;
pub mod leave;
pub mod own;
pub mod poll;
pub mod preload;
pub mod publisher;
pub mod read;
pub mod sse;
