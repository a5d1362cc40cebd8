/** The list of users with their servers. */
import { confirmAction } from "../dialogs.ts";
import { announce, make, pause } from "../page.ts";
import { t } from "../words.ts";
import { type Frame, Notice, Pager, type View, button, each, forbid, heading, link, whileBusy } from "./frame.ts";
import { type Place, partOf } from "./place.ts";
import { type Server, type User, rest } from "./rest.ts";
import { here, linkTo, refine } from "./router.ts";
import { Rows } from "./rows.ts";
import { isActive, serversOf } from "./state.ts";

/** Pause after the last key before the search starts, in milliseconds. */
const TYPING = 300;
/** Pause between looks at servers on their way; it grows while the hub does not answer. */
const LOOK_AGAIN = 2000;
const LOOK_AGAIN_LONGEST = 30_000;

/** Filters and order, by the names of the API, which are those of the address as well. */
function filtersOf({ query }: Place): Record<string, string> {
  const value = (name: string): string => query.get(name) ?? "";
  return { name_filter: value("name_filter"), sort: value("sort") || "id", state: value("state") };
}

/** A column header by which the list can be sorted: upwards at the first click, then downwards. */
class SortHeader {
  readonly root: HTMLTableCellElement;
  readonly #key: string;

  constructor(id: string, label: string, key: string, testId: string) {
    this.#key = key;
    const sort = make("button", { type: "button", class: "sort-icon", "data-testid": testId }, label);
    sort.addEventListener("click", () => {
      const now = here().query.get("sort");
      refine({ sort: now === key ? `-${key}` : key, offset: "" });
    });
    this.root = make("th", { id, scope: "col", role: "columnheader" }, sort);
  }

  show(sort: string): void {
    const order = sort === this.#key ? "ascending" : sort === `-${this.#key}` ? "descending" : "none";
    this.root.setAttribute("aria-sort", order);
  }
}

