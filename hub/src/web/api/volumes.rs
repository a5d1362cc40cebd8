//! The volumes of servers. Not in JupyterHub.

use actix_web::HttpResponse;
use hub_core::{ServerRef, UserName};
use jupyterhub_api_compat::Timestamp;
use jupyterhub_api_compat::models::{Volume, VolumeList};

use super::answer;
use super::call::Call;
use crate::web::error::ApiResult;
use crate::web::pages::context::servers_of;

/// `GET /users/{user}/volumes`: what all spawners know.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let user = call.user_or_404().await?;
    let servers: Vec<ServerRef> =
        servers_of(&call.hub, &user).await?.iter().map(|state| state.record.server_ref()).collect();
    let name = UserName::stored(&user.name);
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for spawner in call.hub.servers.spawners.all() {
        let volumes = spawner.volumes(&name, &servers).await?;
        found.extend(volumes.found);
        unknown.extend(volumes.unknown);
    }
    // Several spawners may look at one place.
    found.sort();
    found.dedup();
    unknown.sort();
    unknown.dedup();
    let volumes = found.into_iter().map(|volume| Volume {
        used_by: volume.used_by.iter().map(ToString::to_string).collect(),
        server: volume.server.to_string(),
        name: volume.name,
        place: volume.place,
        capacity: volume.capacity,
        phase: volume.phase,
        created: volume.created.as_deref().and_then(Timestamp::parse),
    });
    answer::ok(&VolumeList { volumes: volumes.collect(), unknown })
}
