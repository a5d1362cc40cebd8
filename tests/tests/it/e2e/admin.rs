//! An administrator's work on the admin page, by what scripts know the parts of it.

use anyhow::{Context as _, Result, ensure};
use hub_tests::browser::Browser;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use thirtyfour::Key;

use super::with_both_hubs;

with_both_hubs! {
    [Needed::LightSingleuser, Needed::Venv61, Needed::Chromium, Needed::Chromedriver];
    an_administrator_manages_users_servers_and_groups,
}

async fn an_administrator_manages_users_servers_and_groups(kind: Kind) -> Result<()> {
    let settings = Settings { base_url: "/@/space word/".to_owned(), ..Settings::default() };
    let hub = Hub::start(kind, settings.with_light_singleuser()).await?;
    let browser = Browser::start(&format!("{kind:?}-admin").to_lowercase()).await?;
    let office = Office { hub: &hub, browser: &browser };
    office.opens_the_page().await.context("open")?;
    office.adds_users().await.context("add users")?;
    office.finds_one().await.context("search")?;
    office.starts_and_stops_a_server().await.context("start and stop")?;
    office.makes_a_group().await.context("groups")?;
    office.renames_and_deletes_a_user().await.context("rename and delete")?;
    browser.quit().await
}

struct Office<'a> {
    hub: &'a Hub,
    browser: &'a Browser,
}

/// A part of a user's row.
fn row(user: &str, part: &str) -> String {
    format!("[data-testid='user-row-{user}'] {part}")
}

impl Office<'_> {
    async fn shows(&self, place: &str) -> Result<()> {
        // A place within the page is no new page: leave it first.
        self.browser.open("about:blank").await?;
        self.browser.open(&self.hub.url(&format!("hub/admin{place}"))).await
    }

    async fn pictures(&self, name: &str) -> Result<()> {
        let too_wide = self.browser.screenshots(name).await?;
        ensure!(
            too_wide.is_empty() || self.hub.kind == Kind::Stock,
            "{name} can be scrolled sideways: {too_wide:?}"
        );
        Ok(())
    }

    /// This hub asks before it deletes.
    async fn agrees(&self) -> Result<()> {
        if self.hub.kind == Kind::Stock {
            return Ok(());
        }
        self.browser.clicks("dialog .btn-danger").await
    }

    async fn opens_the_page(&self) -> Result<()> {
        let browser = self.browser;
        self.shows("").await?;
        browser.types("input[name=username]", "admin".chars()).await?;
        browser.types("input[name=password]", "any".chars().chain([Key::Enter.value()])).await?;
        browser.arrives_at("hub/admin").await?;
        browser.sees(&row("admin", ".start-button")).await?;
        browser.reads(".pagination-footer", "Displaying 1-").await?;
        self.pictures("1-users").await
    }

    async fn adds_users(&self) -> Result<()> {
        let browser = self.browser;
        browser.clicks(".add-users-button").await?;
        browser.types("#add-user-textarea", "bob\n carol \n".chars()).await?;
        browser.clicks("#admin-check").await?;
        browser.clicks("#admin-check").await?;
        browser.clicks("#submit").await?;
        browser.sees(&row("bob", ".start-button")).await?;
        browser.sees(&row("carol", ".start-button")).await.map(drop)
    }

    async fn finds_one(&self) -> Result<()> {
        let browser = self.browser;
        browser.types("input[name=user_search]", "aro".chars()).await?;
        browser.no_longer_sees("[data-testid='user-row-bob']").await?;
        browser.sees("[data-testid='user-row-carol']").await?;
        browser.arrives_at("name_filter=aro").await?;
        // The address alone leads to the same list.
        self.shows("#/?name_filter=bo").await?;
        browser.sees("[data-testid='user-row-bob']").await?;
        browser.no_longer_sees("[data-testid='user-row-carol']").await
    }

    async fn starts_and_stops_a_server(&self) -> Result<()> {
        let browser = self.browser;
        browser.clicks(&row("bob", ".start-button")).await?;
        browser.sees(&row("bob", "a .btn-primary")).await?;
        self.pictures("2-running").await?;
        browser.clicks(&row("bob", ".stop-button")).await?;
        browser.sees(&row("bob", ".start-button")).await?;
        browser.no_longer_sees(&row("bob", ".stop-button")).await
    }

    async fn makes_a_group(&self) -> Result<()> {
        let browser = self.browser;
        browser.clicks("a[href='#/groups']").await?;
        browser.clicks("a[href='#/create-group']").await?;
        browser.types("#group-name", "teachers".chars()).await?;
        browser.clicks("#submit").await?;
        browser.reads(".list-group-item", "teachers").await?;
        browser.clicks(".list-group-item a").await?;
        browser.types("#username-input", "bob".chars()).await?;
        browser.clicks("#validate-user").await?;
        browser.reads(".item.selected", "bob").await?;
        self.pictures("3-group").await?;
        browser.clicks("#submit").await?;
        let client = self.hub.url("hub/api/groups/teachers");
        let members = "
            const [url] = args;
            const xsrf = window.jhdata.xsrf_token;
            for (let look = 0; look < 100; look += 1) {
                const answer = await fetch(url, {headers: {'X-XSRFToken': xsrf}});
                const users = (await answer.json()).users ?? [];
                if (users.length > 0) return users;
                await new Promise(resolve => setTimeout(resolve, 100));
            }
            return [];
        ";
        let users = browser.script(members, vec![client.into()]).await?;
        ensure!(users == serde_json::json!(["bob"]), "members: {users}");
        Ok(())
    }

    async fn renames_and_deletes_a_user(&self) -> Result<()> {
        let browser = self.browser;
        self.shows("#/?name_filter=bo").await?;
        browser.clicks(&row("bob", ".actions > button:last-child")).await?;
        browser.types("[data-testid='edit-username-input']", "robert".chars()).await?;
        self.pictures("4-user").await?;
        browser.clicks("#submit").await?;
        browser.sees("[data-testid='user-row-robert']").await?;
        browser.no_longer_sees("[data-testid='user-row-bob']").await?;
        browser.clicks(&row("robert", ".actions > button:last-child")).await?;
        browser.clicks("#delete-user").await?;
        self.agrees().await?;
        browser.sees("[data-testid='user-row-carol']").await?;
        browser.no_longer_sees("[data-testid='user-row-robert']").await
    }
}
