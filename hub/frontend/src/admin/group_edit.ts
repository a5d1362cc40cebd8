/** Members and properties of one group. */
import { confirmAction } from "../dialogs.ts";
import { announce, make } from "../page.ts";
import { t } from "../words.ts";
import { type Frame, Notice, type View, button, forbid, heading, link, whileBusy } from "./frame.ts";
import { groupOf } from "./groups.ts";
import { Members } from "./members.ts";
import type { Place } from "./place.ts";
import { Properties, PropertyError } from "./properties.ts";
import { type Group, rest } from "./rest.ts";
import { linkTo } from "./router.ts";

function backButton(): HTMLAnchorElement {
  const back = link(t("Back"), linkTo("/groups"), "btn btn-light");
  back.id = "return";
  back.setAttribute("role", "button");
  return back;
}

class GroupEdit {
  readonly #frame: Frame;
  readonly #group: Group;
  readonly #notice = new Notice();
  readonly #members: Members;
  readonly #properties: Properties;

  constructor(frame: Frame, group: Group) {
    this.#frame = frame;
    this.#group = group;
    const { rights } = frame;
    const target = { group: group.name };
    const editable = rights.may("groups", target);
    this.#members = new Members(group.users ?? [], editable, rights.mayAny("list:users"));
    this.#properties = new Properties(group.properties ?? {}, editable);
    const apply = button(t("Apply"), { class: "btn-primary", id: "submit", testId: "submit", type: "submit" });
    forbid(apply, editable);
    const remove = button(t("Delete Group"), {
      class: "btn-outline-danger ms-auto",
      id: "delete-group",
      testId: "delete-group",
    });
    forbid(remove, rights.may("delete:groups", target));
    const form = make(
      "form",
      { novalidate: "" },
      make(
        "div",
        { class: "card" },
        make("div", { class: "card-header" }, make("h2", { class: "mb-0" }, t("Manage group members"))),
        make("div", { class: "card-body" }, this.#members.root),
      ),
      make(
        "div",
        { class: "card" },
        make("div", { class: "card-header" }, make("h2", { class: "mb-0" }, t("Manage group properties"))),
        make("div", { class: "card-body" }, this.#properties.root),
        make("div", { class: "card-footer admin-buttons" }, backButton(), apply, remove),
      ),
    );
    frame.root.replaceChildren(
      make(
        "div",
        { class: "container", "data-testid": "container" },
        heading(t("Editing Group {name}", { name: group.name })),
        this.#notice.root,
        form,
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void whileBusy(apply, () => this.#apply());
    });
    remove.addEventListener("click", () => void this.#remove(remove));
  }

  async #apply(): Promise<void> {
    const { name } = this.#group;
    try {
      const properties = this.#properties.read();
      const { added, removed } = this.#members;
      if (added.length > 0) await rest.addMembers(name, added);
      if (removed.length > 0) await rest.removeMembers(name, removed);
      if (JSON.stringify(properties) !== JSON.stringify(this.#group.properties ?? {})) {
        await rest.setProperties(name, properties);
      }
      // Drawn again from what the hub says now.
      const group = await rest.group(name);
      if (this.#frame.signal.aborted) return;
      new GroupEdit(this.#frame, group).#saved();
    } catch (error) {
      if (error instanceof PropertyError) this.#notice.error(error.message);
      else this.#notice.failed(t("Failed to edit group."), error);
    }
  }

  #saved(): void {
    const text = t("Saved.");
    this.#notice.root.replaceChildren(make("div", { class: "alert alert-success", role: "status" }, text));
    document.getElementById("submit")?.focus();
  }

  async #remove(pressed: HTMLButtonElement): Promise<void> {
    const { name } = this.#group;
    const agreed = await confirmAction(
      t("Delete the group “{name}”?", { name }),
      t("Its members stay, but lose what they may do because of it."),
      t("Delete"),
    );
    if (!agreed) return;
    await whileBusy(pressed, async () => {
      try {
        await rest.deleteGroup(name);
        announce(t("{name}: deleted", { name }));
        if (!this.#frame.signal.aborted) window.location.hash = linkTo("/groups");
      } catch (error) {
        this.#notice.failed(t("Failed to delete group."), error);
      }
    });
  }
}

export function showGroupEdit(frame: Frame, place: Place): View {
  const name = groupOf(place);
  if (name === undefined) {
    window.location.hash = linkTo("/groups");
    return {};
  }
  rest
    .group(name)
    .then((group) => {
      if (!frame.signal.aborted) new GroupEdit(frame, group);
    })
    .catch((error: unknown) => {
      if (frame.signal.aborted) return;
      const notice = new Notice();
      const title = heading(t("Editing Group {name}", { name }));
      frame.root.replaceChildren(make("div", { class: "container" }, title, notice.root, backButton()));
      notice.failed(t("Failed to load the group."), error);
    });
  return {};
}
