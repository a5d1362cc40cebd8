/** What a server does, from what the hub says of it. */
import type { Server, User } from "./rest.ts";

export type State = "stopped" | "starting" | "running" | "stopping" | "busy";

export function stateOf(server: Server): State {
  if (server.pending === "stop") return "stopping";
  if (server.pending === "spawn") return "starting";
  if (server.pending) return "busy";
  return server.ready ? "running" : "stopped";
}

export function isActive(server: Server): boolean {
  return server.ready || server.pending !== null;
}

/** A server that was never started: every user has a default server, whether the hub keeps a record of it or not. */
function unborn(): Server {
  return { name: "", ready: false, stopped: true, pending: null, url: "", last_activity: null, started: null };
}

/** The user's servers, the default one first. Without permission to see any there is only that one. */
export function serversOf(user: User): Server[] {
  const { "": own, ...named } = user.servers ?? {};
  return [own ?? unborn(), ...Object.values(named)];
}

/** The key of a server's row in element ids: as JupyterHub's admin page has it. */
export function rowKey(user: User, server: Server): string {
  return server.name === "" ? user.name : `${user.name}-${server.name}`;
}
