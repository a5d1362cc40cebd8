//! TLS among hub, proxy and servers: `internal_ssl`.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use serde_json::{Value, json};

use super::{ready, with_both_hubs};

with_both_hubs! {
    [Needed::Venv61];
    servers_speak_tls_and_are_found_again_after_a_crash_of_the_hub,
    nobody_gets_in_without_a_certificate,
    a_service_that_the_hub_runs_reaches_the_hub,
}

/// A service that asks the hub who it is, until it is told, and writes the answer to a file.
const ASKER: &str = r#"
import os, ssl, sys, time, urllib.request
context = ssl.create_default_context(cafile=os.environ["JUPYTERHUB_SSL_CLIENT_CA"])
context.load_cert_chain(os.environ["JUPYTERHUB_SSL_CERTFILE"], os.environ["JUPYTERHUB_SSL_KEYFILE"])
while True:
    try:
        answer = urllib.request.urlopen(os.environ["JUPYTERHUB_API_URL"] + "/", context=context).read()
        open(sys.argv[1], "wb").write(answer)
    except OSError as error:
        print("asker:", error, file=sys.stderr)
    time.sleep(0.5)
"#;

/// A hub with certificates in this folder; `None` is one of its own.
async fn started(kind: Kind, settings: Settings, certificates: Option<&Path>) -> Result<Hub> {
    let mut hub = Hub::prepare(kind, settings)?;
    let own = hub.folder().join("certificates");
    hub.settings.internal_ssl = Some(certificates.unwrap_or(&own).to_owned());
    hub.start_again().await?;
    Ok(hub)
}

/// A server with its page and a kernel, reached by TLS.
async fn a_kernel(hub: &Hub) -> Result<Kernel> {
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;
    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200, "{} at {}", page.status, page.url);
    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    ensure!(kernel.execute("answer = 42; print(answer)").await? == "42\n");
    let routes = administrator.fetch("proxy").await?;
    for route in ["~1", "~1user~1alice~1"] {
        let target = routes.pointer(&format!("/{route}/target")).and_then(Value::as_str);
        ensure!(target.is_some_and(|target| target.starts_with("https://")), "{routes}");
    }
    Ok(kernel)
}

/// A variable of the first process of alice's default server.
fn variable(hub: &Hub, name: &str) -> Result<String> {
    let process = hub.mark.with_command("jupyterhub-singleuser").into_iter().next().context("no server")?;
    let environment = std::fs::read(format!("/proc/{}/environ", process.pid))?;
    let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let found = variables.find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned));
    found.with_context(|| format!("no {name}"))
}

async fn servers_speak_tls_and_are_found_again_after_a_crash_of_the_hub(kind: Kind) -> Result<()> {
    let mut hub = started(kind, Settings::default(), None).await?;
    let kernel = a_kernel(&hub).await?;
    for name in ["JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL", "JUPYTERHUB_SERVICE_URL"] {
        let url = variable(&hub, name)?;
        ensure!(url.starts_with("https://"), "{name}={url}");
    }
    for name in ["JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA"] {
        let file = variable(&hub, name)?;
        let found = std::fs::metadata(&file).with_context(|| format!("{name}={file}"))?;
        ensure!(!name.ends_with("KEYFILE") || found.mode().trailing_zeros() >= 6, "{file} is open to others");
    }
    let before = hub.mark.with_command("jupyterhub-singleuser");

    hub.kill().await?;
    hub.start_again().await?;
    let administrator = hub.administrator()?;
    administrator.server_is_ready("alice", "").await?;
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == before);
    let alice = hub.logged_in("alice").await?;
    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200, "{} at {}", page.status, page.url);
    let mut kernel = Kernel::connect(&alice, "user/alice/", &kernel.id).await?;
    ensure!(kernel.execute("print(answer + 1)").await? == "43\n");

    // One server more of the same person does not disturb the first.
    administrator.start_server("alice", "second").await?;
    for server in ["user/alice/", "user/alice/second/"] {
        ensure!(alice.follow(&format!("{server}lab")).await?.status == 200, "{server}");
    }
    ensure!(kernel.execute("print(answer + 2)").await? == "44\n");
    administrator.stop_server("alice", "second").await?;
    administrator.stop_server("alice", "").await?;
    administrator.start_server("alice", "").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    Ok(())
}

