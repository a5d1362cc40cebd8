/**
 * Where in the admin page one is: the part of the address after `#`, with the paths and arguments that JupyterHub's
 * admin page has (`#/?offset=50&sort=name`, `#/groups`), so that bookmarks lead to the same place.
 */
import type { Place } from "./place.ts";
import { parsePlace, placeText } from "./place.ts";

export function here(): Place {
  return parsePlace(window.location.hash, window.location.search);
}

/** Value for `href`. */
export function linkTo(path: string, query: Record<string, string> = {}): string {
  return placeText({ path, query: new URLSearchParams(query) });
}

/** Goes to another place; the page is redrawn by the event that this causes. */
export function go(place: Place): void {
  window.location.hash = placeText(place);
}

/** The same path with other arguments; an empty value removes one. */
export function refine(changes: Record<string, string>): void {
  const place = here();
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") place.query.delete(name);
    else place.query.set(name, value);
  }
  go(place);
}
