use hub_config::WorkspacesSection;
use hub_core::testing::Log;
use serde_json::json;

use super::hook::fill;
use super::*;

fn workspaces(section: Value) -> Arc<Workspaces> {
    let section: WorkspacesSection = serde_json::from_value(section).unwrap();
    Workspaces::of(&section).unwrap().unwrap()
}

fn ada(groups: &[&str], auth_state: Value) -> Asker {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Asker { name: "ada".to_owned(), groups, auth_state: Some(auth_state) }
}

async fn names(workspaces: &Workspaces, asker: &Asker) -> Vec<(String, String, WorkspaceRole)> {
    let found = workspaces.list(asker).await.unwrap();
    found.all.into_values().map(|one| (one.name, one.display_name, one.role)).collect()
}

#[test]
fn without_sources_there_are_no_workspaces() {
    assert!(Workspaces::of(&WorkspacesSection::default()).unwrap().is_none());
}

#[tokio::test]
async fn sources_are_joined_and_the_higher_role_counts() {
    let all = workspaces(json!({"sources": [
        {"kind": "groups", "pattern": "ws-*-viewers", "role": "viewer"},
        {"kind": "claim", "claim": "oauth_user.workspaces", "pattern": "w:*"},
        {"kind": "static", "workspaces": [
            {"name": "alpha", "display_name": "Alpha & co", "viewers": ["ada"]},
            {"name": "gamma", "member_groups": ["staff"]},
            {"name": "delta", "members": ["bob"]},
        ]},
    ]}));
    let state = json!({"oauth_user": {"workspaces": ["w:alpha", "w:..", "w:", "other"]}});
    let alpha = ("alpha".to_owned(), "Alpha & co".to_owned(), WorkspaceRole::Member);
    let beta = ("beta".to_owned(), "beta".to_owned(), WorkspaceRole::Viewer);
    let gamma = ("gamma".to_owned(), "gamma".to_owned(), WorkspaceRole::Member);
    assert_eq!(names(&all, &ada(&["ws-beta-viewers", "staff"], state)).await, [alpha, beta, gamma]);
    let stranger = ada(&[], Value::Null);
    assert_eq!(all.role(&stranger, "delta").await, Ok(None));
    assert_eq!(all.role(&stranger, "alpha").await, Ok(Some(WorkspaceRole::Viewer)));
}

#[tokio::test]
async fn what_is_left_out_is_told_and_a_cut_list_says_nothing_against_anybody() {
    let all = workspaces(json!({"sources": [
        {"kind": "claim", "claim": "ws"},
        {"kind": "groups", "pattern": "g-*"},
    ]}));
    let (log, _guard) = Log::begin();
    let unfit = "x".repeat(300);
    let few = ada(&[], json!({"ws": ["alpha", unfit, ".."]}));
    let listing = all.list(&few).await.unwrap();
    assert!(!listing.cut && listing.all.len() == 1, "{listing:?}");
    assert!(
        log.text().contains("count=2") && log.text().contains("cannot be those of servers"),
        "{}",
        log.text()
    );
    assert_eq!(listing.role("beta"), Ok(None));

    let many: Vec<String> = (0..=MOST).map(|n| format!("w{n:04}")).collect();
    let listing = all.list(&ada(&[], json!({"ws": many}))).await.unwrap();
    assert!(listing.cut && listing.all.len() == MOST);
    assert!(log.text().contains("is cut"), "{}", log.text());
    assert_eq!(listing.role("w0000"), Ok(Some(WorkspaceRole::Member)));
    assert!(listing.role("w1000").is_err() && listing.role("elsewhere").is_err());

    // As many groups as are kept of a person: there may have been more.
    let groups: Vec<String> = (0..1_000).map(|n| format!("other-{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let listing = all.list(&ada(&groups, Value::Null)).await.unwrap();
    assert!(listing.cut && listing.all.is_empty());
}

#[tokio::test]
async fn a_service_that_does_not_answer_says_nothing_about_anybody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{{username}}", listener.local_addr().unwrap());
    drop(listener);
    let all = workspaces(json!({"sources": [
        {"kind": "groups"}, {"kind": "http", "url": url, "timeout": "2s"},
    ]}));
    assert!(all.list(&ada(&["alpha"], Value::Null)).await.is_err());
}

#[test]
fn who_may_not_start_is_told_why() {
    assert_eq!(refusal(Some(WorkspaceRole::Member)), None);
    assert!(refusal(Some(WorkspaceRole::Viewer)).unwrap().contains("look at"));
    assert!(refusal(None).unwrap().contains("do not belong"));
}

#[test]
fn templates_know_two_fields_and_keep_all_other_braces() {
    assert_eq!(fill("{workspace}/{username}/{x}{{}", "w{username}", "u"), "w{username}/u/{x}{{}");
}
