/** Asking and telling, usable by keyboard and screen reader. */
import Modal from "bootstrap/js/dist/modal";
import { ApiError } from "./api.ts";
import { make } from "./page.ts";
import { t } from "./words.ts";

let questions = 0;

/** Asks before something that cannot be undone; true when the person agrees. Escape means no. */
export function confirmAction(title: string, text: string, action: string): Promise<boolean> {
  questions += 1;
  const titleId = `question-${questions}-title`;
  const textId = `question-${questions}-text`;
  const no = make("button", { type: "button", class: "btn btn-outline-secondary", autofocus: "" }, t("Cancel"));
  const yes = make("button", { type: "button", class: "btn btn-danger" }, action);
  const dialog = make(
    "dialog",
    { class: "question", "aria-labelledby": titleId, "aria-describedby": textId },
    make("h2", { id: titleId, class: "h5" }, title),
    make("p", { id: textId }, text),
    make("div", { class: "question-buttons" }, no, yes),
  );
  document.body.append(dialog);
  return new Promise((answer) => {
    no.addEventListener("click", () => dialog.close("no"));
    yes.addEventListener("click", () => dialog.close("yes"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
    dialog.showModal();
  });
}

/** Shows what went wrong in the page's error dialog. */
export function tellError(error: unknown): void {
  const text =
    error instanceof ApiError && error.status > 0
      ? t("API request failed ({status}): {message}", { status: error.status, message: error.message })
      : error instanceof Error
        ? error.message
        : String(error);
  const dialog = document.getElementById("error-dialog");
  const place = dialog?.querySelector(".ajax-error");
  if (!dialog || !place) {
    window.alert(text);
    return;
  }
  place.textContent = text;
  Modal.getOrCreateInstance(dialog).show();
}
