/** The hub's REST API as the pages use it: cookie and XSRF token, JSON both ways. */
import { hub, segment } from "./page.ts";
import { t } from "./words.ts";

export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** A server as `GET users/{name}` lists it. */
export interface ServerModel {
  name: string;
  ready: boolean;
  stopped?: boolean;
  pending: string | null;
  url: string;
  last_activity: string | null;
  display_name?: string | null;
}

export interface UserModel {
  name: string;
  servers?: Record<string, ServerModel>;
}

export interface TokenModel {
  id: string;
  token: string;
}

/**
 * The token to send. The cookie comes first: the hub may have renewed it through another tab after this page was
 * made, and only the newest value counts.
 */
export function xsrfToken(): string {
  for (const pair of document.cookie.split(";")) {
    const at = pair.indexOf("=");
    if (at > 0 && pair.slice(0, at).trim() === "_xsrf") return pair.slice(at + 1).trim();
  }
  return hub.xsrf_token;
}

async function errorOf(response: Response): Promise<ApiError> {
  let message = response.statusText;
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null && "message" in body && typeof body.message === "string") {
      message = body.message;
    }
  } catch {
    // A proxy on the way may answer with something that is not JSON; its status still says enough.
  }
  return new ApiError(response.status, message);
}

/** One request; `path` is below `/hub/api/`. Anything but success is an `ApiError`. */
export async function call(
  method: string,
  path: string,
  body?: unknown,
  accept = "application/json",
): Promise<Response> {
  const headers: Record<string, string> = { Accept: accept, "X-XSRFToken": xsrfToken() };
  const request: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(`${hub.base_url}api/${path}`, request);
  } catch {
    throw new ApiError(0, t("The hub cannot be reached. Check your connection and try again."));
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** Path of a server; the default server has a path of its own. */
export function serverPath(user: string, server: string): string {
  return server === "" ? `users/${segment(user)}/server` : `users/${segment(user)}/servers/${segment(server)}`;
}

export async function getUser(user: string): Promise<UserModel> {
  const response = await call("GET", `users/${segment(user)}?include_stopped_servers=1`);
  return (await response.json()) as UserModel;
}

export async function createServer(user: string, server: string, displayName: string): Promise<void> {
  await call("PUT", serverPath(user, server), { display_name: displayName });
}

export async function stopServer(path: string): Promise<void> {
  await call("DELETE", path);
}

export async function deleteServer(user: string, server: string): Promise<void> {
  await call("DELETE", serverPath(user, server), { remove: true });
}

/** Stops and starts again with the same options: an addition of this hub to the API. */
export async function restartServer(user: string, server: string): Promise<void> {
  // The page that follows shows how far it is: there is nothing to wait for here.
  await call("POST", `${serverPath(user, server)}/restart?wait=ready&timeout=0`);
}

export interface TokenRequest {
  note: string;
  expires_in: number | null;
  scopes?: string[];
}

export async function requestToken(user: string, request: TokenRequest): Promise<TokenModel> {
  const response = await call("POST", `users/${segment(user)}/tokens`, request);
  return (await response.json()) as TokenModel;
}

export async function revokeToken(user: string, id: string): Promise<void> {
  await call("DELETE", `users/${segment(user)}/tokens/${segment(id)}`);
}

/** Logins are an addition of this hub to the API. */
export async function endSession(id: string): Promise<void> {
  await call("DELETE", `sessions/${segment(id)}`);
}

export async function endAllSessions(user: string, others: boolean): Promise<void> {
  const query = new URLSearchParams({ user });
  if (others) query.set("others", "true");
  await call("DELETE", `sessions?${query}`);
}
