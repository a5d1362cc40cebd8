/**
 * The table of users: a row for each server. Classes, test ids and the nesting of links and buttons are those of
 * JupyterHub's admin page, by which scripts find their way.
 */
import { hub, linkSegment, make } from "../page.ts";
import { timeElement } from "../times.ts";
import { t } from "../words.ts";
import { detailRow } from "./details.ts";
import { button, forbid, whileBusy } from "./frame.ts";
import type { Server, User } from "./rest.ts";
import type { Rights, Target } from "./rights.ts";
import { linkTo } from "./router.ts";
import { type State, rowKey, serversOf, stateOf } from "./state.ts";

/** What can be done to a server from its row; each shows its own failure. */
export interface Actions {
  start(user: User, server: Server): Promise<void>;
  stop(user: User, server: Server): Promise<void>;
  remove(user: User, server: Server): Promise<void>;
}

function stateWord(state: State): string {
  const words: Record<State, string> = {
    stopped: t("Stopped"),
    starting: t("Starting"),
    running: t("Running"),
    stopping: t("Stopping"),
    busy: t("Busy"),
  };
  return words[state];
}

/** A link that looks like a button and holds one, as scripts expect. The button is what keys and pointers reach. */
function buttonLink(label: string, href: string, className: string, allowed: boolean): HTMLAnchorElement {
  const inner = forbid(button(label, { class: `btn-xs ${className}` }), allowed);
  const anchor = make("a", { href, tabindex: "-1" }, inner);
  anchor.addEventListener("click", (event) => {
    // Not every browser follows a link around a button.
    event.preventDefault();
    if (inner.disabled) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) window.open(href, "_blank", "noopener");
    else window.location.assign(href);
  });
  return anchor;
}

function dateCell(date: string | null | undefined, testId: string, label: string): HTMLTableCellElement {
  const cell = make("td", { class: "time-col", "data-testid": testId, "data-label": label, role: "cell" });
  cell.append(date ? timeElement(date) : t("Never"));
  if (!date) cell.dataset["none"] = "";
  return cell;
}

/** A button: the test id of its row, and its place among the row's buttons. */
interface Focus {
  key: string;
  at: number;
}

function focusOf(element: Element | null): Focus | undefined {
  const row = element?.closest<HTMLElement>("tr");
  if (!row) return undefined;
  const at = [...row.querySelectorAll("button")].findIndex((found) => found === element);
  return { key: row.dataset["testid"] ?? "", at };
}

export class Rows {
  readonly body = make("tbody", { role: "rowgroup" });
  readonly #rights: Rights;
  readonly #actions: Actions;
  readonly #open = new Set<string>();
  /** The button that was pressed last: while it waits it is switched off, and loses the focus. */
  #pressed: Focus | undefined;

  constructor(rights: Rights, actions: Actions) {
    this.#rights = rights;
    this.#actions = actions;
  }

