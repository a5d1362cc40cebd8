/** One click: stop, start again with the same options, come back to where one was. */
import { restartServer } from "./api.ts";
import { tellError } from "./dialogs.ts";
import { findAll, hub, segment } from "./page.ts";

/** Path, query and fragment of an address of this origin; nothing for any other. */
export function sameOrigin(address: string): string | undefined {
  try {
    const url = new URL(address, window.location.href);
    if (url.origin !== window.location.origin) return undefined;
    return url.pathname + url.search + url.hash;
  } catch {
    return undefined;
  }
}

/** The page of a running server from which the person came, if it is one of this server. */
function cameFrom(serverUrl: string): string | undefined {
  const came = document.referrer === "" ? undefined : sameOrigin(document.referrer);
  const own = sameOrigin(serverUrl);
  return came && own && came.startsWith(own) ? came : undefined;
}

export async function restart(user: string, server: string, serverUrl: string): Promise<void> {
  await restartServer(user, server);
  const path = server === "" ? segment(user) : `${segment(user)}/${segment(server)}`;
  const next = cameFrom(serverUrl);
  const query = next ? `?next=${encodeURIComponent(next)}` : "";
  window.location.assign(`${hub.base_url}spawn-pending/${path}${query}`);
}

/** Restart buttons anywhere: `data-server-name` and `data-server-url`, `data-user` where it is not one's own. */
export function attachRestart(within: ParentNode = document): void {
  for (const button of findAll(HTMLButtonElement, "button.restart-server", within)) {
    button.addEventListener("click", () => {
      const user = button.dataset["user"] ?? hub.user;
      if (user === undefined) return;
      button.disabled = true;
      restart(user, button.dataset["serverName"] ?? "", button.dataset["serverUrl"] ?? "")
        .catch(tellError)
        .finally(() => {
          button.disabled = false;
        });
    });
  }
}
