/** A place within the admin page, apart from the browser so that it can be tested. */
export interface Place {
  /** `/`, `/groups`, `/group-edit` and so on. */
  path: string;
  query: URLSearchParams;
}

/** Reads `#/path?query`. Without arguments there, those of the page itself count. */
export function parsePlace(hash: string, search: string): Place {
  const text = hash.replace(/^#/, "");
  const at = text.indexOf("?");
  const path = at < 0 ? text : text.slice(0, at);
  const query = new URLSearchParams(at < 0 ? search : text.slice(at + 1));
  return { path: path.startsWith("/") ? path : "/", query };
}

export function placeText({ path, query }: Place): string {
  const text = query.toString();
  return `#${path}${text === "" ? "" : `?${text}`}`;
}

/** Which part of a list is shown. */
export interface Part {
  offset: number;
  limit: number;
}

/** Most rows on a page, the hub's own limit; it answers with fewer where its limit is lower. */
const MOST = 200;

function whole(text: string | null): number | undefined {
  const value = Number.parseInt(text ?? "", 10);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}

export function partOf(query: URLSearchParams, usual: number): Part {
  const limit = whole(query.get("limit")) || usual;
  return { offset: whole(query.get("offset")) ?? 0, limit: Math.min(limit, MOST) };
}