class Users implements View {
  readonly #frame: Frame;
  readonly #notice = new Notice();
  readonly #rows: Rows;
  readonly #pager: Pager;
  readonly #search = make("input", {
    type: "search",
    class: "form-control",
    name: "user_search",
    placeholder: t("Search Users"),
    "aria-label": "user-search",
    autocomplete: "off",
    spellcheck: "false",
  });
  readonly #active = make("input", {
    type: "checkbox",
    class: "form-check-input",
    name: "active_servers",
    id: "active-servers-filter",
  });
  readonly #otherState = make("span", { class: "admin-filter hidden" });
  readonly #bulkStatus = make("span", { class: "section-note", role: "status" });
  readonly #empty = make("p", { class: "admin-empty hidden" }, t("Nobody matches."));
  readonly #headers = [
    new SortHeader("user-header", t("User"), "name", "user-sort"),
    new SortHeader("last-activity-header", t("Last Activity"), "last_activity", "last-activity-sort"),
  ] as const;
  readonly #startAll: HTMLButtonElement;
  readonly #stopAll: HTMLButtonElement;
  #users: User[] = [];
  /** Counts what was asked for; an answer to anything but the newest question is too late. */
  #asked = 0;
  #following = false;
  #bulk = false;

  constructor(frame: Frame, place: Place) {
    this.#frame = frame;
    const { rights } = frame;
    this.#rows = new Rows(rights, {
      start: (user, server) => this.#act(user, t("Failed to start server."), () => rest.startServer(user.name, server.name)),
      stop: (user, server) => this.#act(user, t("Failed to stop server."), () => rest.stopServer(user.name, server.name)),
      remove: (user, server) => this.#remove(user, server),
    });
    this.#pager = new Pager(frame.limit);
    this.#startAll = button(t("Start All"), {
      class: "btn-outline-secondary start-all",
      testId: "start-all",
      title: t("Start all default servers on the current page"),
    });
    forbid(this.#startAll, rights.mayAny("start:servers"));
    this.#startAll.addEventListener("click", () => void this.#start());
    this.#stopAll = button(t("Stop All"), {
      class: "btn-outline-danger stop-all",
      testId: "stop-all",
      title: t("Stop all servers including named servers on the current page"),
    });
    forbid(this.#stopAll, rights.mayAny("delete:servers"));
    this.#stopAll.addEventListener("click", () => void this.#stop());
    this.#draw();
    this.update(place);
    document.addEventListener("visibilitychange", () => this.#seen(), { signal: frame.signal });
  }

  #draw(): void {
    const { rights, root } = this.#frame;
    const shutdown = forbid(
      button(t("Shutdown Hub"), { class: "btn-outline-danger", id: "shutdown-button" }),
      rights.may("shutdown"),
    );
    shutdown.addEventListener("click", () => void this.#shutdown(shutdown));
    const groups = link(t("Manage Groups"), linkTo("/groups"), "btn btn-light");
    groups.setAttribute("role", "button");
    const add = link(t("Add Users"), linkTo("/add-users"), "btn btn-primary add-users-button");
    add.setAttribute("role", "button");
    if (!rights.may("admin:users")) {
      add.classList.add("disabled");
      add.setAttribute("aria-disabled", "true");
      add.removeAttribute("href");
    }
    const [byName, byActivity] = this.#headers;
    const column = (id: string, label: string) => make("th", { id, scope: "col", role: "columnheader" }, label);
    const table = make(
      "table",
      { class: "table stacked-table admin-table", role: "table" },
      make(
        "thead",
        { class: "admin-table-head", role: "rowgroup" },
        make(
          "tr",
          { role: "row" },
          byName.root,
          column("server-header", t("Server")),
          byActivity.root,
          column("server-start-time-header", t("Server Start Time")),
          column("profile-used-header", t("Profile")),
          column("actions-header", t("Actions")),
        ),
      ),
      this.#rows.body,
    );
    root.replaceChildren(
      make(
        "div",
        { class: "container container-wide server-dashboard-container", "data-testid": "container" },
        heading(t("Users"), groups, add, shutdown),
        this.#notice.root,
        make(
          "div",
          { class: "admin-bar" },
          make("div", { class: "admin-search", role: "search" }, this.#search),
          make(
            "div",
            { class: "form-check", title: t("check to only show running servers, otherwise show all") },
            this.#active,
            make("label", { class: "form-check-label", for: this.#active.id }, t("Only Active Servers")),
          ),
          this.#otherState,
          make("div", { class: "admin-bulk" }, this.#bulkStatus, this.#startAll, this.#stopAll),
        ),
        make("div", { class: "card table-card" }, table, this.#empty),
        this.#pager.root,
      ),
    );
    let typing = 0;
    this.#search.addEventListener("input", () => {
      window.clearTimeout(typing);
      typing = window.setTimeout(() => refine({ name_filter: this.#search.value, offset: "" }), TYPING);
    });
    this.#active.addEventListener("change", () =>
      refine({ state: this.#active.checked ? "active" : "", offset: "" }),
    );
  }

  update(place: Place): void {
    const { name_filter = "", sort = "", state = "" } = filtersOf(place);
    if (document.activeElement !== this.#search) this.#search.value = name_filter;
    this.#active.checked = state === "active";
    for (const header of this.#headers) header.show(sort);
    // Other states have no control of their own, but links may ask for them.
    const other = state !== "" && state !== "active";
    this.#otherState.classList.toggle("hidden", !other);
    if (other) {
      const all = button(t("Show all"), { class: "btn-xs btn-light" });
      all.addEventListener("click", () => refine({ state: "", offset: "" }));
      this.#otherState.replaceChildren(t("Only: {state}", { state }), " ", all);
    }
    void this.#load();
  }

  /** Asks for the list anew; false when that failed. */
  async #load(): Promise<boolean> {
    this.#asked += 1;
    const question = this.#asked;
    const place = here();
    const part = partOf(place.query, this.#frame.limit);
    try {
      const { items, _pagination: page } = await rest.users(part, filtersOf(place));
      if (question !== this.#asked || this.#frame.signal.aborted) return true;
      if (page.offset > 0 && page.total <= page.offset) {
        refine({ offset: "" });
        return true;
      }
      this.#users = items;
      this.#rows.show(items);
      this.#empty.classList.toggle("hidden", items.length > 0);
      this.#pager.show(page, items.length, page.total);
      void this.#follow();
      return true;
    } catch (error) {
      if (question === this.#asked && !this.#frame.signal.aborted) {
        this.#notice.failed(t("Failed to update user list."), error);
      }
      return false;
    }
  }

  #seen(): void {
    if (document.visibilityState === "visible" && !this.#bulk) void this.#load();
  }

  /** Looks again while any server is on its way. */
  async #follow(): Promise<void> {
    if (this.#following) return;
    this.#following = true;
    let wait = LOOK_AGAIN;
    const moving = (): boolean =>
      this.#users.some((user) => serversOf(user).some((server) => server.pending !== null));
    while (moving() && !this.#frame.signal.aborted) {
      await pause(wait);
      if (this.#bulk || document.visibilityState === "hidden") continue;
      if (this.#frame.signal.aborted) break;
      wait = (await this.#load()) ? LOOK_AGAIN : Math.min(wait * 2, LOOK_AGAIN_LONGEST);
    }
    this.#following = false;
  }

  /** Shows one user as the hub knows it now. */
  async #refresh(name: string): Promise<void> {
    const user = await rest.user(name);
    this.#users = this.#users.map((known) => (known.name === name ? user : known));
    if (!this.#frame.signal.aborted) this.#rows.replace(user);
    void this.#follow();
  }

  async #act(user: User, failure: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      this.#notice.clear();
    } catch (error) {
      this.#notice.failed(failure, error);
    }
    await this.#refresh(user.name).catch(() => this.#load());
  }

  async #remove(user: User, server: Server): Promise<void> {
    const agreed = await confirmAction(
      t("Delete “{name}” of {user}?", { name: server.display_name || server.name, user: user.name }),
      t("The server and its settings are removed. What happens to its files depends on where they are stored."),
      t("Delete"),
    );
    if (!agreed) return;
    await this.#act(user, t("Failed to delete server."), () => rest.deleteServer(user.name, server.name));
  }

  async #start(): Promise<void> {
    const { rights } = this.#frame;
    const jobs = this.#users.flatMap((user) => {
      const [own] = serversOf(user);
      const target = { user: user.name, groups: user.groups, server: "" };
      return own && !isActive(own) && rights.may("start:servers", target) ? [{ user: user.name, server: "" }] : [];
    });
    await this.#all(this.#startAll, jobs, t("Starting {done} of {all}"), t("Failed to start servers."), rest.startServer);
  }

  async #stop(): Promise<void> {
    const { rights } = this.#frame;
    const jobs = this.#users.flatMap((user) =>
      serversOf(user)
        .filter((server) => isActive(server) && server.pending !== "stop")
        .filter((server) =>
          rights.may("delete:servers", { user: user.name, groups: user.groups, server: server.name }),
        )
        .map((server) => ({ user: user.name, server: server.name })),
    );
    await this.#all(this.#stopAll, jobs, t("Stopping {done} of {all}"), t("Failed to stop servers."), rest.stopServer);
  }

  async #all(
    pressed: HTMLButtonElement,
    jobs: { user: string; server: string }[],
    progress: string,
    failure: string,
    work: (user: string, server: string) => Promise<unknown>,
  ): Promise<void> {
    if (this.#bulk) return;
    this.#bulk = true;
    const tell = (done: number): void => {
      this.#bulkStatus.textContent = progress.replace("{done}", String(done)).replace("{all}", String(jobs.length));
    };
    try {
      await whileBusy(pressed, async () => {
        tell(0);
        const failures = await each(
          jobs,
          async ({ user, server }) => {
            await work(user, server);
            await this.#refresh(user);
          },
          tell,
        );
        const [first] = failures;
        if (first === undefined) this.#notice.clear();
        else this.#notice.failed(`${failure} (${failures.length})`, first);
      });
    } finally {
      this.#bulk = false;
      this.#bulkStatus.textContent = "";
      await this.#load();
    }
  }

  async #shutdown(pressed: HTMLButtonElement): Promise<void> {
    const agreed = await confirmAction(
      t("Shut down the hub?"),
      t("Nobody can log in or start a server until it is started again. Whether servers stop with it is a matter of its configuration."),
      t("Shut down"),
    );
    if (!agreed) return;
    await whileBusy(pressed, async () => {
      try {
        await rest.shutdown();
        announce(t("The hub is shutting down."));
        this.#bulkStatus.textContent = t("The hub is shutting down.");
      } catch (error) {
        this.#notice.failed(t("Failed to shut down the hub."), error);
      }
    });
  }
}

export function showUsers(frame: Frame, place: Place): View {
  return new Users(frame, place);
}
