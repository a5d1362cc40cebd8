/** Everything that the hub tells of a user and a server, below the row. */
import { hub, make } from "../page.ts";
import { timeElement } from "../times.ts";
import { t } from "../words.ts";
import type { Server, User } from "./rest.ts";

const DATES = new Set(["created", "started", "last_activity", "expires_at"]);

function shown(name: string, value: unknown): Node | string {
  if (value === null || value === undefined || value === "") return "–";
  if (DATES.has(name) && typeof value === "string") return timeElement(value);
  if (Array.isArray(value)) {
    const items = value.map((item) => make("span", { class: "detail-item" }, String(item)));
    return items.length > 0 ? make("span", {}, ...items) : "–";
  }
  if (typeof value === "boolean") return value ? t("yes") : t("no");
  if (typeof value === "object") {
    return Object.keys(value).length > 0 ? make("pre", {}, JSON.stringify(value, null, 2)) : "–";
  }
  return String(value);
}

function table(title: string, object: object, without: readonly string[]): HTMLElement {
  const rows = Object.entries(object)
    .filter(([name]) => !without.includes(name))
    .sort(([a], [b]) => a.localeCompare(b))
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, shown(name, value))]);
  return make("section", {}, make("h2", {}, title), make("dl", { class: "detail-list" }, ...rows));
}

/** The row that opens below the one of `key`. */
export function detailRow(key: string, user: User, server: Server): HTMLTableRowElement {
  return make(
    "tr",
    { class: "user-detail", id: `${key}-card-group`, role: "row" },
    make(
      "td",
      { colspan: "6", "data-testid": `${key}-td`, role: "cell" },
      make(
        "div",
        { class: "detail-tables", "data-testid": `${key}-collapse` },
        table(t("User"), user, ["server", "servers"]),
        table(t("Server"), server, []),
        make(
          "p",
          { class: "detail-links" },
          make(
            "a",
            {
              class: "btn btn-sm btn-outline-secondary",
              href: `${hub.base_url}sessions?${new URLSearchParams({ user: user.name })}`,
            },
            t("Logins"),
          ),
        ),
      ),
    ),
  );
}