async fn nobody_gets_in_without_a_certificate(kind: Kind) -> Result<()> {
    let hub = started(kind, Settings::default(), None).await?;
    let _kernel = a_kernel(&hub).await?;
    let certificates = hub.folder().join("certificates");
    let identity = |name: &str| -> Result<reqwest::Identity> {
        let read = |ending| std::fs::read_to_string(certificates.join(name).join(format!("{name}.{ending}")));
        Ok(reqwest::Identity::from_pem(format!("{}\n{}", read("key")?, read("crt")?).as_bytes())?)
    };
    // Whom they believe is their business, not ours: this caller believes everybody.
    let trusting = || reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let stranger = trusting().build()?;
    let proxy = trusting().identity(identity("proxy-client")?).build()?;
    let at_hub = format!("https://127.0.0.1:{}{}hub/health", hub.ports.hub, hub.base_url());
    let at_server = variable(&hub, "JUPYTERHUB_SERVICE_URL")?.replace("://:", "://127.0.0.1:") + "api";
    for url in [&at_hub, &at_server] {
        let answer = stranger.get(url).send().await;
        ensure!(answer.is_err(), "{url}: {answer:?}");
        let plain = stranger.get(url.replacen("https", "http", 1)).send().await;
        ensure!(plain.as_ref().map_or(true, |answer| answer.status() != 200), "{url}: {plain:?}");
        let answer = proxy.get(url).send().await?;
        ensure!(answer.status() == 200, "{url}: {}", answer.status());
    }
    Ok(())
}

async fn a_service_that_the_hub_runs_reaches_the_hub(kind: Kind) -> Result<()> {
    let place = tempfile::tempdir()?;
    let told = place.path().join("told");
    let python = Needed::Venv61.path().join("bin/python");
    let service = json!({
        "name": "asker", "api_token": "a-token-of-the-asker-0123456789",
        "command": [python, "-c", ASKER, told],
    });
    let settings = Settings { further_services: vec![service], ..Settings::default() };
    let hub = started(kind, settings, None).await?;
    let told = eventually("the service is told", Duration::from_secs(30), || async {
        Ok(std::fs::read_to_string(&told).ok().filter(|told| told.contains("version")))
    });
    let told = told.await.with_context(|| hub.log())?;
    ensure!(told.contains("6.1.1"), "{told}");
    Ok(())
}

#[tokio::test]
async fn our_hub_works_with_proxies_of_their_own_over_tls() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61]) {
        return Ok(());
    }
    let settings = Settings { separate_proxy: true, ..Settings::default() };
    let mut hub = started(Kind::Himalia, settings, None).await?;
    let mut kernel = a_kernel(&hub).await?;
    // The proxy goes on, and the hub finds it again.
    hub.kill().await?;
    ensure!(kernel.execute("print(answer + 1)").await? == "43\n");
    hub.start_again().await?;
    hub.administrator()?.server_is_ready("alice", "").await?;
    let api = format!("https://127.0.0.1:{}/api/routes", hub.ports.api);
    let stranger = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build()?;
    ensure!(stranger.get(api).send().await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_lost_folder_ends_no_server() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61]) {
        return Ok(());
    }
    let mut hub = started(Kind::Himalia, Settings::default(), None).await?;
    let mut kernel = a_kernel(&hub).await?;
    let before = hub.mark.with_command("jupyterhub-singleuser");
    hub.kill().await?;
    let (folder, elsewhere) = (hub.folder().join("certificates"), hub.folder().join("elsewhere"));
    std::fs::rename(&folder, &elsewhere)?;
    let refused = hub.run_to_end().await?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned() + hub.log().as_str();
    ensure!(!refused.status.success(), "{told}");
    ensure!(told.contains("hub.internal_certs_location (") && told.contains("1 running server(s)"), "{told}");
    ensure!(!folder.exists());
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == before);

    // Nor does the folder of another hub.
    let other = started(Kind::Himalia, Settings::default(), None).await?;
    std::fs::rename(other.folder().join("certificates"), &folder)?;
    drop(other);
    ensure!(!hub.run_to_end().await?.status.success());
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == before);

    std::fs::remove_dir_all(&folder)?;
    std::fs::rename(&elsewhere, &folder)?;
    hub.start_again().await?;
    hub.administrator()?.server_is_ready("alice", "").await?;
    ensure!(hub.mark.with_command("jupyterhub-singleuser") == before);
    ensure!(kernel_again(&hub, &mut kernel).await? == "43\n");
    Ok(())
}

/// The same kernel, after the proxy has begun anew.
async fn kernel_again(hub: &Hub, kernel: &mut Kernel) -> Result<String> {
    let alice = hub.logged_in("alice").await?;
    ensure!(alice.follow("user/alice/lab").await?.status == 200);
    *kernel = Kernel::connect(&alice, "user/alice/", &kernel.id).await?;
    kernel.execute("print(answer + 1)").await
}

#[tokio::test]
async fn each_hub_goes_on_with_the_certificates_of_the_other() -> Result<()> {
    if !ready(&[Kind::Himalia, Kind::Stock], &[]) {
        return Ok(());
    }
    for (first, second) in [(Kind::Stock, Kind::Himalia), (Kind::Himalia, Kind::Stock)] {
        let made = started(first, Settings::default(), None).await?;
        let certificates = made.folder().join("certificates");
        let authority = certificates.join("notebooks-ca/notebooks-ca.crt");
        let before = std::fs::read(&authority)?;
        drop(a_kernel(&made).await?);
        let other = started(second, Settings::default(), Some(&certificates)).await?;
        a_kernel(&other).await.with_context(|| format!("{second:?} with the certificates of {first:?}"))?;
        ensure!(std::fs::read(&authority)? == before, "{second:?} has made another authority");
    }
    Ok(())
}
