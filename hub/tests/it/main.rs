//! Tests of the hub from outside its modules.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod api_about;
mod api_explain;
mod api_extensions;
mod api_groups;
mod api_progress;
mod api_routes;
mod api_servers;
mod api_services;
mod api_shares;
mod api_tokens;
mod api_user_list;
mod api_users;
mod audit;
mod blocked;
mod chain;
mod database;
mod events_of_hubs;
mod fake_spawner;
mod frontend;
mod kept_failures;
mod known;
mod large;
mod lines;
mod logins;
mod managed;
mod old_names;
mod outage;
mod pages;
mod pages_safety;
mod rbac_model;
mod refreshed;
mod renewed;
mod request_head;
mod samples;
mod sessions;
mod spawn_options;
mod support;
mod templates;
mod two_hubs;
mod workspaces;
