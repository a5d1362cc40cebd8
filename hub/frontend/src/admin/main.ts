/** The admin page: which of its parts is shown, by the part of the address after `#`. */
import { make } from "../page.ts";
import { t } from "../words.ts";
import { type Frame, Notice, type View } from "./frame.ts";
import { showGroupEdit } from "./group_edit.ts";
import { showCreateGroup, showGroups } from "./groups.ts";
import type { Place } from "./place.ts";
import { rest } from "./rest.ts";
import { Rights } from "./rights.ts";
import { here } from "./router.ts";
import { showAddUsers, showEditUser } from "./user_forms.ts";
import { showUsers } from "./users.ts";

declare global {
  interface Window {
    /** Set by site templates that were made for JupyterHub's admin page. */
    api_page_limit?: number;
  }
}

const VIEWS: Record<string, (frame: Frame, place: Place) => View> = {
  "/": showUsers,
  "/groups": showGroups,
  "/group-edit": showGroupEdit,
  "/create-group": showCreateGroup,
  "/add-users": showAddUsers,
  "/edit-user": showEditUser,
};

/** As the hub's own default. */
const USUAL_LIMIT = 50;

async function start(root: HTMLElement): Promise<void> {
  const me = await rest.me();
  const rights = new Rights(me.scopes, me.admin === true);
  const limit = Number(root.dataset["apiPageLimit"]) || window.api_page_limit || USUAL_LIMIT;
  let shown: { key: string; view: View; stop: AbortController } | undefined;
  const route = (): void => {
    const place = here();
    const path = place.path in VIEWS ? place.path : "/";
    // A form about somebody else is another part, a list with other arguments is the same one.
    const key = `${path}?${place.query.get("name") ?? ""}`;
    if (shown?.key === key) {
      shown.view.update?.(place);
      return;
    }
    const first = shown === undefined;
    shown?.stop.abort();
    const stop = new AbortController();
    const frame: Frame = { root, rights, me: me.name, limit, signal: stop.signal };
    shown = { key, stop, view: (VIEWS[path] ?? showUsers)(frame, place) };
    window.scrollTo(0, 0);
    const active = document.activeElement;
    if (!first && (active === null || active === document.body)) root.querySelector("h1")?.focus();
  };
  window.addEventListener("hashchange", route);
  route();
}

const root = document.getElementById("react-admin-hook");
if (root) {
  start(root).catch((error: unknown) => {
    const notice = new Notice();
    root.replaceChildren(
      make("div", { class: "container" }, make("h1", { class: "page-title" }, t("Administration")), notice.root),
    );
    notice.failed(t("The page could not be loaded."), error);
  });
}
