//! How publishers are refused while a log cannot be written.

use tonic::Code;

use crate::common::gateway::Gateway;
use crate::publisher::{Draft, Publisher, WAYS};

/// Every way of publishing is refused with this problem, whose detail names what to do.
pub(crate) async fn assert_publishing_refused(
    gateway: &Gateway,
    (problem, remedy): (&str, &str),
    when: &str,
) {
    for way in WAYS {
        let refused = Publisher::new(way, &gateway.url())
            .publish(&[Draft::new("a", "refused")])
            .await
            .refused();
        assert!(
            refused.is(503, problem, Code::Unavailable),
            "{when}, {way:?}: {refused:?}"
        );
        assert!(refused.detail().contains(remedy), "{when}: {refused:?}");
    }
}
