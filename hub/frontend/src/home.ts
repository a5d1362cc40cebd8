/** The control panel: the default server and the named ones, kept up to date without a reload. */
import { createServer, deleteServer, getUser, serverPath, stopServer, type ServerModel } from "./api.ts";
import { confirmAction, tellError } from "./dialogs.ts";
import { displayName, freeSlug } from "./names.ts";
import { announce, find, findAll, hub, linkSegment, make, pause, show } from "./page.ts";
import { attachRestart } from "./restart.ts";
import { timeElement } from "./times.ts";
import { t } from "./words.ts";

type State = "stopped" | "starting" | "running" | "stopping";

const WORDS: Record<State, string> = {
  stopped: t("Stopped"),
  starting: t("Starting"),
  running: t("Running"),
  stopping: t("Stopping"),
};
const POLL_PAUSE = 1500;
/** Longest pause between looks at the servers while the hub does not answer. */
const POLL_PAUSE_MAX = 30_000;

function stateOf(server: ServerModel | undefined): State {
  if (!server) return "stopped";
  if (server.pending === "stop") return "stopping";
  if (server.ready) return "running";
  return server.pending === null ? "stopped" : "starting";
}

/** What the page shows of one server; the part that the default server and table rows have in common. */
abstract class Card {
  readonly root: HTMLElement;
  readonly name: string;
  #state: State;

  constructor(root: HTMLElement, name: string) {
    this.root = root;
    this.name = name;
    const shown = root.dataset["state"];
    this.#state =
      shown === "starting" || shown === "running" || shown === "stopping" ? shown : "stopped";
    this.part(".stop-server")?.addEventListener("click", (event) => {
      event.preventDefault();
      void this.stop();
    });
  }

  get state(): State {
    return this.#state;
  }

  get moving(): boolean {
    return this.#state === "starting" || this.#state === "stopping";
  }

  /** What to call it in sentences. */
  abstract get label(): string;

  protected part(selector: string): HTMLElement | undefined {
    return find(HTMLElement, selector, this.root);
  }

  /** Shows a state; `server` carries the newest address and activity where the hub was asked. */
  update(state: State, server?: ServerModel): void {
    const changed = state !== this.#state;
    this.#state = state;
    this.root.dataset["state"] = state;
    const word = this.part(".server-state");
    if (word) word.textContent = WORDS[state];
    const seen = server?.last_activity;
    const cell = this.part(".time-col");
    if (seen && cell) cell.replaceChildren(timeElement(seen));
    const stop = this.part(".stop-server");
    show(stop, state === "running" || state === "starting");
    stop?.removeAttribute("disabled");
    show(this.part(".restart-server"), state === "running");
    if (changed) announce(`${this.label}: ${WORDS[state]}`);
  }

  async stop(): Promise<void> {
    const user = hub.user;
    if (user === undefined) return;
    const before = this.#state;
    this.update("stopping");
    try {
      await stopServer(serverPath(user, this.name));
      follow();
    } catch (error) {
      this.update(before);
      tellError(error);
    }
  }
}

class DefaultServer extends Card {
  override get label(): string {
    return t("Your server");
  }

  override update(state: State, server?: ServerModel): void {
    super.update(state, server);
    const start = document.getElementById("start");
    const user = hub.user;
    if (!start || user === undefined) return;
    const stopping = state === "stopping";
    start.classList.toggle("disabled", stopping);
    start.setAttribute("aria-disabled", String(stopping));
    start.textContent = state === "stopped" || stopping ? t("Start My Server") : t("My Server");
    start.title = stopping ? t("Your server is stopping") : "";
    if (state === "running" && server) start.setAttribute("href", server.url);
    else start.setAttribute("href", `${hub.base_url}spawn/${linkSegment(user)}`);
  }
}

class NamedServer extends Card {
  constructor(row: HTMLElement) {
    super(row, row.dataset["serverName"] ?? "");
    this.part(".delete-server")?.addEventListener("click", () => void this.remove());
  }

  override get label(): string {
    return this.part(".server-name")?.textContent?.trim() || this.name;
  }

  override update(state: State, server?: ServerModel): void {
    super.update(state, server);
    show(this.part(".start-server"), state === "stopped");
    show(this.part(".delete-server"), state === "stopped");
    show(this.part(".server-link"), state === "running");
    show(this.part(".progress-link"), state === "starting");
    if (server) this.part(".server-link")?.setAttribute("href", server.url);
  }

