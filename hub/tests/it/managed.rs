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
