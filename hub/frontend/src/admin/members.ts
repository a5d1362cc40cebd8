/** Who belongs to a group: changed here first, sent together with the rest of the form. */
import { ApiError } from "../api.ts";
import { make } from "../page.ts";
import { t } from "../words.ts";
import { button, reasonOf, whileBusy } from "./frame.ts";
import { rest } from "./rest.ts";

/** Names offered while one types. */
const OFFERED = 10;
const TYPING = 250;

export class Members {
  readonly root: HTMLElement;
  readonly #before: readonly string[];
  readonly #now: Set<string>;
  readonly #list = make("ul", { class: "users-container" });
  readonly #error = make("div", { class: "alert alert-danger hidden", role: "alert" });
  readonly #editable: boolean;

  constructor(members: readonly string[], editable: boolean, mayList: boolean) {
    this.#before = members;
    this.#now = new Set(members);
    this.#editable = editable;
    const offers = make("datalist", { id: "username-offers" });
    const input = make("input", {
      id: "username-input",
      "data-testid": "username-input",
      type: "text",
      class: "form-control",
      placeholder: t("Add by username"),
      "aria-label": t("Add by username"),
      list: offers.id,
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
    });
    const add = button(t("Add user"), { class: "btn-outline-secondary", id: "validate-user", testId: "validate-user" });
    input.disabled = !editable;
    add.disabled = !editable;
    const adding = (): void => void whileBusy(add, () => this.#add(input));
    add.addEventListener("click", adding);
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      adding();
    });
    if (mayList) this.#offer(input, offers);
    this.root = make(
      "div",
      {},
      this.#error,
      make("div", { class: "input-group" }, input, add),
      offers,
      this.#list,
    );
    this.#draw();
  }

  #offer(input: HTMLInputElement, offers: HTMLElement): void {
    let typing = 0;
    input.addEventListener("input", () => {
      window.clearTimeout(typing);
      const text = input.value.trim();
      if (text === "") return;
      typing = window.setTimeout(() => {
        rest
          .users({ offset: 0, limit: OFFERED }, { name_filter: text, sort: "name" })
          .then(({ items }) => {
            if (input.value.trim() !== text) return;
            offers.replaceChildren(...items.map(({ name }) => make("option", { value: name })));
          })
          .catch(() => offers.replaceChildren());
      }, TYPING);
    });
  }

  async #add(input: HTMLInputElement): Promise<void> {
    const name = input.value.trim();
    if (name === "") return;
    this.#error.classList.add("hidden");
    try {
      await rest.user(name);
      this.#now.add(name);
      input.value = "";
      this.#draw();
    } catch (error) {
      const unknown = error instanceof ApiError && error.status === 404;
      this.#error.textContent = unknown ? t("There is no user “{name}”.", { name }) : reasonOf(error);
      this.#error.classList.remove("hidden");
    }
    input.focus();
  }

  #draw(): void {
    const names = [...new Set([...this.#before, ...this.#now])].sort((a, b) => a.localeCompare(b));
    const items = names.map((name) => {
      const selected = this.#now.has(name);
      const toggle = make(
        "button",
        {
          type: "button",
          class: `item ${selected ? "selected" : "unselected"}`,
          "aria-pressed": String(selected),
          title: selected ? t("Click to take out of the group") : t("Click to put back into the group"),
        },
        name,
      );
      toggle.disabled = !this.#editable;
      toggle.addEventListener("click", () => {
        if (selected) this.#now.delete(name);
        else this.#now.add(name);
        this.#draw();
        const again = [...this.#list.querySelectorAll("button")].find((found) => found.textContent === name);
        again?.focus();
      });
      return make("li", {}, toggle);
    });
    const none = make("li", { class: "text-body-secondary" }, t("No members."));
    this.#list.replaceChildren(...(items.length > 0 ? items : [none]));
  }

  get added(): string[] {
    return [...this.#now].filter((name) => !this.#before.includes(name));
  }

  get removed(): string[] {
    return this.#before.filter((name) => !this.#now.has(name));
  }
}
