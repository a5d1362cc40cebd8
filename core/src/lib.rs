//! Vocabulary and plugin traits of Himalia.
//!
//! Everything that the hub, its plugins and its storage must agree on lives here and depends on nothing
//! but small libraries: names and how they are escaped, tokens and how they are hashed, scopes and their
//! algebra, and the three traits that plugins implement: [`Spawner`], [`Authenticator`], [`SpawnHook`].

pub mod authenticator;
pub mod certificates;
pub mod clock;
pub mod dns;
pub mod hook;
pub mod names;
pub mod plugin;
pub mod python;
pub mod scopes;
pub mod secret;
pub mod spawner;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;

pub use authenticator::{
    Account, AuthError, AuthRoute, Authenticator, ClosedAccounts, Identity, LoginForm, LoginMethod,
    LoginRequest, LoginStep, Refresh, Revocation, StepCookie, WayIn,
};
pub use certificates::{CertificateError, CertificateIssuer, ServerCertificate};
pub use clock::{Clock, SystemClock};
pub use hook::{HookContext, HookError, SpawnHook};
pub use names::{NameError, ServerKey, ServerName, UserName};
pub use plugin::{
    AuthenticatorContext, AuthenticatorPlugin, PluginError, Problem, SpawnerContext, SpawnerPlugin,
};
pub use spawner::{
    Adoption, FormContext, OptionsForm, PollStatus, Progress, ServerEvent, ServerRef, SpawnError, SpawnFault,
    Spawner, StartJob, StartSink, Started, StopMode,
};
