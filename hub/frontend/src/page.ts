/** What the page tells its scripts: `window.jhdata`, written by page.html. */
export interface HubData {
  base_url: string;
  prefix: string;
  user?: string;
  admin_access?: boolean;
  options_form?: boolean;
  xsrf_token: string;
}

declare global {
  interface Window {
    jhdata?: HubData;
    /** Set when all scripts have run, for those who drive the page from outside. */
    _jupyterhub_page_loaded?: boolean;
  }
}

const NOTHING: HubData = { base_url: "/hub/", prefix: "/", xsrf_token: "" };

export const hub: HubData = window.jhdata ?? NOTHING;

/** The first element that matches, if there is one of that kind. */
export function find<T extends Element>(
  kind: new () => T,
  selector: string,
  within: ParentNode = document,
): T | undefined {
  const found = within.querySelector(selector);
  return found instanceof kind ? found : undefined;
}

export function findAll<T extends Element>(
  kind: new () => T,
  selector: string,
  within: ParentNode = document,
): T[] {
  return [...within.querySelectorAll(selector)].filter((found): found is T => found instanceof kind);
}

/** A new element with text, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Percent-encodes one path segment the way the hub writes names: `@` and `~` stay. */
export function segment(name: string): string {
  return encodeURIComponent(name)
    .replace(/%40/g, "@")
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * One path segment for links that a person follows: only what would end or split the segment is encoded here, the
 * browser encodes the rest in its own way.
 */
export function linkSegment(name: string): string {
  return name.replace(/[%#?/\\\s]/g, encodeURIComponent);
}

export function show(element: Element | undefined | null, visible: boolean): void {
  element?.classList.toggle("hidden", !visible);
}

/** Says something to screen readers; what is seen is said elsewhere on the page. */
export function announce(message: string): void {
  const region = document.getElementById("page-status");
  if (region) region.textContent = message;
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => window.setTimeout(done, milliseconds));
}
