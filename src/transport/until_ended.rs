//! The end of what a publisher streams, also while nothing comes.
//!
//! Invariant: what was taken before the end is answered; what follows is not read.

use std::future::ready;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio_stream::Stream;

use crate::error::Error;

/// The items of a stream, until nothing more is taken from whoever sends it; then what `last` makes
/// of the reason. A stream that its sender has ended has no such last item.
pub(super) fn until_ended<T>(
    items: impl Stream<Item = T>,
    ended: impl Future<Output = Error> + Send + 'static,
    last: impl FnOnce(Error) -> Option<T>,
) -> impl Stream<Item = T> {
    // Asked again behind the items: did it end them?
    let ended = ended.boxed().shared();
    let reason = {
        let ended = ended.clone();
        async move { ended.now_or_never().and_then(last) }
    };
    let last_item = futures_util::stream::once(reason).filter_map(ready);
    items.take_until(ended).chain(last_item)
}
