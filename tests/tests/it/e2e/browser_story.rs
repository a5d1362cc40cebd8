//! A person's day in a browser, with real JupyterLab.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::browser::{Browser, uploads_and_downloads};
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::{HOST, Settings};
use hub_tests::wait::eventually;
use serde_json::Value;
use thirtyfour::Key;

use super::with_both_hubs;

const LARGE: usize = 20 << 20;

with_both_hubs! {
    [Needed::Venv61, Needed::Chromium, Needed::Chromedriver];
    a_day_at_the_root,
    a_day_below_notebooks,
    a_day_below_a_base_url_with_at_and_space,
    a_day_on_a_host_of_one_s_own,
}

async fn a_day_at_the_root(kind: Kind) -> Result<()> {
    day(kind, "/", "root").await
}

async fn a_day_below_notebooks(kind: Kind) -> Result<()> {
    day(kind, "/notebooks/", "notebooks").await
}

async fn a_day_below_a_base_url_with_at_and_space(kind: Kind) -> Result<()> {
    day(kind, "/@/space word/", "space").await
}

/// `subdomain_host`: the hub on one host, everybody's servers on another, with a notebook, a named server and a logout.
async fn a_day_on_a_host_of_one_s_own(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, Settings { subdomains: true, ..Settings::default() }).await?;
    let browser = Browser::start(&format!("{kind:?}-hosts").to_lowercase()).await?;
    let day = Day { hub: &hub, browser: &browser };
    let own = format!("http://alice.{HOST}:{}/user/alice/", hub.ports.public);
    day.logs_in().await.context("login")?;
    let at = browser.url().await?;
    ensure!(at.starts_with(&own), "the server is shown at {at}");
    day.works_in_a_notebook().await.context("notebook")?;
    day.has_a_named_server().await.context("named server")?;
    let model: Value = hub.administrator()?.fetch("users/alice").await?;
    ensure!(model["servers"][""]["url"] == own.as_str(), "{model}");
    day.stops_the_server().await.context("stop")?;
    day.logs_out_and_in_again().await.context("logout")?;
    browser.quit().await
}

async fn day(kind: Kind, base_url: &str, name: &str) -> Result<()> {
    let settings = Settings { base_url: base_url.to_owned(), ..Settings::default() };
    let hub = Hub::start(kind, settings).await?;
    let browser = Browser::start(&format!("{kind:?}-{name}").to_lowercase()).await?;
    let day = Day { hub: &hub, browser: &browser };
    day.logs_in().await.context("login")?;
    day.works_in_a_notebook().await.context("notebook")?;
    uploads_and_downloads(&browser, &day.path("user/alice/"), LARGE).await.context("large file")?;
    day.restarts_from_the_control_panel().await.context("restart")?;
    day.has_a_named_server().await.context("named server")?;
    day.stops_the_server().await.context("stop")?;
    day.logs_out_and_in_again().await.context("logout")?;
    browser.quit().await?;
    // The pages of stock show a stop as done when it has been asked for, and a server may take half a minute over
    // the first of three signals.
    let gone = eventually("no server is left", Duration::from_mins(2), || async {
        Ok(hub.mark.with_command("jupyterhub-singleuser").is_empty().then_some(()))
    });
    gone.await
}

struct Day<'a> {
    hub: &'a Hub,
    browser: &'a Browser,
}

