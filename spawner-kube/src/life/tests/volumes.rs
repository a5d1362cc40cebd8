//! Claims of people who have many.

use serde_json::json;

use super::fake::Fake;
use super::site::Hub;

#[tokio::test(start_paused = true)]
async fn all_claims_are_told_whatever_page_they_are_on_and_where_there_are_too_many_that_is_told() {
    let fake = Fake::new();
    let hub = Hub::new(&fake, None, &json!({}));
    for number in 0..5_000 {
        fake.add_claim(&format!("claim-ann--{number}"), "ann");
    }
    let told = hub.volumes("ann").await;
    assert_eq!((told.found.len(), told.cut.len(), told.unknown.len()), (5_000, 0, 0));
    fake.add_claim("claim-ann--one-more", "ann");
    let told = hub.volumes("ann").await;
    assert_eq!((told.found.len(), told.cut, told.unknown.len()), (5_000, vec!["hub".to_owned()], 0));
    let others = hub.volumes("ben").await;
    assert!(others.found.is_empty(), "they are ann's");
}