  /** Shows these users; what had the focus and what was open stays so. */
  show(users: readonly User[]): void {
    const focus = this.#focus();
    this.body.replaceChildren(...users.flatMap((user) => this.#ofUser(user)));
    this.#restore(focus);
  }

  /** Shows one user anew, where it already is. */
  replace(user: User): void {
    const old = [...this.body.querySelectorAll<HTMLElement>("tr")].filter(
      (row) => row.dataset["user"] === user.name,
    );
    const [first] = old;
    if (!first) return;
    const focus = this.#focus();
    first.before(...this.#ofUser(user));
    for (const row of old) row.remove();
    this.#restore(focus);
  }

  #focus(): Focus | undefined {
    const active = document.activeElement;
    if (active && active !== document.body) return this.body.contains(active) ? focusOf(active) : undefined;
    return this.#pressed;
  }

  #restore(focus: Focus | undefined): void {
    if (!focus) return;
    this.#pressed = undefined;
    const row = [...this.body.rows].find((found) => found.dataset["testid"] === focus.key);
    const buttons = row ? [...row.querySelectorAll("button")] : [];
    const usable = buttons[focus.at]?.disabled === false ? buttons[focus.at] : undefined;
    (usable ?? buttons.find((found) => !found.disabled))?.focus();
  }

  #ofUser(user: User): HTMLTableRowElement[] {
    const rows = serversOf(user).flatMap((server) => this.#ofServer(user, server));
    for (const row of rows) row.dataset["user"] = user.name;
    return rows;
  }

  #ofServer(user: User, server: Server): HTMLTableRowElement[] {
    const key = rowKey(user, server);
    const state = stateOf(server);
    const toggle = make("button", {
      type: "button",
      class: "btn btn-xs detail-toggle",
      "aria-controls": `${key}-card-group`,
      "aria-label": t("Details"),
      "data-testid": `${key}-collapse-button`,
    });
    const name = make(
      "td",
      { "data-testid": "user-row-name", role: "cell" },
      toggle,
      make("span", { id: `${key}-name`, class: "user-name", "data-testid": `user-name-div-${key}` }, user.name),
    );
    if (user.admin && server.name === "") {
      // Drawn by the style, so that the cell's text is the name and nothing else.
      const mark = { class: "admin-mark", role: "img", "aria-label": t("Administrator"), "data-word": t("Admin") };
      name.append(make("span", mark));
    }
    const profile = server.user_options?.["profile"];
    const row = make(
      "tr",
      { class: "user-row", "data-testid": `user-row-${key}`, "data-state": state, role: "row" },
      name,
      this.#serverCell(server, state),
      dateCell(server.last_activity, "user-row-last-activity", t("Last Activity")),
      dateCell(server.started, "user-row-server-start-time", t("Server Start Time")),
      make(
        "td",
        { "data-testid": "user-row-profile-used", "data-label": t("Profile"), role: "cell" },
        typeof profile === "string" ? profile : "",
      ),
      this.#actionCell(user, server, key),
    );
    if (server.name !== "") row.dataset["named"] = "";
    const rows = [row];
    const open = (on: boolean): void => {
      toggle.setAttribute("aria-expanded", String(on));
      if (!on) {
        this.#open.delete(key);
        return;
      }
      this.#open.add(key);
      const detail = detailRow(key, user, server);
      detail.dataset["user"] = user.name;
      if (row.isConnected) row.after(detail);
      else rows.push(detail);
    };
    toggle.addEventListener("click", () => {
      const detail = row.nextElementSibling;
      const shown = detail instanceof HTMLElement && detail.classList.contains("user-detail");
      if (shown) detail.remove();
      open(!shown);
    });
    open(this.#open.has(key));
    return rows;
  }

  #serverCell(server: Server, state: State): HTMLTableCellElement {
    const word = stateWord(state);
    const mark = make("span", { class: "state-mark", role: "img", "aria-label": word, title: word });
    const shown = server.display_name || server.name;
    const names = make("div", {}, mark);
    if (shown !== "") names.append(make("span", { class: "server-name" }, shown));
    if (shown !== server.name) names.append(make("div", { class: "server-slug" }, server.name));
    return make("td", { "data-testid": "user-row-server", "data-label": t("Server"), role: "cell" }, names);
  }

  #actionCell(user: User, server: Server, key: string): HTMLTableCellElement {
    const target: Target = { user: user.name, groups: user.groups, server: server.name };
    const may = (scope: string): boolean => this.#rights.may(scope, target);
    const path = `${linkSegment(user.name)}${server.name === "" ? "" : `/${linkSegment(server.name)}`}`;
    const acting = (label: string, className: string, allowed: boolean, work: () => Promise<void>) => {
      const made = forbid(button(label, { class: `btn-xs ${className}` }), allowed);
      if (allowed) {
        made.addEventListener("click", () => {
          this.#pressed = focusOf(made);
          void whileBusy(made, work);
        });
      }
      return made;
    };
    const content: HTMLElement[] = [];
    if (server.ready && server.pending === null) {
      const stop = (): Promise<void> => this.#actions.stop(user, server);
      content.push(
        acting(t("Stop Server"), "btn-outline-danger stop-button", may("delete:servers"), stop),
        buttonLink(t("Access Server"), server.url, "btn-primary", may("access:servers")),
      );
    } else if (server.pending !== null) {
      const waiting = button(t("Server is pending"), { class: "btn-xs btn-outline-secondary start-button" });
      waiting.disabled = true;
      content.push(waiting);
      if (server.pending === "spawn") {
        const cancel = (): Promise<void> => this.#actions.stop(user, server);
        content.push(
          acting(t("Cancel"), "btn-outline-danger cancel-button", may("delete:servers"), cancel),
          buttonLink(t("Spawn Page"), `${hub.base_url}spawn/${path}`, "btn-light", may("servers")),
        );
      }
    } else {
      const start = (): Promise<void> => this.#actions.start(user, server);
      content.push(acting(t("Start Server"), "btn-outline-success start-button", may("start:servers"), start));
      if (server.name !== "") {
        const remove = (): Promise<void> => this.#actions.remove(user, server);
        content.push(
          acting(t("Delete Server"), "btn-outline-danger stop-button", may("delete:servers"), remove),
        );
      }
      content.push(buttonLink(t("Spawn Page"), `${hub.base_url}spawn/${path}`, "btn-light", may("servers")));
    }
    if (server.name === "") {
      const allowed = may("admin:users") || may("delete:users");
      const edit = forbid(button(t("Edit User"), { class: "btn-xs btn-light edit-button" }), allowed);
      edit.addEventListener("click", () => {
        window.location.hash = linkTo("/edit-user", { name: user.name });
      });
      content.push(edit);
    }
    for (const element of content) {
      const named = element instanceof HTMLButtonElement ? element : element.querySelector("button");
      named?.setAttribute("aria-describedby", `${key}-name`);
    }
    return make(
      "td",
      { class: "actions", "data-testid": "user-row-server-activity", role: "cell" },
      ...content,
    );
  }
}
