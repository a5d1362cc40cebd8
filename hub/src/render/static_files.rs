//! The files below `static/`: scripts, styles and images, embedded into the binary.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/static"]
struct Embedded;

/// One static file, ready to be sent.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Value of `ETag`: strong, in quotes.
    pub etag: String,
    /// Version for `?v=`, hexadecimal.
    pub version: String,
    /// The file.
    pub data: Cow<'static, [u8]>,
}

impl Asset {
    /// Value of `Cache-Control`: a browser that asked for a version may keep it, others ask again each time.
    pub fn cache_control(versioned: bool) -> &'static str {
        if versioned { "public, max-age=31536000, immutable" } else { "no-cache" }
    }
}

/// All static files by path, hashed once.
#[derive(Debug, Clone, Copy, Default)]
pub struct StaticFiles;

static FILES: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    Embedded::iter()
        .filter_map(|path| {
            let file = Embedded::get(&path)?;
            let version = hex::encode(Sha256::digest(&file.data));
            let asset = Asset {
                content_type: content_type(&path),
                etag: format!("\"{version}\""),
                version,
                data: file.data,
            };
            Some((path.into_owned(), asset))
        })
        .collect()
});

impl StaticFiles {
    /// Path of the built-in logo, which the hub serves as `/hub/logo` where no other is configured: a bitmap under the
    /// name that stock's has, because servers and services embed it and site templates refer to it.
    pub const LOGO: &'static str = "images/jupyterhub-80.png";

    /// The file at a path without a leading slash, `css/style.min.css` for example. Only exact paths exist, so nothing
    /// can be climbed out of.
    pub fn get(self, path: &str) -> Option<&'static Asset> {
        FILES.get(path)
    }

    /// All paths, in no particular order.
    pub fn paths(self) -> impl Iterator<Item = &'static str> {
        FILES.keys().map(String::as_str)
    }
}

/// Stock names no character set either; a browser then takes that of the page, UTF-8.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("ico") => "image/x-icon",
        Some("png") => "image/png",
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_templates_ask_for_are_there_with_type_and_etag() {
        for (path, kind) in [
            ("css/style.min.css", "text/css"),
            ("js/hub.js", "text/javascript"),
            ("js/theme.js", "text/javascript"),
            ("images/mark.svg", "image/svg+xml"),
            ("images/logo.svg", "image/svg+xml"),
            (StaticFiles::LOGO, "image/png"),
            ("favicon.ico", "image/x-icon"),
        ] {
            let asset = StaticFiles.get(path).unwrap_or_else(|| panic!("{path} is missing"));
            assert!(asset.content_type.starts_with(kind), "{path}: {}", asset.content_type);
            assert_eq!(asset.etag, format!("\"{}\"", asset.version));
            assert!(asset.data.len() > 100, "{path} is nearly empty");
        }
        assert!(StaticFiles.get("../Cargo.toml").is_none());
        assert!(StaticFiles.get("/js/hub.js").is_none());
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for path in StaticFiles.paths() {
            let asset = StaticFiles.get(path).unwrap();
            if !asset.content_type.starts_with("text/") {
                continue;
            }
            let text = String::from_utf8_lossy(&asset.data);
            for outside in ["url(http", "url(\"http", "url(//", "@import", "import(\"http"] {
                assert!(!text.contains(outside), "{path} refers to {outside}");
            }
        }
    }

    #[test]
    fn only_versioned_requests_may_be_kept() {
        assert_eq!(Asset::cache_control(false), "no-cache");
        assert!(Asset::cache_control(true).contains("immutable"));
    }
}
