//! Himalia and stock JupyterHub take turns on one database, and share it side by side.

use anyhow::{Context, Result, ensure};
use hub_tests::client::{Api, Person};
use hub_tests::database;
use hub_tests::environment::database_server;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use reqwest::StatusCode;
use serde_json::Value;

/// Makes the tests of a function that takes the two kinds of hub. `reference` shows that the expectation holds
/// for the peer alone.
macro_rules! pairs {
    ($function:ident: $($test:ident $first:ident $second:ident),+ $(,)?) => {
        mod $function {
            $(
                #[tokio::test]
                async fn $test() -> anyhow::Result<()> {
                    use hub_tests::{environment::Needed, hub::Kind};
                    if !crate::e2e::ready(&[Kind::$first, Kind::$second], &[Needed::Venv61]) {
                        return Ok(());
                    }
                    super::$function(Kind::$first, Kind::$second).await
                }
            )+
        }
    };
}

pairs! { turns_on_sqlite: himalia_then_stock Himalia Stock, stock_then_himalia Stock Himalia, reference Stock Stock }
pairs! { turns_on_postgresql: himalia_then_stock Himalia Stock, stock_then_himalia Stock Himalia, reference Stock Stock }
pairs! { turns_on_mariadb: himalia_then_stock Himalia Stock, stock_then_himalia Stock Himalia, reference Stock Stock }
pairs! { side_by_side: himalia_and_stock Himalia Stock, reference Stock Stock }

async fn turns_on_sqlite(first: Kind, second: Kind) -> Result<()> {
    take_turns(first, second, Settings::default()).await
}

async fn turns_on_postgresql(first: Kind, second: Kind) -> Result<()> {
    turns_on_server("HIMALIA_TEST_POSTGRES_URL", first, second).await
}

async fn turns_on_mariadb(first: Kind, second: Kind) -> Result<()> {
    turns_on_server("HIMALIA_TEST_MARIADB_URL", first, second).await
}

async fn turns_on_server(variable: &str, first: Kind, second: Kind) -> Result<()> {
    let Some(server) = database_server(variable) else { return Ok(()) };
    let database = database::create(&server).await?;
    take_turns(first, second, Settings { database: Some(database), ..Settings::default() }).await
}

/// What one hub has given out, which the other must honour.
struct Given {
    person: Person,
    name: &'static str,
    token: Api,
}

impl Given {
    /// A login, a token and a running server of the hub that runs now.
    async fn by(hub: &Hub, name: &'static str) -> Result<Self> {
        let person = hub.logged_in(name).await?;
        let administrator = hub.administrator()?;
        let token = hub.api(&administrator.new_token(name).await?)?;
        let given = Self { person, name, token };
        given.is_honoured(hub).await?;
        administrator.start_server(name, "").await?;
        let page = given.person.follow(&format!("user/{name}/lab")).await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
        Ok(given)
    }

    /// The cookies and the token are those of the user.
    async fn is_honoured(&self, hub: &Hub) -> Result<()> {
        let kind = hub.kind;
        let person = self.person.at(&hub.url(""))?;
        let who = person.who_am_i().await?;
        ensure!(
            who.as_deref() == Some(self.name),
            "to {kind:?} the cookies of {} are those of {who:?}",
            self.name
        );
        let token = hub.api(self.token.token())?;
        let (status, user) = token.get("user").await?;
        ensure!(status == StatusCode::OK, "to {kind:?} the token of {} is worth {status}: {user}", self.name);
        ensure!(user.get("name").and_then(Value::as_str) == Some(self.name), "{user}");
        Ok(())
    }
}

/// The first hub, the second, and the first again, with one folder, one database, the same ports.
async fn take_turns(first: Kind, second: Kind, settings: Settings) -> Result<()> {
    let mut hub = Hub::start(first, settings).await?;
    let alice = Given::by(&hub, "alice").await?;
    let mut kernel = Kernel::start(&alice.person, "user/alice/").await?;
    kernel.execute("answer = 42").await?;

    hub.terminate().await?;
    hub.kind = second;
    hub.start_again().await?;
    alice.is_honoured(&hub).await.context("after the change of hubs")?;
    hub.administrator()?.server_is_ready("alice", "").await.context("the running server is taken over")?;
    let page = alice.person.follow("user/alice/lab").await?;
    ensure!(
        page.status == 200 && page.url.path().ends_with("/user/alice/lab"),
        "{} at {}",
        page.status,
        page.url
    );
    let mut kernel = Kernel::connect(&alice.person, "user/alice/", &kernel.id).await?;
    ensure!(kernel.execute("print(answer)").await? == "42\n");
    let bob = Given::by(&hub, "bob").await.context("with the second hub")?;
    let names = user_names(&hub).await?;

    hub.terminate().await?;
    hub.kind = first;
    hub.start_again().await?;
    ensure!(user_names(&hub).await? == names, "the hubs do not see the same users");
    for given in [&alice, &bob] {
        given.is_honoured(&hub).await.context("after the change back")?;
        let administrator = hub.administrator()?;
        administrator.server_is_ready(given.name, "").await.context("after the change back")?;
        let page = given.person.follow(&format!("user/{}/lab", given.name)).await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
        administrator.stop_server(given.name, "").await?;
    }
    let left = hub.mark.with_command("jupyterhub-singleuser");
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

/// Two hubs at once, on one SQLite file with one cookie secret: who is logged in to one is logged in to the other.
async fn side_by_side(first: Kind, second: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = Settings {
        database: Some(format!("sqlite:///{}", folder.path().join("shared.sqlite").display())),
        cookie_secret_file: Some(folder.path().join("cookie_secret")),
        ..Settings::default()
    };
    let one = Hub::start(first, settings.clone()).await?;
    let other = Hub::start(second, settings).await?;
    for (here, there, name) in [(&one, &other, "alice"), (&other, &one, "bob")] {
        let given = Given::by(here, name).await?;
        given.is_honoured(there).await?;
        given.is_honoured(here).await?;
        let page = given.person.follow("hub/logout").await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
        let person = given.person.at(&there.url(""))?;
        ensure!(person.who_am_i().await?.is_none(), "{name} has logged out and is still known");
        here.administrator()?.stop_server(name, "").await?;
    }
    Ok(())
}

async fn user_names(hub: &Hub) -> Result<Vec<String>> {
    let users = hub.administrator()?.fetch("users").await?;
    let mut names: Vec<String> = users
        .as_array()
        .context("a list of users")?
        .iter()
        .filter_map(|user| user.get("name").and_then(Value::as_str).map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
