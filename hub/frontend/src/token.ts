/** The token page: ask for a token, copy it, revoke what is no longer needed. */
import { requestToken, revokeToken, type TokenRequest } from "./api.ts";
import { tellError } from "./dialogs.ts";
import { announce, find, findAll, hub, pause, show } from "./page.ts";
import { t } from "./words.ts";

function requestFromForm(): TokenRequest {
  const text = (selector: string): string => find(HTMLInputElement, selector)?.value ?? "";
  const seconds = Number.parseInt(find(HTMLSelectElement, "#token-expiration-seconds")?.value ?? "", 10);
  const request: TokenRequest = {
    note: text("#token-note").trim() || "Requested via token page",
    expires_in: Number.isFinite(seconds) && seconds > 0 ? seconds : null,
  };
  const scopes = text("#token-scopes")
    .split(/[\s,]+/)
    .filter((scope) => scope !== "");
  if (scopes.length > 0) request.scopes = scopes;
  return request;
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard over plain HTTP: mark the text, so that the usual keys copy it.
    const result = document.getElementById("token-result");
    if (result) window.getSelection()?.selectAllChildren(result);
    return false;
  }
}

function attachRequest(form: HTMLFormElement, user: string): void {
  const button = find(HTMLButtonElement, "[type=submit]", form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button) button.disabled = true;
    requestToken(user, requestFromForm())
      .then((made) => {
        const result = document.getElementById("token-result");
        if (result) result.textContent = made.token;
        const area = document.getElementById("token-area");
        show(area, true);
        area?.focus();
        announce(t("Your new token is shown below the form."));
      })
      .catch(tellError)
      .finally(() => {
        if (button) button.disabled = false;
      });
  });
  const copyButton = find(HTMLButtonElement, "#token-copy");
  copyButton?.addEventListener("click", () => {
    void copy(document.getElementById("token-result")?.textContent ?? "").then(async (done) => {
      const said = done ? t("Copied") : t("Selected: press Ctrl+C");
      copyButton.textContent = said;
      announce(said);
      await pause(2000);
      copyButton.textContent = t("Copy");
    });
  });
}

export function attachTokens(): void {
  const user = hub.user;
  if (user === undefined) return;
  const form = find(HTMLFormElement, "#request-token-form");
  if (form) attachRequest(form, user);
  for (const button of findAll(HTMLButtonElement, ".revoke-token-btn")) {
    const row = button.closest<HTMLElement>(".token-row");
    const id = row?.dataset["tokenId"];
    if (!row || id === undefined) continue;
    button.addEventListener("click", () => {
      button.disabled = true;
      revokeToken(user, id)
        .then(() => {
          const next = row.nextElementSibling?.querySelector<HTMLElement>(".revoke-token-btn");
          row.remove();
          announce(t("Revoked"));
          (next ?? find(HTMLElement, "#token-note"))?.focus();
        })
        .catch((error: unknown) => {
          button.disabled = false;
          tellError(error);
        });
    });
  }
}
