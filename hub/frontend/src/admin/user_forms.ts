/** Adding users, and changing or deleting one. */
import { ApiError } from "../api.ts";
import { confirmAction } from "../dialogs.ts";
import { announce, make } from "../page.ts";
import { t } from "../words.ts";
import { type Frame, Notice, type View, button, forbid, formCard, heading, link, whileBusy } from "./frame.ts";
import type { Place } from "./place.ts";
import { rest } from "./rest.ts";
import { linkTo } from "./router.ts";

function adminCheck(frame: Frame, checked: boolean): { box: HTMLInputElement; row: HTMLElement } {
  const box = make("input", {
    type: "checkbox",
    class: "form-check-input",
    id: "admin-check",
    "data-testid": "check",
  });
  box.checked = checked;
  if (!frame.rights.admin) {
    box.disabled = true;
    box.title = t("Only administrators may decide who is one.");
  }
  const label = make("label", { class: "form-check-label", for: "admin-check" }, t("Admin"));
  return { box, row: make("div", { class: "form-check mt-3" }, box, label) };
}

function backTo(path: string): HTMLAnchorElement {
  const back = link(t("Back"), linkTo(path), "btn btn-light");
  back.id = "return";
  back.setAttribute("role", "button");
  return back;
}

/** Goes to another part, unless the person has gone elsewhere already. */
function leave(frame: Frame, path: string): void {
  if (!frame.signal.aborted) window.location.hash = linkTo(path);
}

/** Draws a form of one card; submitting runs `work`, which says whether it succeeded. */
function draw(frame: Frame, title: string, notice: Notice, body: HTMLElement[], buttons: HTMLElement[]): HTMLFormElement {
  const form = make("form", { novalidate: "" }, formCard(body, buttons));
  frame.root.replaceChildren(
    make("div", { class: "container", "data-testid": "container" }, heading(title), notice.root, form),
  );
  return form;
}

export function showAddUsers(frame: Frame): View {
  const notice = new Notice();
  const names = make("textarea", {
    class: "form-control",
    id: "add-user-textarea",
    rows: "6",
    placeholder: t("usernames separated by line"),
    "data-testid": "user-textarea",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const { box, row } = adminCheck(frame, false);
  const submit = button(t("Add Users"), { class: "btn-primary", id: "submit", testId: "submit", type: "submit" });
  forbid(submit, frame.rights.may("admin:users"));
  const label = make("label", { class: "form-label", for: names.id }, t("Names, one a line"));
  const form = draw(frame, t("Add Users"), notice, [label, names, row], [backTo("/"), submit]);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = [...new Set(names.value.split("\n").map((name) => name.trim()))].filter((name) => name !== "");
    if (wanted.length === 0) {
      notice.error(t("Write at least one name."));
      names.focus();
      return;
    }
    void whileBusy(submit, async () => {
      try {
        const added = await rest.addUsers(wanted, box.checked);
        announce(t("{count} added", { count: added.length }));
        leave(frame, "/");
      } catch (error) {
        const exist = error instanceof ApiError && error.status === 409;
        notice.failed(exist ? t("User already exists.") : t("Failed to create user."), error);
      }
    });
  });
  names.focus();
  return {};
}

async function drawEdit(frame: Frame, name: string): Promise<void> {
  const { rights } = frame;
  const user = await rest.user(name);
  if (frame.signal.aborted) return;
  const target = { user: name, groups: user.groups };
  const notice = new Notice();
  const input = make("input", {
    class: "form-control",
    id: "edit-username",
    "data-testid": "edit-username-input",
    placeholder: t("updated username"),
    autocapitalize: "off",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "255",
    "aria-describedby": "edit-username-note",
  });
  const note = make(
    "div",
    { class: "form-text", id: "edit-username-note" },
    t("Empty to keep “{name}”. Servers and tokens stay with the user.", { name }),
  );
  const { box, row } = adminCheck(frame, user.admin === true);
  const submit = button(t("Apply"), { class: "btn-primary", id: "submit", testId: "submit", type: "submit" });
  forbid(submit, rights.may("admin:users", target));
  const remove = button(t("Delete user"), { class: "btn-outline-danger ms-auto", id: "delete-user", testId: "delete-user" });
  forbid(remove, rights.may("delete:users", target) && name !== frame.me);
  if (name === frame.me) remove.title = t("You cannot delete yourself.");
  const label = make("label", { class: "form-label", for: input.id }, t("New name"));
  const body = [label, input, note, row];
  if (user.groups && user.groups.length > 0) {
    const links = user.groups.flatMap((group) => [
      link(group, linkTo("/group-edit", { name: group }), "detail-item"),
      " ",
    ]);
    body.push(make("p", { class: "mt-3 mb-0" }, t("Groups:"), " ", ...links));
  }
  const form = draw(frame, t("Editing user {name}", { name }), notice, body, [backTo("/"), submit, remove]);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    const changes: { name?: string; admin?: boolean } = {};
    if (wanted !== "" && wanted !== name) changes.name = wanted;
    if (box.checked !== (user.admin === true)) changes.admin = box.checked;
    if (Object.keys(changes).length === 0) {
      leave(frame, "/");
      return;
    }
    void whileBusy(submit, async () => {
      try {
        await rest.editUser(name, changes);
        announce(t("{name}: changed", { name: changes.name ?? name }));
        leave(frame, "/");
      } catch (error) {
        notice.failed(t("Failed to edit user."), error);
      }
    });
  });
  remove.addEventListener("click", () => {
    void (async () => {
      const agreed = await confirmAction(
        t("Delete “{name}”?", { name }),
        t("The user's servers stop, and the user's tokens and shares are removed. This cannot be undone."),
        t("Delete"),
      );
      if (!agreed) return;
      await whileBusy(remove, async () => {
        try {
          await rest.deleteUser(name);
          announce(t("{name}: deleted", { name }));
          leave(frame, "/");
        } catch (error) {
          notice.failed(t("Failed to delete user."), error);
        }
      });
    })();
  });
  input.focus();
}

export function showEditUser(frame: Frame, place: Place): View {
  const name = place.query.get("name");
  if (!name) {
    leave(frame, "/");
    return {};
  }
  drawEdit(frame, name).catch((error: unknown) => {
    const notice = new Notice();
    const title = heading(t("Editing user {name}", { name }));
    frame.root.replaceChildren(make("div", { class: "container" }, title, notice.root, backTo("/")));
    notice.failed(t("Failed to load the user."), error);
  });
  return {};
}