impl Day<'_> {
    /// A path below the base URL, as addresses have it.
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.hub.base_url())
    }

    async fn opens(&self, path: &str) -> Result<()> {
        self.browser.open(&self.hub.browser_url(path)).await
    }

    /// Pictures of a page of the hub, which must fit into a narrow window.
    async fn pictures(&self, name: &str) -> Result<()> {
        let too_wide = self.browser.screenshots(name).await?;
        ensure!(
            too_wide.is_empty() || self.hub.kind == Kind::Stock,
            "{name} can be scrolled sideways: {too_wide:?}"
        );
        Ok(())
    }

    async fn fills_in_the_form(&self) -> Result<()> {
        let browser = self.browser;
        browser.types("input[name=username]", "alice".chars()).await?;
        browser.types("input[name=password]", "any".chars().chain([Key::Enter.value()])).await
    }

    /// From the bare address to the own server.
    async fn logs_in(&self) -> Result<()> {
        let browser = self.browser;
        self.opens("").await?;
        browser.arrives_at(&self.path("hub/login")).await?;
        browser.sees("input[name=username]").await?;
        self.pictures("1-login").await?;
        self.fills_in_the_form().await?;
        browser.arrives_at(&self.path("user/alice/lab")).await?;
        browser.sees(".jp-Launcher").await?;
        browser.screenshots("2-lab").await.map(drop)
    }

    async fn works_in_a_notebook(&self) -> Result<()> {
        let browser = self.browser;
        browser.clicks(".jp-LauncherCard[data-category=Notebook]").await?;
        // A cell that is run before the kernel is there makes JupyterLab start a second one, and its output is lost.
        browser.reads("#jp-main-statusbar", "| Idle").await?;
        browser.clicks(".jp-NotebookPanel .cm-content").await?;
        let run = [Key::Shift.value(), Key::Enter.value()];
        browser
            .types(".jp-NotebookPanel .cm-content", "print(6 * 7, 'from the kernel')".chars().chain(run))
            .await?;
        browser.reads(".jp-NotebookPanel .jp-OutputArea-output", "42 from the kernel").await?;
        let save = [Key::Control.value(), 's'];
        browser.types(".jp-NotebookPanel .jp-Notebook", save).await?;
        // The first time, JupyterLab asks for a better name.
        browser.clicks(".jp-Dialog .jp-mod-accept").await?;
        browser.no_longer_sees(".jp-Dialog").await?;
        browser.no_longer_sees(".lm-DockPanel-tabBar .lm-TabBar-tab.jp-mod-dirty").await
    }

    /// File > Hub Control Panel opens a tab; there one click restarts the server and leads back to the notebook.
    async fn restarts_from_the_control_panel(&self) -> Result<()> {
        let browser = self.browser;
        let lab = browser
            .follows_into_new_tab(async {
                browser
                    .clicks(
                        ".lm-MenuBar-item[data-command='filemenu'], .lm-MenuBar-content > .lm-MenuBar-item",
                    )
                    .await?;
                browser.clicks(".lm-Menu-item[data-command='hub:control-panel']").await
            })
            .await?;
        browser.arrives_at(&self.path("hub/home")).await?;
        browser.sees("#stop").await?;
        self.pictures("3-home-running").await?;
        let before = self.servers();
        match self.hub.kind {
            Kind::Himalia => browser.clicks("#restart").await?,
            Kind::Stock | Kind::Stock5 => {
                browser.clicks("#stop").await?;
                browser.reads("#start", "Start").await?;
                browser.clicks("#start").await?;
                browser.arrives_at(&self.path("user/alice/lab")).await?;
                self.opens("user/alice/lab/tree/Untitled.ipynb").await?;
            }
        }
        // A second tab gets a workspace of its own, whose name stands before.
        browser.arrives_at("/tree/Untitled.ipynb").await?;
        browser.reads(".jp-NotebookPanel .jp-OutputArea-output", "42 from the kernel").await?;
        let after = self.servers();
        ensure!(after.len() == 1 && after != before, "before {before:?}, after {after:?}");
        browser.closes_tab_for(lab).await
    }

    async fn has_a_named_server(&self) -> Result<()> {
        let browser = self.browser;
        self.opens("hub/home").await?;
        browser.types(".new-server-name", "second".chars()).await?;
        browser.clicks(".new-server-btn").await?;
        if self.hub.kind == Kind::Himalia {
            // The row appears; its own link starts the server.
            self.pictures("4-home-named").await?;
            browser.clicks("#start-second").await?;
        } else if !self.browser.url().await?.contains("/spawn") {
            browser.clicks("#start-second").await?;
        }
        browser.arrives_at(&self.path("user/alice/second/lab")).await?;
        browser.sees(".jp-Launcher, .jp-NotebookPanel").await?;
        self.opens("hub/home").await?;
        browser.clicks("#stop-second").await?;
        browser.sees("#start-second").await?;
        browser.sees("#delete-second").await.map(drop)
    }

    async fn stops_the_server(&self) -> Result<()> {
        let browser = self.browser;
        self.opens("hub/home").await?;
        browser.clicks("#stop").await?;
        browser.reads("#start", "Start").await?;
        self.pictures("5-home-stopped").await?;
        self.opens("user/alice/lab").await?;
        browser.sees("#start").await?;
        self.pictures("6-not-running").await?;
        self.opens("hub/token").await?;
        browser.sees("nav").await?;
        self.pictures("7-token").await?;
        self.opens("hub/no-such-page").await?;
        browser.reads("body", "404").await?;
        self.pictures("8-not-found").await
    }

    async fn logs_out_and_in_again(&self) -> Result<()> {
        let browser = self.browser;
        self.opens("hub/home").await?;
        browser.clicks("#logout").await?;
        browser.arrives_at(&self.path("hub/login")).await?;
        self.opens("hub/home").await?;
        browser.arrives_at(&self.path("hub/login")).await?;
        self.fills_in_the_form().await?;
        browser.arrives_at(&self.path("hub/home")).await?;
        browser.sees("#start").await.map(drop)
    }

    /// The processes of servers, by number.
    fn servers(&self) -> Vec<i32> {
        self.hub.mark.with_command("jupyterhub-singleuser").into_iter().map(|process| process.pid).collect()
    }
}
