//! Servers that run believe the authorities of their start, and have certificates of one of them. A hub with others
//! could not reach them, and would end them all: it does not begin.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use hub_config::Config;
use hub_db::repo::spawners::{Begun, begun};
use hub_db::{Db, DbOptions, schema};
use serde_json::Value;

use super::folder::{Folder, Kept};
use super::{AUTHORITIES_OF_SERVERS, check, read_external};

/// Key in `spawners.state` of the fingerprints of the authorities that a server was begun with. Stock ignores it.
pub(crate) const STATE_KEY: &str = "himalia_authorities";

/// Fingerprints of authorities, by name.
pub(crate) type Fingerprints = BTreeMap<String, String>;

/// Looks, before anything is made, whether servers run that were begun with other authorities than there are now. The
/// database is opened for this look alone.
///
/// # Errors
/// When there are such servers, with the remedy; or when the database or the folder cannot be read.
pub(crate) async fn look(config: &Config, options: DbOptions) -> anyhow::Result<()> {
    if !config.hub.internal_ssl || config.hub.recreate_internal_certs {
        return Ok(());
    }
    let db = Db::connect(options).await?;
    let looked = refuse_foreign(config, &db).await;
    db.close().await?;
    looked
}

/// An error when servers run that were begun with other authorities than there are now.
async fn refuse_foreign(config: &Config, db: &Db) -> anyhow::Result<()> {
    let hub = &config.hub;
    if schema::check(db.conn()).await? == schema::State::Empty {
        return Ok(());
    }
    let running = begun(db.conn()).await?;
    let (foreign, names) = foreign(&running, &there(config)?);
    if foreign == 0 {
        return Ok(());
    }
    bail!(
        "hub.internal_certs_location: {foreign} running server(s) were started with other authorities ({}) than those of \
         {}, so that the hub could not reach them any more. Bring back the folder that the hub had when it started them. \
         Only where it is lost, set hub.recreate_internal_certs = true for one start: that ends these servers and begins \
         anew",
        names.join(", "),
        hub.internal_certs_location.display(),
    )
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
                Kept::Half(_) | Kept::Nothing => None,
            },
        };
        if let Some(certificate) = certificate {
            let print = check::fingerprint(&certificate).map_err(anyhow::Error::msg);
            let print = print.with_context(|| format!("hub.internal_ssl: the certificate of {name}"))?;
            found.insert(name.to_owned(), print);
        }
    }
    Ok(found)
}

/// How many servers were begun with other authorities than these, and which authorities differ. Of a server that stock
/// has begun it is only known that it needs some.
fn foreign<'n>(running: &[Begun], there: &Fingerprints) -> (usize, Vec<&'n str>) {
    let mut names: Vec<&str> = Vec::new();
    let mut count = 0;
    for server in running {
        let marked = server.state.as_ref().and_then(|state| state.get(STATE_KEY)).and_then(Value::as_object);
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
    use serde_json::json;

    use super::*;

    fn prints(letter: &str) -> Fingerprints {
        AUTHORITIES_OF_SERVERS.into_iter().map(|name| (name.to_owned(), format!("{letter}{name}"))).collect()
    }

    fn server(marks: Option<&Fingerprints>, tls: bool) -> Begun {
        let state = marks.map_or_else(|| json!({"pid": 7}), |marks| json!({"pid": 7, STATE_KEY: marks}));
        Begun { state: Some(state), tls }
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
}
