/** What the parts of the admin page have in common: how they are shown, their messages, buttons and page numbers. */
import { ApiError } from "../api.ts";
import { make } from "../page.ts";
import { t } from "../words.ts";
import type { Part, Place } from "./place.ts";
import type { Rights } from "./rights.ts";
import { refine } from "./router.ts";

/** What every part is given. */
export interface Frame {
  /** Where it draws itself. */
  readonly root: HTMLElement;
  readonly rights: Rights;
  /** Name of whoever looks. */
  readonly me: string;
  /** Rows of a page where the address does not say otherwise. */
  readonly limit: number;
  /** Aborted when another part takes the place of this one. */
  readonly signal: AbortSignal;
}

/** A part of the admin page, drawn into its frame. */
export interface View {
  /** The arguments changed, the path did not. */
  update?(place: Place): void;
}

export function reasonOf(error: unknown): string {
  if (error instanceof ApiError && error.status > 0) return `${error.message} (${error.status})`;
  return error instanceof Error ? error.message : String(error);
}

/** A place for one message above the content; the newest counts. */
export class Notice {
  readonly root = make("div", { class: "admin-notice" });

  clear(): void {
    this.root.replaceChildren();
  }

  error(text: string): void {
    const close = make("button", { type: "button", class: "btn-close", "aria-label": t("Close") });
    close.addEventListener("click", () => this.clear());
    const alert = make("div", { class: "alert alert-danger alert-dismissible", role: "alert" }, text, close);
    this.root.replaceChildren(alert);
    alert.scrollIntoView({ block: "nearest" });
  }

  failed(what: string, error: unknown): void {
    this.error(`${what} ${reasonOf(error)}`);
  }
}

export interface ButtonOptions {
  class: string;
  id?: string;
  testId?: string;
  title?: string;
  type?: "button" | "submit";
}

export function button(label: string, options: ButtonOptions): HTMLButtonElement {
  const made = make("button", { type: options.type ?? "button", class: `btn ${options.class}` }, label);
  if (options.id) made.id = options.id;
  if (options.testId) made.dataset["testid"] = options.testId;
  if (options.title) made.title = options.title;
  return made;
}

/** Switches a button off for good and says why. */
export function forbid(made: HTMLButtonElement, allowed: boolean): HTMLButtonElement {
  if (allowed) return made;
  made.disabled = true;
  made.title = t("You do not have the permission for this.");
  return made;
}

/** Runs something once at a time; the button waits for it. */
export async function whileBusy(made: HTMLButtonElement, work: () => Promise<void>): Promise<void> {
  made.disabled = true;
  made.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    made.disabled = false;
    made.removeAttribute("aria-busy");
  }
}

export function link(label: string, href: string, className: string): HTMLAnchorElement {
  return make("a", { href, class: className }, label);
}

/** Title of a part, with its own links to the right. */
export function heading(title: string, ...tools: HTMLElement[]): HTMLElement {
  const h1 = make("h1", { class: "page-title mb-0", tabindex: "-1" }, title);
  return make("div", { class: "admin-head" }, h1, make("div", { class: "admin-tools" }, ...tools));
}

/** A card with a form and its buttons below. */
export function formCard(body: HTMLElement[], buttons: HTMLElement[]): HTMLElement {
  return make(
    "div",
    { class: "card" },
    make("div", { class: "card-body" }, ...body),
    make("div", { class: "card-footer admin-buttons" }, ...buttons),
  );
}

/** Which rows are shown, and the way to the others. */
export class Pager {
  readonly root = make("div", { class: "pagination-footer" });
  readonly #count = make("span", { role: "status" });
  readonly #previous = button(t("Previous"), { class: "btn-light btn-sm", testId: "paginate-prev" });
  readonly #next = button(t("Next"), { class: "btn-light btn-sm", testId: "paginate-next" });
  readonly #limit = make("input", {
    type: "number",
    class: "form-control form-control-sm",
    name: "pagination-limit",
    min: "1",
    max: "200",
    "aria-label": "pagination-limit",
  });
  #part: Part = { offset: 0, limit: 0 };

  constructor(usual: number) {
    this.root.append(
      make("p", {}, this.#count),
      make("div", { class: "pagination-buttons" }, this.#previous, this.#next),
      make("label", { class: "pagination-limit" }, t("Items per page:"), this.#limit),
    );
    const to = (offset: number): void => refine({ offset: offset > 0 ? String(offset) : "" });
    this.#previous.addEventListener("click", () => to(this.#part.offset - this.#part.limit));
    this.#next.addEventListener("click", () => to(this.#part.offset + this.#part.limit));
    this.#limit.addEventListener("change", () => {
      const wanted = Math.min(200, Math.max(1, Number.parseInt(this.#limit.value, 10) || usual));
      refine({ limit: wanted === usual ? "" : String(wanted), offset: "" });
    });
  }

  show(part: Part, visible: number, total: number): void {
    this.#part = part;
    const first = visible > 0 ? part.offset + 1 : part.offset;
    this.#count.textContent = t("Displaying {first}-{last} of {total}", {
      first,
      last: part.offset + visible,
      total,
    });
    this.#previous.disabled = part.offset < 1;
    this.#next.disabled = part.offset + part.limit >= total;
    if (document.activeElement !== this.#limit) this.#limit.value = String(part.limit);
  }
}

/** Runs `work` for all items, some at a time, and tells how far it is. */
export async function each<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  progress: (done: number) => void,
): Promise<unknown[]> {
  const AT_A_TIME = 6;
  const failures: unknown[] = [];
  let next = 0;
  let done = 0;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      try {
        await work(item);
      } catch (error) {
        failures.push(error);
      }
      done += 1;
      progress(done);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  return failures;
}

