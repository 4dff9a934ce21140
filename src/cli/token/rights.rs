//! The rights that a token or a key gives.

use clap::Args;

use crate::caller::Permission;
use crate::cli::Failure;
use crate::topic::Filter;

/// Filters, as in a subscription (contract §1).
#[derive(Args)]
pub(super) struct RightsArgs {
    /// Topics it may subscribe to: exact, or with * for one token and a last > for one or more; may
    /// be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub(super) subscribe: Vec<String>,
    /// Topics it may publish to; may be repeated
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub(super) publish: Vec<String>,
}

fn filter(text: &str) -> Result<String, String> {
    let filter = Filter::parse([text]);
    filter.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

const NO_RIGHTS: &str = "give at least one --subscribe FILTER or --publish FILTER: \
    without rights it is of no use";

impl RightsArgs {
    /// Are they what a gateway takes?
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.subscribe.is_empty() && self.publish.is_empty() {
            return Err(Failure::usage(NO_RIGHTS));
        }
        for (flag, filters) in [
            ("--subscribe", &self.subscribe),
            ("--publish", &self.publish),
        ] {
            let checked = Permission::of_list(filters.iter().map(String::as_str));
            checked.map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
        }
        Ok(())
    }
}
