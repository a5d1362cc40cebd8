//! Servers that run believe the authorities of their start, and have certificates of one of them; those that were begun
//! in the clear cannot reach a hub that speaks TLS. A hub to which servers are lost would end them all: it does not begin.
//! The database also knows the authorities that it belongs with, so that two hubs with two folders never meet.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use hub_config::Config;
use hub_db::repo::authorities;
use hub_db::repo::spawners::{Begun, begun};
use hub_db::{Db, DbOptions, schema};
use serde_json::Value;

use super::folder::{Folder, Kept};
use super::{AUTHORITIES_OF_SERVERS, REMEDY, check, read_external};

/// Key in `spawners.state` of the fingerprints of the authorities that a server was begun with. Stock ignores it.
pub(crate) const STATE_KEY: &str = "himalia_authorities";

/// Fingerprints of authorities, by name.
pub(crate) type Fingerprints = BTreeMap<String, String>;

/// Looks, before anything is made, whether there are other authorities now than those of the database and of the servers
/// that run. The database is opened for this look alone.
///
/// # Errors
/// When there are, with the remedy; or when the database or the folder cannot be read.
pub(crate) async fn look(config: &Config, options: DbOptions) -> anyhow::Result<()> {
    if !config.hub.internal_ssl || config.hub.recreate_internal_certs {
        return Ok(());
    }
    let db = Db::connect(options).await?;
    let looked = look_at(config, &db).await;
    db.close().await?;
    looked
}

async fn look_at(config: &Config, db: &Db) -> anyhow::Result<()> {
    let state = schema::check(db.conn()).await?;
    if state == schema::State::Empty {
        return Ok(());
    }
    let there = there(config)?;
    refuse_servers(config, db, &there).await?;
    // An older schema may have no place for it; it has been stock's.
    if state == schema::State::Stamped(schema::HEAD.to_owned())
        && let Some(kept) = authorities::kept(db.conn()).await?
    {
        refuse_other(config, &kept, &there)?;
    }
    Ok(())
}

/// Looks once more when a hub begins, with the authorities that it has, and has the database keep these. `None`: the hub
/// speaks in the clear.
///
/// # Errors
/// When servers run that would be lost, or the database belongs with other authorities.
pub(crate) async fn settle(config: &Config, db: &Db, own: Option<&Fingerprints>) -> anyhow::Result<()> {
    let Some(own) = own else { return refuse_encrypted(&begun(db.conn()).await?) };
    let anew = config.hub.recreate_internal_certs;
    if !anew {
        refuse_servers(config, db, own).await?;
    }
    let kept = authorities::keep(db, &serde_json::to_string(own)?, anew).await?;
    refuse_other(config, &kept, own)
}

/// An error when servers run that speak TLS, for a hub that does not.
fn refuse_encrypted(running: &[Begun]) -> anyhow::Result<()> {
    let count =
        running.iter().filter(|server| server.tls || marks(server).is_some_and(|marks| !marks.is_empty()));
    match count.count() {
        0 => Ok(()),
        count => bail!(
            "hub.internal_ssl: is off, and {count} running server(s) were started with it, so that the hub could not \
             reach them any more. Set hub.internal_ssl = true with the folder of then (hub.internal_certs_location), and \
             stop them before it is switched off"
        ),
    }
}

/// An error when servers run that were begun in the clear, or with other authorities than there are now.
async fn refuse_servers(config: &Config, db: &Db, there: &Fingerprints) -> anyhow::Result<()> {
    let running = begun(db.conn()).await?;
    let (foreign, names) = foreign(&running, there);
    if foreign > 0 {
        bail!(
            "{}: {foreign} running server(s) were started with other authorities ({}) than those of now, so that the hub \
             could not reach them any more. Bring back the files that the hub had when it started them. Only where they \
             are lost, set hub.recreate_internal_certs = true for one start: that ends these servers and begins anew",
            places(config, &names),
            names.join(", "),
        );
    }
    // Stock leaves a port with a start that was cut off, and no state.
    let has_state = |state: &Value| state.as_object().is_some_and(|state| !state.is_empty());
    let plain = running.iter().filter(|server| server.plain && server.state.as_ref().is_some_and(has_state));
    match plain.count() {
        0 => Ok(()),
        plain => bail!(
            "hub.internal_ssl: is on, and {plain} running server(s) were started without it, so that they could not reach \
             the hub any more. Set hub.internal_ssl = false, and stop them before it is switched on"
        ),
    }
}

