//! The contract, on every transport and both engines, against a gateway that is a process of its
//! own.

#![allow(unreachable_pub)] // modules of one program

#[path = "../common/mod.rs"]
mod common;
mod h2_frames;
mod raw;
mod samples;
mod support;
mod ways;

mod bad_bytes;
mod bad_input;
mod bounds;
mod closing;
mod deadlines;
mod drain;
mod drivers;
mod drivers_at_random;
mod encodings;
mod gaps;
mod half_closed;
mod hosts;
mod idle;
mod leaving;
mod legacy_wait;
mod metrics;
mod options;
mod origins;
mod other;
mod own_files;
mod pages;
mod passing;
mod poison;
mod polyfills;
mod publishing;
mod same_events;
mod slow_readers;
mod snapshots;
mod starts;
mod targets;
mod wildcards;
