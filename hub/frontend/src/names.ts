/** Names of servers: what a person types, and what becomes part of addresses. */

const LONGEST_SLUG = 63;

/** The name as shown: no control characters, no runs of space, none around it. */
export function displayName(typed: string): string {
  return typed
    .replace(/\p{Cc}/gu, "")
    .replace(/\s+/gu, " ")
    .trim();
}

/**
 * The name for addresses: lower-case ASCII letters and digits joined by single dashes. Letters with marks lose them,
 * everything else separates. A name of which nothing is left gets one made of its code points.
 */
export function slug(shown: string): string {
  const plain = shown
    .normalize("NFKD")
    .toLowerCase()
    .replace(/\p{M}/gu, "")
    .replace(/[^a-z0-9]+/g, "-");
  const cut = plain.replace(/^-+/, "").slice(0, LONGEST_SLUG).replace(/-+$/, "");
  if (cut !== "" || shown === "") return cut;
  const points = [...shown].map((character) => (character.codePointAt(0) ?? 0).toString(16)).join("-");
  return `s-${points}`.slice(0, LONGEST_SLUG).replace(/-+$/, "");
}

/** `slug`, with a number where another server already has that name. */
export function freeSlug(shown: string, taken: ReadonlySet<string>): string {
  const first = slug(shown);
  if (first === "" || !taken.has(first)) return first;
  for (let count = 2; ; count += 1) {
    const next = `${first.slice(0, LONGEST_SLUG - 4)}-${count}`;
    if (!taken.has(next)) return next;
  }
}