/// An error when the database belongs with other authorities.
fn refuse_other(config: &Config, kept: &str, there: &Fingerprints) -> anyhow::Result<()> {
    let kept: Fingerprints = serde_json::from_str(kept)
        .context("the fingerprints of hub.internal_ssl in the database cannot be read")?;
    let differ = |name: &&str| kept.get(*name).is_some_and(|mark| there.get(*name) != Some(mark));
    let names: Vec<&str> = AUTHORITIES_OF_SERVERS.into_iter().filter(differ).collect();
    if names.is_empty() {
        return Ok(());
    }
    bail!(
        "{}: the database belongs with other authorities ({}) than those of now. Give all hubs of one database the same \
         files. Only where those of before are lost, or are to be replaced, set hub.recreate_internal_certs = true for one \
         start of one hub",
        places(config, &names),
        names.join(", "),
    )
}

/// The keys that say where these authorities are.
fn places(config: &Config, names: &[&str]) -> String {
    let hub = &config.hub;
    let mut keys: Vec<String> = names
        .iter()
        .map(|name| match hub.external_ssl_authorities.get(*name) {
            Some(files) => format!("hub.external_ssl_authorities.{name} ({})", files.cert.display()),
            None => format!("hub.internal_certs_location ({})", hub.internal_certs_location.display()),
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys.join(", ")
}

/// The fingerprints of the authorities that servers depend on, as far as there are such authorities.
fn there(config: &Config) -> anyhow::Result<Fingerprints> {
    let folder = Folder::at(&config.hub.internal_certs_location);
    let mut found = Fingerprints::new();
    for name in AUTHORITIES_OF_SERVERS {
        let certificate = match config.hub.external_ssl_authorities.get(name) {
            Some(files) => Some(read_external(name, "cert", &files.cert)?),
            None => match folder.kept(name)? {
                Kept::Whole(pair) => Some(pair.certificate),
                Kept::Half(missing) => {
                    bail!("hub.internal_certs_location: {} is missing; {REMEDY}", missing.display())
                }
                Kept::Nothing => None,
            },
        };
        if let Some(certificate) = certificate {
            let print = check::fingerprint(&certificate).map_err(anyhow::Error::msg);
            let print = print.with_context(|| format!("{}: the certificate", places(config, &[name])))?;
            found.insert(name.to_owned(), print);
        }
    }
    Ok(found)
}

/// What is noted of a server's authorities.
fn marks(server: &Begun) -> Option<&serde_json::Map<String, Value>> {
    server.state.as_ref()?.get(STATE_KEY)?.as_object()
}

/// How many servers were begun with other authorities than these, and which authorities differ. Of a server that stock
/// has begun it is only known that it needs some.
fn foreign<'n>(running: &[Begun], there: &Fingerprints) -> (usize, Vec<&'n str>) {
    let mut names: Vec<&str> = Vec::new();
    let mut count = 0;
    for server in running {
        let marked = marks(server);
        let differ: Vec<&str> = AUTHORITIES_OF_SERVERS
            .into_iter()
            .filter(|name| match marked {
                Some(marks) => {
                    let mark = marks.get(*name).and_then(Value::as_str);
                    mark.is_some_and(|mark| there.get(*name).map(String::as_str) != Some(mark))
                }
                None => server.tls && !there.contains_key(*name),
            })
            .collect();
        count += usize::from(!differ.is_empty());
        names.extend(differ);
    }
    names.sort_unstable();
    names.dedup();
    (count, names)
}

#[cfg(test)]
mod tests {
    use hub_core::{Clock as _, SystemClock};
    use serde_json::json;

    use super::*;

    fn prints(letter: &str) -> Fingerprints {
        AUTHORITIES_OF_SERVERS.into_iter().map(|name| (name.to_owned(), format!("{letter}{name}"))).collect()
    }

    fn server(marks: Option<&Fingerprints>, tls: bool) -> Begun {
        let state = marks.map_or_else(|| json!({"pid": 7}), |marks| json!({"pid": 7, STATE_KEY: marks}));
        Begun { state: Some(state), tls, plain: false }
    }

    #[test]
    fn servers_of_other_authorities_are_told_from_those_of_these() {
        let (own, other) = (prints("a"), prints("b"));
        let mut one_other = own.clone();
        one_other.insert("hub-ca".to_owned(), "c".to_owned());
        let nothing = Fingerprints::new();
        for (running, there, expected, differ) in [
            (server(Some(&own), true), &own, 0, vec![]),
            (server(Some(&own), true), &other, 1, AUTHORITIES_OF_SERVERS.to_vec()),
            (server(Some(&own), true), &one_other, 1, vec!["hub-ca"]),
            // On its way, without an address yet.
            (server(Some(&own), false), &nothing, 1, AUTHORITIES_OF_SERVERS.to_vec()),
            // Those of stock say no more than that they speak TLS.
            (server(None, true), &own, 0, vec![]),
            (server(None, true), &nothing, 1, AUTHORITIES_OF_SERVERS.to_vec()),
            (server(None, false), &nothing, 0, vec![]),
        ] {
            let (count, mut names) = foreign(std::slice::from_ref(&running), there);
            let mut differ = differ;
            names.sort_unstable();
            differ.sort_unstable();
            assert_eq!((count, names), (expected, differ), "{running:?} {there:?}");
        }
        let all = [server(Some(&own), true), server(Some(&other), true), server(Some(&other), true)];
        assert_eq!(foreign(&all, &own).0, 2);
    }

    #[tokio::test]
    async fn hubs_with_two_folders_do_not_share_a_database() {
        let place = tempfile::tempdir().unwrap();
        let db = database(place.path()).await;
        let (config, own, other) = (Config::default(), prints("a"), prints("b"));
        let at_once = tokio::join!(settle(&config, &db, Some(&own)), settle(&config, &db, Some(&other)));
        assert!(at_once.0.is_ok() != at_once.1.is_ok(), "{at_once:?}");
        let (first, second) = if at_once.0.is_ok() { (&own, &other) } else { (&other, &own) };
        settle(&config, &db, Some(first)).await.unwrap();
        let error = settle(&config, &db, Some(second)).await.unwrap_err().to_string();
        for part in
            ["hub.internal_certs_location", "database belongs with other", "hub.recreate_internal_certs"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        let mut anew = Config::default();
        anew.hub.recreate_internal_certs = true;
        settle(&anew, &db, Some(second)).await.unwrap();
        settle(&config, &db, Some(second)).await.unwrap();
        settle(&config, &db, Some(first)).await.unwrap_err();
        // Who speaks in the clear does not mind.
        settle(&config, &db, None).await.unwrap();
    }

    #[tokio::test]
    async fn the_switch_stays_while_servers_run() {
        let place = tempfile::tempdir().unwrap();
        let db = database(place.path()).await;
        let (config, own) = (Config::default(), prints("a"));
        let user = hub_db::repo::users::create(db.conn(), "ann", false, SystemClock.now()).await.unwrap();
        let row = hub_db::repo::spawners::create(db.conn(), user.id, "").await.unwrap();
        let reached = |proto: &str, port| hub_db::repo::spawners::Address {
            proto: proto.to_owned(),
            ip: "127.0.0.1".to_owned(),
            port,
            base_url: "/user/ann/".to_owned(),
        };
        let state = |state| hub_db::repo::spawners::set_state(db.conn(), row.id, Some(state));
        state(json!({"pid": 7})).await.unwrap();
        for (proto, port, on, off) in
            [("http", 9, false, true), ("http", 0, true, true), ("https", 9, true, false)]
        {
            hub_db::repo::spawners::set_server(db.conn(), row.id, &reached(proto, port)).await.unwrap();
            let done = settle(&config, &db, Some(&own)).await;
            assert_eq!(done.is_ok(), on, "{proto} {port}: {done:?}");
            let done = settle(&config, &db, None).await;
            assert_eq!(done.is_ok(), off, "{proto} {port}: {done:?}");
        }
        // On its way, and known to speak TLS.
        hub_db::repo::spawners::set_server(db.conn(), row.id, &reached("http", 0)).await.unwrap();
        state(json!({"pid": 7, STATE_KEY: own})).await.unwrap();
        let error = settle(&config, &db, None).await.unwrap_err().to_string();
        assert!(error.contains("hub.internal_ssl: is off, and 1 running server(s)"), "{error}");
    }

    #[test]
    fn a_refusal_names_what_is_other_or_missing() {
        let place = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.internal_certs_location = place.path().join("certs");
        let files = hub_config::AuthorityFiles { cert: "mine.crt".into(), ..Default::default() };
        config.hub.external_ssl_authorities.insert("hub-ca".to_owned(), files);
        let kept = serde_json::to_string(&prints("a")).unwrap();
        let mut there = prints("a");
        there.insert("hub-ca".to_owned(), "b".to_owned());
        let error = refuse_other(&config, &kept, &there).unwrap_err().to_string();
        assert!(error.starts_with("hub.external_ssl_authorities.hub-ca (mine.crt): "), "{error}");

        config.hub.external_ssl_authorities.clear();
        let folder = config.hub.internal_certs_location.join("hub-ca");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hub-ca.crt"), "kept").unwrap();
        let error = super::there(&config).unwrap_err().to_string();
        assert!(error.contains("hub-ca.key is missing") && error.contains(REMEDY), "{error}");
    }

    async fn database(place: &std::path::Path) -> Db {
        let url = format!("sqlite:///{}", place.join("hub.sqlite").display());
        let db = Db::connect(DbOptions::new(url)).await.unwrap();
        schema::create(&db).await.unwrap();
        hub_db::repo::oauth::ensure_hub_client(db.conn()).await.unwrap();
        db
    }
}
