//! Chromium, driven by its WebDriver.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::WindowHandle;
use thirtyfour::prelude::*;
use tokio::process::{Child, Command};

use crate::environment::{Needed, target};
use crate::ports::free_port;
use crate::processes::{Mark, VARIABLE};
use crate::wait::eventually;

/// Longest wait for anything to appear on a page; starts of servers are among what is waited for.
const APPEARS_WITHIN: Duration = Duration::from_mins(2);
const SCRIPT_WITHIN: Duration = Duration::from_mins(2);
/// Widths and heights of the windows that screenshots are taken in, in CSS pixels.
const SIZES: [(&str, u32, u32); 2] = [("wide", 1280, 800), ("narrow", 375, 760)];

/// A browser window with a fresh profile. Dropping it ends the browser.
#[derive(Debug)]
pub struct Browser {
    driver: WebDriver,
    screenshots: PathBuf,
    _process: Child,
    _mark: Mark,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser whose screenshots go to `target/screenshots/NAME`.
    ///
    /// # Errors
    /// When the browser or its driver does not start.
    pub async fn start(name: &str) -> Result<Self> {
        let mark = Mark::new();
        let profile = tempfile::Builder::new().prefix("himalia-browser-").tempdir()?;
        let port = free_port();
        let process = Command::new(Needed::Chromedriver.path())
            .arg(format!("--port={port}"))
            .env(VARIABLE, mark.value())
            .env("HOME", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the browser's driver")?;
        let server = format!("http://127.0.0.1:{port}");
        let status = format!("{server}/status");
        eventually("the browser's driver answers", Duration::from_secs(30), || async {
            Ok(reqwest::get(&status).await.is_ok().then_some(()))
        })
        .await?;
        let mut wishes = DesiredCapabilities::chrome();
        wishes.set_binary(&Needed::Chromium.path().display().to_string())?;
        for argument in [
            "--headless=new",
            // The sandbox needs rights that containers do not have; only pages of the test are visited.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--password-store=basic",
            "--lang=en-GB",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().join("profile").display()),
        ] {
            wishes.add_arg(argument)?;
        }
        // Nobody vouches for the certificates of tests.
        wishes.accept_insecure_certs(true)?;
        let driver = WebDriver::new(&server, wishes).await.context("cannot start the browser")?;
        driver.set_script_timeout(SCRIPT_WITHIN).await?;
        driver.set_page_load_timeout(APPEARS_WITHIN).await?;
        let screenshots = target().join("screenshots").join(name);
        fs::create_dir_all(&screenshots)?;
        Ok(Self { driver, screenshots, _process: process, _mark: mark, _profile: profile })
    }

