/** The list of groups, and making a new one. */
import { ApiError } from "../api.ts";
import { make } from "../page.ts";
import { t } from "../words.ts";
import { type Frame, Notice, Pager, type View, button, forbid, formCard, heading, link, whileBusy } from "./frame.ts";
import { type Place, partOf } from "./place.ts";
import { type Group, rest } from "./rest.ts";
import { here, linkTo, refine } from "./router.ts";

function item(group: Group): HTMLElement {
  const count = group.users?.length;
  const members = count === undefined ? "" : count === 1 ? t("{count} user", { count }) : t("{count} users", { count });
  return make(
    "li",
    { class: "list-group-item" },
    link(group.name, linkTo("/group-edit", { name: group.name }), "group-link"),
    make("span", { class: "badge rounded-pill" }, members),
  );
}

class Groups implements View {
  readonly #frame: Frame;
  readonly #notice = new Notice();
  readonly #list = make("ul", { class: "list-group list-group-flush admin-groups" });
  readonly #pager: Pager;
  #asked = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
    this.#pager = new Pager(frame.limit);
    const back = link(t("Back"), linkTo("/"), "btn btn-light");
    back.id = "return";
    back.setAttribute("role", "button");
    const fresh = link(t("New Group"), linkTo("/create-group"), "btn btn-primary");
    fresh.setAttribute("role", "button");
    if (!frame.rights.may("admin:groups")) {
      fresh.classList.add("disabled");
      fresh.setAttribute("aria-disabled", "true");
      fresh.removeAttribute("href");
    }
    frame.root.replaceChildren(
      make(
        "div",
        { class: "container", "data-testid": "container" },
        heading(t("Groups"), back, fresh),
        this.#notice.root,
        make("div", { class: "card table-card" }, this.#list),
        this.#pager.root,
      ),
    );
    this.update();
  }

  update(): void {
    void this.#load();
  }

  async #load(): Promise<void> {
    this.#asked += 1;
    const question = this.#asked;
    try {
      const { items, _pagination: page } = await rest.groups(partOf(here().query, this.#frame.limit));
      if (question !== this.#asked || this.#frame.signal.aborted) return;
      if (page.offset > 0 && page.total <= page.offset) {
        refine({ offset: "" });
        return;
      }
      const none = make("li", { class: "list-group-item text-body-secondary" }, t("There are no groups yet."));
      this.#list.replaceChildren(...(items.length > 0 ? items.map(item) : [none]));
      this.#pager.show(page, items.length, page.total);
    } catch (error) {
      if (question === this.#asked && !this.#frame.signal.aborted) {
        this.#notice.failed(t("Failed to update group list."), error);
      }
    }
  }
}

export function showGroups(frame: Frame): View {
  return new Groups(frame);
}

export function showCreateGroup(frame: Frame): View {
  const notice = new Notice();
  const name = make("input", {
    type: "text",
    class: "form-control group-name-input",
    id: "group-name",
    "data-testid": "group-input",
    placeholder: t("group name..."),
    maxlength: "255",
    autocapitalize: "off",
    autocomplete: "off",
    spellcheck: "false",
  });
  const back = link(t("Back"), linkTo("/groups"), "btn btn-light");
  back.id = "return";
  back.setAttribute("role", "button");
  const submit = button(t("Create"), { class: "btn-primary", id: "submit", testId: "submit", type: "submit" });
  forbid(submit, frame.rights.may("admin:groups"));
  const label = make("label", { class: "form-label", for: name.id }, t("Name"));
  const form = make("form", { novalidate: "" }, formCard([label, name], [back, submit]));
  frame.root.replaceChildren(
    make("div", { class: "container", "data-testid": "container" }, heading(t("Create Group")), notice.root, form),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    if (wanted === "") {
      notice.error(t("Give the group a name."));
      name.focus();
      return;
    }
    void whileBusy(submit, async () => {
      try {
        await rest.createGroup(wanted);
        if (!frame.signal.aborted) window.location.hash = linkTo("/groups");
      } catch (error) {
        const exists = error instanceof ApiError && error.status === 409;
        notice.failed(exists ? t("Group already exists.") : t("Failed to create group."), error);
      }
    });
  });
  name.focus();
  return {};
}

/** Leaves for the list where the address names no group. */
export function groupOf(place: Place): string | undefined {
  return place.query.get("name") || undefined;
}
