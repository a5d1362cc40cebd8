//! Services whose process the hub runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use himalia::services::managed;
use hub_config::ServiceSection;
use hub_db::repo;

use crate::support::TestHub;

/// A hub with one service: a script that runs in `folder`.
async fn hub(folder: &Path, script: &str, change: impl FnOnce(&mut ServiceSection)) -> TestHub {
    let mut section = ServiceSection {
        name: "brief".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        cwd: Some(folder.to_owned()),
        ..ServiceSection::default()
    };
    change(&mut section);
    TestHub::with(|config| config.services.push(section)).await
}

/// The lines of a file as soon as there are so many.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let complete: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        if complete.iter().filter(|line| line.ends_with('\n')).count() >= count {
            return complete.iter().map(|line| line.trim_end().to_owned()).collect();
        }
        assert!(Instant::now() < deadline, "only this: {text}");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_command_that_exits_is_started_again_after_longer_and_longer_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let test = hub(folder.path(), "date +%s.%N >>starts; exit 3", |_| {}).await;
    managed::start(&test.hub).await.unwrap();
    let starts: Vec<f64> =
        lines(&folder.path().join("starts"), 4).await.iter().map(|line| line.parse().unwrap()).collect();
    let pauses: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([0.5, 1.0, 2.0]) {
        assert!(*pause >= least, "{pauses:?}");
    }

    // Between two starts there is nothing to end, and no further start follows.
    let began = Instant::now();
    test.hub.managed.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let row = repo::services::by_name(test.hub.db.conn(), "brief").await.unwrap().unwrap();
    assert_eq!(row.pid, None);
    assert_eq!(fs::read_to_string(folder.path().join("starts")).unwrap().lines().count(), starts.len());
}

#[actix_web::test]
async fn a_service_has_its_directory_its_environment_and_a_process_id_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let script = "(pwd; echo $COLOUR; echo $JUPYTERHUB_SERVICE_NAME; echo $JUPYTERHUB_API_URL; echo $$) >told; \
                  exec sleep 600";
    let test = hub(folder.path(), script, |section| {
        section.environment = BTreeMap::from([
            ("COLOUR".to_owned(), "blue".to_owned()),
            // The site's word counts, as for the variables that the hub sets.
            ("JUPYTERHUB_SERVICE_NAME".to_owned(), "renamed".to_owned()),
        ]);
    })
    .await;
    managed::start(&test.hub).await.unwrap();
    let told = lines(&folder.path().join("told"), 5).await;
    let api = test.hub.urls.api().to_string();
    let place = folder.path().canonicalize().unwrap();
    let expected = [place.to_str().unwrap(), "blue", "renamed", api.as_str()];
    assert_eq!(told[..4], expected);
    let row = repo::services::by_name(test.hub.db.conn(), "brief").await.unwrap().unwrap();
    assert_eq!(row.pid.map(|pid| pid.to_string()).as_ref(), told.last());
    test.hub.managed.stop().await;
    assert!(!Path::new("/proc").join(&told[4]).exists(), "it was stopped with the hub");
    let row = repo::services::by_name(test.hub.db.conn(), "brief").await.unwrap().unwrap();
    assert_eq!(row.pid, None);
}

#[actix_web::test]
async fn a_service_that_names_its_account_gets_the_home_of_that_account() {
    let folder = tempfile::tempdir().unwrap();
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap();
    let name = own.name.clone();
    let test = hub(folder.path(), "(echo $USER; echo $HOME) >told; exec sleep 600", |section| {
        section.user = Some(name);
    })
    .await;
    managed::start(&test.hub).await.unwrap();
    let told = lines(&folder.path().join("told"), 2).await;
    assert_eq!(told, [own.name.as_str(), own.dir.to_str().unwrap()]);
    test.hub.managed.stop().await;
}

#[actix_web::test]
async fn a_service_of_an_account_that_is_none_keeps_the_hub_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let test = hub(folder.path(), "exit", |section| section.user = Some("no-such-account".to_owned())).await;
    let error = managed::start(&test.hub).await.unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(text, "services: \"brief\": user: there is no system user \"no-such-account\"");
}

/// A hub with a service.
async fn hub_with(secret: &str, database: &Path, service: ServiceSection) -> TestHub {
    TestHub::with(|config| {
        config.db.url = format!("sqlite:///{}", database.display()).into();
        config.hub.cookie_secret = Some(secret.repeat(32).into());
        config.services.push(ServiceSection {
            name: "brief".to_owned(),
            oauth_redirect_uri: Some("https://example.org/back".to_owned()),
            ..service
        });
    })
    .await
}

/// A hub with a service that is given no token, and the token that the service has.
async fn hub_of(secret: &str, database: &Path) -> (TestHub, String) {
    let folder = tempfile::tempdir().unwrap();
    let service = ServiceSection {
        command: ["sh", "-c", "echo $JUPYTERHUB_API_TOKEN >token; exec sleep 600"]
            .map(str::to_owned)
            .to_vec(),
        cwd: Some(folder.path().to_owned()),
        ..ServiceSection::default()
    };
    let test = hub_with(secret, database, service).await;
    managed::start(&test.hub).await.unwrap();
    let token = lines(&folder.path().join("token"), 1).await.remove(0);
    (test, token)
}

#[actix_web::test]
async fn the_token_that_a_service_is_not_given_holds_at_all_hubs_with_one_cookie_secret() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hub.sqlite");
    let (one, first) = hub_of("cd", &database).await;
    let (other, second) = hub_of("cd", &database).await;
    for test in [&one, &other] {
        for token in [&first, &second] {
            assert_eq!(test.bearer(token).get("/user").await.holds(200)["name"], "brief");
            let client = repo::oauth::client(test.hub.db.conn(), "service-brief").await.unwrap().unwrap();
            assert!(
                hub_core::token::verify(token, &client.secret.unwrap()),
                "it is the secret of the OAuth client"
            );
        }
    }

    // What was made up with another secret is forgotten.
    let (next, third) = hub_of("ef", &database).await;
    next.bearer(&third).get("/user").await.holds(200);
    for token in [&first, &second] {
        assert_eq!(next.bearer(token).get("/user").await.code(), 403);
    }
    for test in [one, other, next] {
        test.hub.managed.stop().await;
    }
}

#[actix_web::test]
async fn a_token_that_was_made_up_ends_when_the_service_is_given_one_or_is_run_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hub.sqlite");
    let (before, made_up) = hub_of("cd", &database).await;
    before.bearer(&made_up).get("/user").await.holds(200);
    before.hub.managed.stop().await;

    let chosen = "chosen-token-of-the-service";
    let given = ServiceSection {
        command: vec!["sleep".to_owned(), "600".to_owned()],
        api_token: Some(chosen.into()),
        ..ServiceSection::default()
    };
    let next = hub_with("cd", &database, given).await;
    assert_eq!(next.bearer(&made_up).get("/user").await.code(), 403);
    next.bearer(chosen).get("/user").await.holds(200);

    let (again, same) = hub_of("cd", &database).await;
    assert_eq!(same, made_up);
    again.bearer(&made_up).get("/user").await.holds(200);
    again.hub.managed.stop().await;
    let last = hub_with("cd", &database, ServiceSection::default()).await;
    assert_eq!(last.bearer(&made_up).get("/user").await.code(), 403);
}
