/** The calls of the admin page, all of the public REST API. */
import { call, type ServerModel } from "../api.ts";
import { segment } from "../page.ts";
import type { Part } from "./place.ts";

const PAGED = "application/jupyterhub-pagination+json";

export interface Server extends ServerModel {
  started?: string | null;
  user_options?: Record<string, unknown> | null;
}

/** A user; what the person may not see is missing. */
export interface User {
  name: string;
  admin?: boolean;
  groups?: string[];
  roles?: string[];
  created?: string | null;
  last_activity?: string | null;
  servers?: Record<string, Server>;
}

export interface Group {
  name: string;
  users?: string[];
  roles?: string[];
  properties?: Record<string, unknown>;
}

export interface List<T> {
  items: T[];
  _pagination: { offset: number; limit: number; total: number };
}

/** Whoever looks at the page. */
export interface Me {
  name: string;
  admin?: boolean;
  scopes: string[];
}

async function json<T>(method: string, path: string, body?: unknown, accept?: string): Promise<T> {
  const response = await call(method, path, body, accept);
  return (await response.json()) as T;
}

function serverPath(user: string, server: string): string {
  return `users/${segment(user)}/servers/${segment(server)}`;
}

export const rest = {
  me: () => json<Me>("GET", "user"),

  users: (part: Part, filters: Record<string, string>) => {
    const query = new URLSearchParams({ include_stopped_servers: "1" });
    query.set("offset", String(part.offset));
    query.set("limit", String(part.limit));
    for (const [name, value] of Object.entries(filters)) if (value !== "") query.set(name, value);
    return json<List<User>>("GET", `users?${query}`, undefined, PAGED);
  },
  user: (name: string) => json<User>("GET", `users/${segment(name)}?include_stopped_servers=1`),
  addUsers: (usernames: string[], admin: boolean) => json<User[]>("POST", "users", { usernames, admin }),
  editUser: (name: string, changes: { name?: string; admin?: boolean }) =>
    json<User>("PATCH", `users/${segment(name)}`, changes),
  deleteUser: (name: string) => call("DELETE", `users/${segment(name)}`),

  startServer: (user: string, server: string) => call("POST", serverPath(user, server)),
  stopServer: (user: string, server: string) => call("DELETE", serverPath(user, server)),
  deleteServer: (user: string, server: string) => call("DELETE", serverPath(user, server), { remove: true }),

  groups: (part: Part) =>
    json<List<Group>>("GET", `groups?offset=${part.offset}&limit=${part.limit}`, undefined, PAGED),
  group: (name: string) => json<Group>("GET", `groups/${segment(name)}`),
  createGroup: (name: string) => json<Group>("POST", `groups/${segment(name)}`),
  deleteGroup: (name: string) => call("DELETE", `groups/${segment(name)}`),
  addMembers: (group: string, users: string[]) =>
    json<Group>("POST", `groups/${segment(group)}/users`, { users }),
  removeMembers: (group: string, users: string[]) =>
    json<Group>("DELETE", `groups/${segment(group)}/users`, { users }),
  setProperties: (group: string, properties: Record<string, unknown>) =>
    json<Group>("PUT", `groups/${segment(group)}/properties`, properties),

  shutdown: () => call("POST", "shutdown"),
};