  async remove(): Promise<void> {
    const user = hub.user;
    if (user === undefined) return;
    const label = this.label;
    const agreed = await confirmAction(
      t("Delete “{name}”?", { name: label }),
      t("The server and its settings are removed. What happens to its files depends on where they are stored."),
      t("Delete"),
    );
    if (!agreed) return;
    try {
      await deleteServer(user, this.name);
    } catch (error) {
      tellError(error);
      return;
    }
    this.root.remove();
    cards.delete(this.name);
    announce(t("{name}: deleted", { name: label }));
    document.querySelector<HTMLElement>(".new-server-name")?.focus();
  }
}

const cards = new Map<string, Card>();

function track(card: Card): void {
  cards.set(card.name, card);
}

let following = false;

/** Looks at the servers until none of them is on its way any more. */
function follow(): void {
  if (following) return;
  following = true;
  void (async () => {
    let wait = POLL_PAUSE;
    while ([...cards.values()].some((card) => card.moving)) {
      await pause(wait);
      wait = (await refresh()) ? POLL_PAUSE : Math.min(wait * 2, POLL_PAUSE_MAX);
    }
    following = false;
  })();
}

/** Asks the hub once; false when it did not answer. */
async function refresh(): Promise<boolean> {
  if (hub.user === undefined) return false;
  try {
    const { servers } = await getUser(hub.user);
    if (!servers) return true;
    for (const card of cards.values()) card.update(stateOf(servers[card.name]), servers[card.name]);
    return true;
  } catch {
    return false;
  }
}

/** What a button of a row does, in words. */
function labelOf(action: string, name: string): string {
  switch (action) {
    case "start":
      return t("start {name}", { name });
    case "stop":
      return t("stop {name}", { name });
    case "restart":
      return t("restart {name}", { name });
    default:
      return t("delete {name}", { name });
  }
}

/** The row for a server that was just made; nothing when the page has no pattern for it. */
function newRow(name: string, shown: string): HTMLTableRowElement | undefined {
  const pattern = find(HTMLTemplateElement, "#server-row-template");
  const row = pattern && find(HTMLTableRowElement, "tr", pattern.content.cloneNode(true) as DocumentFragment);
  if (!row || hub.user === undefined) return undefined;
  row.dataset["serverName"] = name;
  const label = row.querySelector(".server-name");
  label?.replaceChildren(shown);
  if (shown !== name) label?.after(make("div", { class: "server-slug" }, name));
  const path = `${linkSegment(hub.user)}/${linkSegment(name)}`;
  row.querySelector(".start-server")?.setAttribute("href", `${hub.base_url}spawn/${path}`);
  row.querySelector(".progress-link")?.setAttribute("href", `${hub.base_url}spawn-pending/${path}`);
  row.querySelector(".server-link")?.setAttribute("href", `${hub.prefix}user/${path}/`);
  for (const action of ["start", "stop", "restart", "delete"]) {
    const button = find(HTMLElement, `.${action}-server`, row);
    if (!button) continue;
    button.id = `${action}-${name}`;
    button.setAttribute("aria-label", labelOf(action, shown));
    button.dataset["serverName"] = name;
    button.dataset["serverUrl"] = `${hub.prefix}user/${path}/`;
  }
  return row;
}

async function addServer(row: HTMLElement): Promise<void> {
  const input = find(HTMLInputElement, ".new-server-name", row);
  const button = find(HTMLButtonElement, ".new-server-btn", row);
  const user = hub.user;
  if (!input || user === undefined || button?.disabled) return;
  const shown = displayName(input.value);
  const name = freeSlug(shown, new Set(cards.keys()));
  if (name === "") {
    input.setCustomValidity(t("Give the server a name."));
    input.reportValidity();
    return;
  }
  if (button) button.disabled = true;
  try {
    await createServer(user, name, shown);
  } catch (error) {
    tellError(error);
    return;
  } finally {
    if (button) button.disabled = false;
  }
  const added = newRow(name, shown);
  if (!added) {
    window.location.reload();
    return;
  }
  input.value = "";
  row.after(added);
  const card = new NamedServer(added);
  track(card);
  card.update("stopped");
  attachRestart(added);
  announce(t("{name}: added", { name: shown }));
  find(HTMLElement, ".start-server", added)?.focus();
}

export function attachHome(): void {
  const own = find(HTMLElement, ".default-server");
  if (own) track(new DefaultServer(own, ""));
  for (const row of findAll(HTMLElement, ".home-server-row[data-server-name]")) track(new NamedServer(row));
  const add = find(HTMLElement, ".add-server-row");
  if (add) {
    const input = find(HTMLInputElement, ".new-server-name", add);
    input?.addEventListener("input", () => input.setCustomValidity(""));
    input?.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      void addServer(add);
    });
    add.querySelector(".new-server-btn")?.addEventListener("click", () => void addServer(add));
  }
  if (cards.size === 0) return;
  follow();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void refresh().then(follow);
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) void refresh().then(follow);
  });
}
