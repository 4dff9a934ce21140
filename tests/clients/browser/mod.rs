//! What a person at a page sees, on the pages of `clients/` and on an old one, in Chromium driven
//! by chromedriver; and what becomes of a page that reads by the library, in Firefox as well.

mod admin;
mod book;
mod chromium;
mod comet;
mod eventsource;
mod firefox;
mod in_firefox;
mod lasting;
mod legacy;
mod library;
mod page;
mod page_life;
mod process;
mod progress;
mod prototype;
mod quiet;
mod readme;
mod rolling;
mod start;
mod tabs;

/// 1 to so many.
fn vids(count: u64) -> Vec<u64> {
    (1..=count).collect()
}
