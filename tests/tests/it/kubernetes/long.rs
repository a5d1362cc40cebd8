//! What takes minutes, as a stage of its own: `cargo xtask test kubernetes-long`.

use std::time::Duration;

use anyhow::Result;
use hub_tests::kube::Condition;

use super::outage::outage;

#[tokio::test]
async fn an_outage_of_a_minute_is_survived() -> Result<()> {
    outage(Duration::from_mins(1), Condition::Refused).await
}

#[tokio::test]
async fn a_silence_of_a_minute_is_survived() -> Result<()> {
    outage(Duration::from_mins(1), Condition::Silent).await
}

#[tokio::test]
async fn an_outage_of_three_minutes_is_survived() -> Result<()> {
    outage(Duration::from_mins(3), Condition::Refused).await
}