    /// Opens an address.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.driver.goto(url).await.with_context(|| url.to_owned())
    }

    /// The address shown.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn url(&self) -> Result<String> {
        Ok(self.driver.current_url().await?.to_string())
    }

    /// Waits until the address has `part` in it.
    ///
    /// # Errors
    /// When it never has; with the address and the text that are shown instead.
    pub async fn arrives_at(&self, part: &str) -> Result<()> {
        let look = || async { Ok(self.url().await?.contains(part).then_some(())) };
        let arrived = eventually(&format!("the browser arrives at {part}"), APPEARS_WITHIN, look).await;
        self.explained(arrived).await
    }

    /// Waits for a visible element.
    ///
    /// # Errors
    /// When it does not appear; with the address and the text that are shown instead.
    pub async fn sees(&self, css: &str) -> Result<WebElement> {
        let look = || async {
            for element in self.driver.find_all(By::Css(css)).await.unwrap_or_default() {
                // An element may leave the page between the two questions.
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(Some(element));
                }
            }
            Ok(None)
        };
        let found = eventually(&format!("{css} is visible"), APPEARS_WITHIN, look).await;
        self.explained(found).await
    }

    /// Goes into the frame of a page, which what follows is about.
    ///
    /// # Errors
    /// When there is no such frame.
    pub async fn enters_frame(&self, css: &str) -> Result<()> {
        let frame = self.sees(css).await?;
        Ok(frame.enter_frame().await?)
    }

    /// Waits until no element is visible.
    ///
    /// # Errors
    /// When one stays.
    pub async fn no_longer_sees(&self, css: &str) -> Result<()> {
        let look = || async {
            for element in self.driver.find_all(By::Css(css)).await? {
                if element.is_displayed().await.unwrap_or(false) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        let gone = eventually(&format!("{css} is no longer visible"), APPEARS_WITHIN, look).await;
        self.explained(gone).await
    }

    /// Waits until the text of some visible element has `part` in it.
    ///
    /// # Errors
    /// When it never has.
    pub async fn reads(&self, css: &str, part: &str) -> Result<()> {
        let look = || async {
            for element in self.driver.find_all(By::Css(css)).await? {
                if element.text().await.unwrap_or_default().contains(part) {
                    return Ok(Some(()));
                }
            }
            Ok(None)
        };
        let read = eventually(&format!("{css} reads {part:?}"), APPEARS_WITHIN, look).await;
        self.explained(read).await
    }

    /// Waits for an element and clicks it, again when something lies over it that goes away.
    ///
    /// # Errors
    /// When it cannot be clicked.
    pub async fn clicks(&self, css: &str) -> Result<()> {
        let click = || async {
            let element = self.sees(css).await?;
            Ok(element.click().await.is_ok().then_some(()))
        };
        let clicked = eventually(&format!("{css} can be clicked"), APPEARS_WITHIN, click).await;
        self.explained(clicked).await
    }

    /// Waits for a field and types into it.
    ///
    /// # Errors
    /// When there is no such field.
    pub async fn types(&self, css: &str, text: impl IntoIterator<Item = char>) -> Result<()> {
        let field = self.sees(css).await?;
        Ok(field.send_keys(text.into_iter().collect::<String>()).await?)
    }

    /// Runs the body of an `async` function in the page, with `arguments` as `args`; what it returns.
    ///
    /// # Errors
    /// When it throws.
    pub async fn script(&self, body: &str, arguments: Vec<Value>) -> Result<Value> {
        let wrapped = format!(
            "const args = Array.from(arguments); const done = args.pop();\n\
             (async () => {{ {body} }})().then(value => done({{value}}), error => done({{error: String(error)}}));"
        );
        let result = self.driver.execute_async(&wrapped, arguments).await?;
        let result: Value = result.json().clone();
        if let Some(error) = result.get("error") {
            bail!("the page's script failed: {error}");
        }
        Ok(result.get("value").cloned().unwrap_or_default())
    }

    /// Runs `click`, which opens a new tab, and goes there. The tab that was shown goes on.
    ///
    /// # Errors
    /// When no new tab opens.
    pub async fn follows_into_new_tab<F>(&self, click: F) -> Result<WindowHandle>
    where
        F: Future<Output = Result<()>>,
    {
        let before = self.driver.windows().await?;
        let here = self.driver.window().await?;
        click.await?;
        let new = eventually("a new tab opens", APPEARS_WITHIN, || async {
            Ok(self.driver.windows().await?.into_iter().find(|window| !before.contains(window)))
        });
        self.driver.switch_to_window(new.await?).await?;
        Ok(here)
    }

    /// Closes the tab that is shown and goes to another.
    ///
    /// # Errors
    /// When there is no such tab.
    pub async fn closes_tab_for(&self, window: WindowHandle) -> Result<()> {
        self.driver.close_window().await?;
        Ok(self.driver.switch_to_window(window).await?)
    }

    /// The page as `NAME-{wide,narrow}-{light,dark}.png`. Returns the sizes in which it can be scrolled sideways.
    ///
    /// # Errors
    /// When the browser refuses.
    pub async fn screenshots(&self, name: &str) -> Result<Vec<&'static str>> {
        // Colours fade from one scheme to the other; only transitions end, an animation may go on for ever.
        const RESTED: &str = "
            const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
            await frame(); await frame();
            const fading = document.getAnimations().filter(animation => animation instanceof CSSTransition);
            await Promise.all(fading.map(transition => transition.finished.catch(() => null)));
            await frame();
            return document.documentElement.scrollWidth > document.documentElement.clientWidth;
        ";
        let cdp = self.driver.cdp();
        let mut too_wide = Vec::new();
        for (size, width, height) in SIZES {
            let metrics =
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
            cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics).await?;
            for scheme in ["light", "dark"] {
                let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
                cdp.send_raw("Emulation.setEmulatedMedia", features).await?;
                if self.script(RESTED, Vec::new()).await? == json!(true) && !too_wide.contains(&size) {
                    too_wide.push(size);
                }
                let file = self.screenshots.join(format!("{name}-{size}-{scheme}.png"));
                self.driver.screenshot(&file).await?;
            }
        }
        cdp.send_raw("Emulation.setEmulatedMedia", json!({ "features": [] })).await?;
        cdp.send_raw("Emulation.clearDeviceMetricsOverride", json!({})).await?;
        Ok(too_wide)
    }

    /// Ends the browser in an orderly way.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn quit(self) -> Result<()> {
        Ok(self.driver.clone().quit().await?)
    }

    /// Adds what is shown to an error, and keeps a picture of it.
    async fn explained<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            return result;
        }
        let url = self.url().await.unwrap_or_default();
        let body = self.driver.find(By::Css("body")).await;
        let text = match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let picture = self.screenshots.join("failure.png");
        let kept = self.driver.screenshot(&picture).await.is_ok();
        let seen = if kept { format!("; see {}", picture.display()) } else { String::new() };
        let text: String = text.chars().take(2_000).collect();
        result.with_context(|| format!("shown at {url}{seen}:\n{text}"))
    }
}

/// A number of bytes that compress badly and differ everywhere, made and hashed in the page.
///
/// # Errors
/// When what came back is not what was sent.
pub async fn uploads_and_downloads(browser: &Browser, server: &str, bytes: usize) -> Result<()> {
    const BODY: &str = "
        const [server, size] = args;
        const sent = new Uint8Array(size);
        for (let at = 0; at < size; at += 65536) crypto.getRandomValues(sent.subarray(at, Math.min(at + 65536, size)));
        const digest = async data => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', data))).join();
        const base64 = await new Promise(resolve => {
            const reader = new FileReader();
            reader.onload = () => resolve(reader.result.split(',', 2)[1]);
            reader.readAsDataURL(new Blob([sent]));
        });
        const xsrf = (document.cookie.match(/(?:^|; )_xsrf=([^;]*)/) || [])[1];
        const saved = await fetch(server + 'api/contents/large.bin', {
            method: 'PUT',
            headers: {'Content-Type': 'application/json', 'X-XSRFToken': xsrf},
            body: JSON.stringify({type: 'file', format: 'base64', content: base64}),
        });
        const got = await fetch(server + 'files/large.bin?_xsrf=' + encodeURIComponent(xsrf));
        const received = await got.arrayBuffer();
        return [saved.status, got.status, received.byteLength, await digest(sent) === await digest(received)];
    ";
    let answer = browser.script(BODY, vec![json!(server), json!(bytes)]).await?;
    ensure!(answer == json!([201, 200, bytes, true]), "upload, download, size, equality: {answer}");
    Ok(())
}
