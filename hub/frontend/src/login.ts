/** The login form: visible password on request, one submit at a time, a word about plain HTTP. */
import { find, findAll, show } from "./page.ts";
import { t } from "./words.ts";

export function attachLogin(): void {
  const main = document.getElementById("login-main");
  if (!main) return;

  if (!window.isSecureContext) show(document.getElementById("insecure-login-warning"), true);

  const password = find(HTMLInputElement, "#password_input", main);
  const toggle = find(HTMLButtonElement, "#toggle_password_visibility", main);
  if (password && toggle) {
    show(toggle, true);
    toggle.addEventListener("click", () => {
      const visible = password.type === "password";
      password.type = visible ? "text" : "password";
      toggle.setAttribute("aria-pressed", String(visible));
      toggle.title = visible ? t("Hide password") : t("Show password");
    });
  }
}

/** Forms that leave the page: a spinner, and no second submit, until the answer or a return through history. */
export function attachBusyForms(): void {
  for (const form of findAll(HTMLFormElement, "#login-main > form, #spawn_form")) {
    const buttons = findAll(HTMLElement, "[type=submit]", form);
    const busy = (on: boolean): void => {
      show(form.querySelector(".feedback-widget"), on);
      form.setAttribute("aria-busy", String(on));
      for (const button of buttons) {
        if (button instanceof HTMLButtonElement || button instanceof HTMLInputElement) button.disabled = on;
      }
    };
    form.addEventListener("submit", (event) => {
      // The button's own value must still be sent, so it is switched off only after the form data was taken.
      if (!event.defaultPrevented) window.setTimeout(() => busy(true), 0);
    });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) {
        busy(false);
        // What was typed into a password field does not come back from the page cache.
        const password = find(HTMLInputElement, "#password_input", form);
        if (password) password.value = "";
      }
    });
  }
}
