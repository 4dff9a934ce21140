//! The measured figures that everything here is computed from, each with its source.
//!
//! Invariant: a figure that the file lacks, or has and nobody uses, is an error.

use std::collections::BTreeMap;

use serde::Deserialize;

const FILE: &str = include_str!("../parameters.toml");

/// A figure as the file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) what: String,
    pub(crate) source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    figure: Vec<Figure>,
}

macro_rules! parameters {
    ($($name:ident),* $(,)?) => {
        /// The figures by their names in the file; units are the last word of each name.
        #[derive(Debug, Clone)]
        pub(crate) struct Parameters {
            $(pub(crate) $name: f64,)*
        }

        impl Parameters {
            fn from_figures(figures: &[Figure]) -> Result<Self, String> {
                let mut values: BTreeMap<_, _> =
                    figures.iter().map(|figure| (figure.name.as_str(), figure.value)).collect();
                if values.len() < figures.len() {
                    return Err("a figure is there twice".to_owned());
                }
                let mut take = |name: &str| {
                    values.remove(name).ok_or_else(|| format!("there is no figure {name}"))
                };
                let parameters = Parameters { $($name: take(stringify!($name))?,)* };
                match values.keys().next() {
                    Some(unused) => Err(format!("nobody uses the figure {unused}")),
                    None => Ok(parameters),
                }
            }
        }
    };
}

parameters! {
    sse_idle_bytes, sse_tls_idle_bytes, poll_idle_bytes, poll_tls_idle_bytes,
    grpc_idle_bytes, grpc_tls_idle_bytes, socket_kernel_bytes, base_bytes,
    sse_idle_cpu_us, sse_tls_idle_cpu_us, poll_idle_cpu_us, poll_tls_idle_cpu_us,
    grpc_idle_cpu_us, grpc_tls_idle_cpu_us,
    connect_cpu_us, connect_tls_cpu_us, connect_tls_rsa_cpu_us, connect_tls_resumed_cpu_us,
    resume_event_cpu_us,
    sse_write_cpu_us, sse_tls_write_cpu_us, poll_write_cpu_us, poll_tls_write_cpu_us,
    grpc_write_cpu_us, grpc_tls_write_cpu_us, event_in_write_cpu_us,
    sse_event_bytes, poll_event_bytes, packet_bytes, tls_record_bytes,
    publish_cpu_us, publish_batch_cpu_us, nats_gateway_publish_cpu_us, nats_gateway_group_cpu_us,
    nats_leader_publish_cpu_us, nats_follower_publish_cpu_us,
    nats_leader_group_cpu_us, nats_follower_group_cpu_us,
    nats_tail_cpu_us, nats_event_bytes, nats_info_cpu_us, tail_event_cpu_us,
    retry_s, retry_jitter_s, event_source_wait_s, backoff_s, backoff_most_s,
    round_spacing_us, round_spacing_least_ms, round_spacing_most_ms,
    drain_over_s, newcomers_spread_s, patience_s, notice_s, restart_s, settle_s, network_s,
    machine_cores, machine_gb, machine_gbit, target_cpu, target_memory, target_egress,
    shared_gateway_bytes, busy_retry_s, catch_up_mb, bus_events_most,
}

/// The figures of the file, in its order, and by name.
pub(crate) fn read() -> Result<(Vec<Figure>, Parameters), String> {
    let file: File = toml::from_str(FILE).map_err(|error| error.to_string())?;
    let parameters = Parameters::from_figures(&file.figure)?;
    Ok((file.figure, parameters))
}

/// A number that changes with the file: it shows whether the charts are those of today's figures.
pub(crate) fn fingerprint() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in FILE.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_is_used_and_has_a_unit_and_a_source() {
        let (figures, _) = read().expect("the file of figures");
        for figure in figures {
            let texts = [&figure.unit, &figure.what, &figure.source];
            assert!(texts.iter().all(|text| !text.is_empty()), "{figure:?}");
        }
    }
}
