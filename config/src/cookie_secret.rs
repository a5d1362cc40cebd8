//! Secrets of the installation: the one that signs cookies, the keys that encrypt auth_state, and the file in which a
//! hub without configuration keeps what it made up.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hub_core::secret::random_bytes;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::Deserialize;
use thiserror::Error;

use crate::hub::HubSection;

/// Name of the file of [`load_or_create_secrets`].
pub const GENERATED_SECRETS_FILE: &str = "himalia_secrets.toml";

/// Name of stock's file, also our default of `cookie_secret_file`.
const STOCK_COOKIE_SECRET_FILE: &str = "jupyterhub_cookie_secret";

/// Largest secrets file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// Base64 as Python's `a2b_base64` takes it: padding or not, bits left over or not.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Why a secret cannot be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Others may read or change the file.
    #[error(
        "{path} is open to other users (mode {mode:04o}); run chmod 600 {path}, and make a new secret if it may \
             have been seen"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or made.
    #[error(
        "{path}: {error}; let the hub write in that folder, or set hub.cookie_secret_file to a file in another one, \
             where secrets that are made are kept as well"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no {what}; remove the file and a new one is made")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The setting holds something else.
    #[error("hub.cookie_secret must be an even number of hexadecimal digits")]
    Setting,
}

/// The secret that signs cookies.
#[derive(Debug)]
pub struct CookieSecret {
    /// The bytes, usually 32.
    pub secret: SecretSlice<u8>,
    /// What is doubtful about it, for the log.
    pub warnings: Vec<String>,
}

/// The secret that signs cookies, as stock finds it: the setting `cookie_secret`, then the variable
/// `JPY_COOKIE_SECRET` (which [`crate::load()`] put into the same setting when no file has it), then the file
/// `cookie_secret_file`, which is made with 32 random bytes and mode 0600 when it is missing.
///
/// # Errors
/// The file is open to others, unreadable or holds no secret; or the setting is not hexadecimal.
pub fn load_or_create_cookie_secret(hub: &HubSection) -> Result<CookieSecret, SecretError> {
    let mut warnings = Vec::new();
    let bytes = match &hub.cookie_secret {
        Some(text) => decode_hex_secret(text.expose_secret()).ok_or(SecretError::Setting)?,
        None => cookie_secret_file(&hub.cookie_secret_file, &mut warnings)?,
    };
    if bytes.len() != 32 {
        warnings.push(format!("the cookie secret has {} bytes; 32 are right", bytes.len()));
    }
    Ok(CookieSecret { secret: SecretSlice::from(bytes), warnings })
}

fn cookie_secret_file(path: &Path, warnings: &mut Vec<String>) -> Result<Vec<u8>, SecretError> {
    let text = match read_closed(path) {
        Err(SecretError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            let made = format!("{}\n", hex::encode(random_bytes::<32>()));
            create_closed(path, &made)?
        }
        other => other?,
    };
    let text = text.trim();
    if let Some(bytes) = decode_hex_secret(text) {
        return Ok(bytes);
    }
    // JupyterHub before 0.8 wrote base64
    let compact: String = text.split_whitespace().collect();
    match GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(compact) {
        Ok(bytes) if !bytes.is_empty() => {
            warnings.push(format!(
                "{} holds an old secret in base64; remove it for a new one (everybody then logs in again)",
                path.display()
            ));
            Ok(bytes)
        }
        _ => Err(SecretError::Content { path: path.to_path_buf(), what: "cookie secret" }),
    }
}

/// Bytes from an even, positive number of hexadecimal digits.
pub(crate) fn decode_hex_secret(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.trim()).ok().filter(|bytes| !bytes.is_empty())
}

/// A key for auth_state in any of stock's three notations: 64 hexadecimal digits, 44 characters of URL-safe base64,
/// 32 raw bytes.
pub fn decode_crypt_key(text: &str) -> Option<[u8; 32]> {
    let bytes = match text.len() {
        64 => hex::decode(text).ok()?,
        44 => GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT).decode(text).ok()?,
        32 => text.as_bytes().to_vec(),
        _ => return None,
    };
    bytes.try_into().ok()
}

/// What a hub without configuration made up for itself.
#[derive(Debug, Clone)]
pub struct GeneratedSecrets {
    /// The file.
    pub path: PathBuf,
    /// For `hub.cookie_secret`.
    pub cookie_secret: SecretString,
    /// For `hub.crypt_keys`.
    pub crypt_key: SecretString,
    /// For `proxy.auth_token`.
    pub proxy_auth_token: SecretString,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsFile {
    cookie_secret: SecretString,
    crypt_key: SecretString,
    proxy_auth_token: SecretString,
}

/// Secrets for a hub without configuration, from the file `himalia_secrets.toml` in a directory. It is made, with
/// mode 0600, when it is missing; a cookie secret that stock left in the same directory is taken over, so that
/// people stay logged in.
///
/// # Errors
/// The file is open to others, unreadable, cannot be made, or holds something else.
pub fn load_or_create_secrets(directory: &Path) -> Result<GeneratedSecrets, SecretError> {
    let path = directory.join(GENERATED_SECRETS_FILE);
    let text = match read_closed(&path) {
        Err(SecretError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            let stock = directory.join(STOCK_COOKIE_SECRET_FILE);
            let cookie_secret = if stock.exists() {
                cookie_secret_file(&stock, &mut Vec::new())?
            } else {
                random_bytes::<32>().to_vec()
            };
            let made = format!(
                "# Secrets of this installation. Who has them can act as anybody: keep them.\n\
                 cookie_secret = \"{}\"\ncrypt_key = \"{}\"\nproxy_auth_token = \"{}\"\n",
                hex::encode(cookie_secret),
                hex::encode(random_bytes::<32>()),
                hex::encode(random_bytes::<32>()),
            );
            create_closed(&path, &made)?
        }
        other => other?,
    };
    match toml::from_str::<SecretsFile>(&text) {
        Ok(secrets)
            if decode_hex_secret(secrets.cookie_secret.expose_secret()).is_some()
                && decode_crypt_key(secrets.crypt_key.expose_secret()).is_some()
                && !secrets.proxy_auth_token.expose_secret().is_empty() =>
        {
            Ok(GeneratedSecrets {
                path,
                cookie_secret: secrets.cookie_secret,
                crypt_key: secrets.crypt_key,
                proxy_auth_token: secrets.proxy_auth_token,
            })
        }
        // the error of the parser would show the line, and with it a secret
        _ => Err(SecretError::Content { path, what: "secrets of Himalia" }),
    }
}

/// Reads a file that must not be open to others.
fn read_closed(path: &Path) -> Result<String, SecretError> {
    let io = |error| SecretError::Io { path: path.to_path_buf(), error };
    let file = fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Open { path: path.to_path_buf(), mode });
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Makes a file with mode 0600 and all of its content at once, and returns what it holds. Should another process make
/// it at the same time, there is one winner and both return the winner's content.
fn create_closed(path: &Path, text: &str) -> Result<String, SecretError> {
    let io = |error| SecretError::Io { path: path.to_path_buf(), error };
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", hex::encode(random_bytes::<8>())));
    let draft = PathBuf::from(draft);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    // a link fails where the name exists, other than a rename
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match linked {
        Ok(()) => {
            removed.map_err(io)?;
            Ok(text.to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_closed(path),
        Err(error) => Err(io(error)),
    }
}
