/** The properties of a group: names with values, which are text or, where they are anything else, JSON. */
import { make } from "../page.ts";
import { t } from "../words.ts";
import { button } from "./frame.ts";

interface Entry {
  row: HTMLTableRowElement;
  name: HTMLInputElement;
  value: HTMLInputElement;
  kind: HTMLSelectElement;
}

/** What is wrong with a property, in words for the person. */
export class PropertyError extends Error {}

export class Properties {
  readonly root: HTMLElement;
  readonly #body = make("tbody");
  readonly #entries = new Set<Entry>();

  constructor(properties: Record<string, unknown>, editable: boolean) {
    const add = button(t("Add Item"), { class: "btn-outline-secondary", id: "add-item", testId: "add-item" });
    add.disabled = !editable;
    add.addEventListener("click", () => this.#add("", "", true).name.focus());
    for (const [name, value] of Object.entries(properties)) this.#add(name, value, editable);
    const head = make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col" }, t("Key")),
        make("th", { scope: "col" }, t("Value")),
        make("th", { scope: "col" }, t("Kind")),
        make("th", { scope: "col" }, make("span", { class: "visually-hidden" }, t("Actions"))),
      ),
    );
    this.root = make("div", {}, make("table", { class: "table properties-table" }, head, this.#body), add);
  }

  #add(name: string, value: unknown, editable: boolean): Entry {
    const text = typeof value === "string";
    const field = (label: string, shown: string) => {
      const input = make("input", { class: "form-control", type: "text", "aria-label": label, spellcheck: "false" });
      input.value = shown;
      input.disabled = !editable;
      return input;
    };
    const kind = make(
      "select",
      { class: "form-select", "aria-label": t("Kind") },
      make("option", { value: "text" }, t("Text")),
      make("option", { value: "json" }, "JSON"),
    );
    kind.value = text ? "text" : "json";
    kind.disabled = !editable;
    const remove = button(t("Delete"), { class: "btn-sm btn-outline-danger" });
    remove.disabled = !editable;
    const nameField = field(t("Key"), name);
    const valueField = field(t("Value"), text ? value : JSON.stringify(value));
    const cells = [nameField, valueField, kind, remove].map((part) => make("td", {}, part));
    const entry: Entry = { row: make("tr", {}, ...cells), name: nameField, value: valueField, kind };
    remove.addEventListener("click", () => {
      entry.row.remove();
      this.#entries.delete(entry);
    });
    this.#entries.add(entry);
    this.#body.append(entry.row);
    return entry;
  }

  /** What was entered. Rows without a name are left out. */
  read(): Record<string, unknown> {
    const found = new Map<string, unknown>();
    for (const { name, value, kind } of this.#entries) {
      const key = name.value.trim();
      if (key === "") continue;
      if (found.has(key)) throw new PropertyError(t("The key “{key}” is there twice.", { key }));
      if (kind.value === "text") {
        found.set(key, value.value);
        continue;
      }
      try {
        found.set(key, JSON.parse(value.value));
      } catch {
        throw new PropertyError(t("The value of “{key}” is not JSON.", { key }));
      }
    }
    return Object.fromEntries(found);
  }
}
