/** The page of logins: end one, all others, or all. */
import { endAllSessions, endSession } from "./api.ts";
import { confirmAction, tellError } from "./dialogs.ts";
import { announce, find, findAll } from "./page.ts";
import { t } from "./words.ts";

/** Whoever ended their own login is a stranger now, and the hub sends strangers to the login page. */
function leave(): void {
  window.location.reload();
}

function attachRow(button: HTMLButtonElement): void {
  const row = button.closest<HTMLElement>(".session-row");
  const id = row?.dataset["sessionId"];
  if (!row || id === undefined) return;
  const current = row.dataset["current"] === "true";
  button.addEventListener("click", () => {
    void (async () => {
      if (current) {
        const text = t("You are logged out of this browser.");
        if (!(await confirmAction(t("End this login?"), text, t("End")))) return;
      }
      button.disabled = true;
      try {
        await endSession(id);
      } catch (error) {
        button.disabled = false;
        tellError(error);
        return;
      }
      if (current) return leave();
      const next =
        row.nextElementSibling?.querySelector<HTMLElement>(".end-session-btn") ??
        row.previousElementSibling?.querySelector<HTMLElement>(".end-session-btn");
      row.remove();
      announce(t("The login was ended."));
      (next ?? find(HTMLElement, "#main-content"))?.focus();
    })();
  });
}

function attachAll(button: HTMLButtonElement, owner: string, others: boolean, own: boolean): void {
  button.addEventListener("click", () => {
    void (async () => {
      const text = others
        ? t("Only this browser stays logged in.")
        : own
          ? t("You are logged out everywhere, in this browser as well.")
          : t("The person is logged out everywhere.");
      const title = others ? t("End all other logins?") : t("End all logins?");
      if (!(await confirmAction(title, text, t("End")))) return;
      button.disabled = true;
      try {
        await endAllSessions(owner, others);
      } catch (error) {
        button.disabled = false;
        tellError(error);
        return;
      }
      leave();
    })();
  });
}

export function attachSessions(): void {
  const page = document.getElementById("sessions");
  const owner = page?.dataset["owner"];
  if (!page || owner === undefined) return;
  for (const button of findAll(HTMLButtonElement, ".end-session-btn", page)) attachRow(button);
  const own = page.dataset["own"] === "true";
  const all = find(HTMLButtonElement, "#end-all-sessions", page);
  if (all) attachAll(all, owner, false, own);
  const others = find(HTMLButtonElement, "#end-other-sessions", page);
  if (others) attachAll(others, owner, true, own);
}
