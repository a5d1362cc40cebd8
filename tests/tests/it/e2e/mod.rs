//! The whole program from outside, beside the stock hub.

use hub_tests::environment::{Needed, available};
use hub_tests::hub::Kind;

mod admin;
mod api_description;
mod bad_input;
mod browser_story;
mod client_commands;
mod crash;
mod cross;
mod hundred;
mod interchange;
mod internal_ssl;
mod keycloak;
mod multiplexed;
mod openhexa;
mod python_services;
mod replacement;
mod revocation;
mod shutdown;
mod singleuser_versions;
mod takeover;
pub(crate) mod workspaces;

/// Makes two tests of each function, `himalia::NAME` and `reference::NAME`: the second shows that the expectation is
/// the peer's behaviour too. The functions take the hub under test.
macro_rules! with_both_hubs {
    ($needs:expr; $($name:ident),+ $(,)?) => {
        $crate::e2e::with_both_hubs!(@module himalia Himalia $needs; $($name),+);
        $crate::e2e::with_both_hubs!(@module reference Stock $needs; $($name),+);
    };
    (@module $module:ident $kind:ident $needs:expr; $($name:ident),+) => {
        mod $module {
            use hub_tests::environment::Needed;

            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    let kind = hub_tests::hub::Kind::$kind;
                    if !$crate::e2e::ready(&[kind], &$needs) {
                        return Ok(());
                    }
                    super::$name(kind).await
                }
            )+
        }
    };
}
use with_both_hubs;

/// Whether these hubs and programs are there.
pub(crate) fn ready(kinds: &[Kind], needs: &[Needed]) -> bool {
    let all: Vec<Needed> = kinds.iter().flat_map(|kind| kind.needs()).chain(needs).copied().collect();
    available(&all)
}
