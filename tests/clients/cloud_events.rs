//! CloudEvents, published and read by the SDKs of Python and Go.

use crate::common::gateway::Gateway;
use crate::python;
use crate::tools::{find, run};

#[tokio::test]
async fn the_sdk_of_python_reads_the_cloud_events_that_it_published() {
    python::run("cloud_events.py", &Gateway::start()).await;
}

#[tokio::test]
async fn the_sdk_of_go_reads_the_cloud_events_that_it_published() {
    let gateway = Gateway::start();
    let output = run(find("cloudevents-go", "bin"), &[&gateway.url()]).await;
    assert_eq!(output.ok(), "ok\n");
}
