//! What an acknowledged event survives, for a person to read.
//!
//! Invariant: it promises no more than is known. That each write is synced counts only where the
//! monitor of every server that keeps the stream has said so.

use async_nats::jetstream::stream::{Info, StorageType};

use super::monitor::{MonitoredServer, SyncSetting, sync_settings};

/// Who keeps a stream, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keepers {
    replicas: usize,
    /// The names of the servers, as far as the stream has named them.
    servers: Vec<String>,
    storage: StorageType,
}

impl Keepers {
    /// Those of a stream; a server without a cluster is the one that is connected to.
    pub(super) fn of(info: &Info, connected: &str) -> Self {
        let servers = match &info.cluster {
            None => vec![connected.to_owned()],
            Some(cluster) => {
                let others = cluster.replicas.iter().map(|peer| peer.name.clone());
                cluster.leader.clone().into_iter().chain(others).collect()
            }
        };
        Keepers {
            replicas: info.config.num_replicas,
            servers,
            storage: info.config.storage,
        }
    }

    /// What the servers promise, once their monitors were asked.
    pub(super) async fn durability(&self, monitors: &[String]) -> String {
        let monitored = sync_settings(monitors).await;
        for server in &monitored {
            if server.sync != SyncSetting::Always {
                tracing::warn!(monitor = %server.url, "{}", server.sync);
            }
        }
        self.text(&monitored)
    }

    fn text(&self, monitored: &[MonitoredServer]) -> String {
        let is_kept_by_many = self.replicas > 1;
        if self.storage == StorageType::Memory {
            return if is_kept_by_many {
                MEMORY_OF_MANY
            } else {
                MEMORY_OF_ONE
            }
            .to_owned();
        }
        let held = if is_kept_by_many {
            HELD_BY_MANY
        } else {
            HELD_BY_ONE
        };
        let power = if self.all_sync(monitored) {
            SYNCED
        } else {
            NOT_KNOWN
        };
        format!("{held}, {power}")
    }

    /// Has each server that keeps the stream said that it syncs each write?
    fn all_sync(&self, monitored: &[MonitoredServer]) -> bool {
        let says_so = |name: &String| {
            let mut servers = monitored.iter();
            servers.any(|server| server.name == *name && server.sync == SyncSetting::Always)
        };
        self.servers.len() >= self.replicas && self.servers.iter().all(says_so)
    }
}

const HELD_BY_MANY: &str = "an acknowledged event is held by a majority of the stream's servers: \
    it survives the loss of any minority of them";
const HELD_BY_ONE: &str = "an acknowledged event is held by the stream's only server: it survives \
    the end of that process";
const SYNCED: &str = "and the loss of all power, as their monitors say that each write is synced";
const NOT_KNOWN: &str = "and the loss of all power only where they sync each write \
    (sync_interval: always)";
const MEMORY_OF_MANY: &str = "an acknowledged event is held in the memory of a majority of the \
    stream's servers: it is lost when these end";
const MEMORY_OF_ONE: &str = "an acknowledged event is held in the memory of the stream's only \
    server: it is lost when that ends";

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_by(servers: &[&str], storage: StorageType) -> Keepers {
        Keepers {
            replicas: servers.len(),
            servers: servers.iter().map(ToString::to_string).collect(),
            storage,
        }
    }

    fn monitored(servers: &[(&str, SyncSetting)]) -> Vec<MonitoredServer> {
        let server = |(name, sync): &(&str, SyncSetting)| MonitoredServer {
            url: String::new(),
            name: (*name).to_owned(),
            sync: sync.clone(),
        };
        servers.iter().map(server).collect()
    }

    #[test]
    fn that_writes_are_synced_is_said_only_where_each_server_of_the_stream_has_said_so() {
        use SyncSetting::{Always, Every};
        let keepers = kept_by(&["a", "b", "c"], StorageType::File);
        let all = [("a", Always), ("b", Always), ("c", Always), ("d", Every(1))];
        assert!(keepers.text(&monitored(&all)).contains(SYNCED));
        for not_enough in [
            // One of them three times.
            [("a", Always), ("a", Always), ("a", Always)],
            [("a", Always), ("b", Always), ("d", Always)],
            [("a", Always), ("b", Always), ("c", Every(1))],
        ] {
            let text = keepers.text(&monitored(&not_enough));
            assert!(text.contains(NOT_KNOWN), "{not_enough:?}: {text}");
        }
        // A stream without a leader names no servers.
        let unnamed = Keepers {
            servers: Vec::new(),
            ..keepers
        };
        assert!(unnamed.text(&monitored(&all)).contains(NOT_KNOWN));
    }

    #[test]
    fn memory_survives_nothing_whatever_monitors_say() {
        let synced = monitored(&[("a", SyncSetting::Always)]);
        let text = kept_by(&["a"], StorageType::Memory).text(&synced);
        assert!(text.contains("lost when that ends"), "{text}");
        let text = kept_by(&["a", "b", "c"], StorageType::Memory).text(&synced);
        assert!(text.contains("lost when these end"), "{text}");
    }
}
