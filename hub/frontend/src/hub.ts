/**
 * Scripts of all pages in one file. Each part looks for its elements by the ids and classes that JupyterHub's
 * templates use and does nothing where they are missing, so site templates keep working whatever they leave out.
 */
import "bootstrap/js/dist/collapse";
import "bootstrap/js/dist/dropdown";
import "bootstrap/js/dist/tab";
import { attachHome } from "./home.ts";
import { attachBusyForms, attachLogin } from "./login.ts";
import { attachProgress } from "./progress.ts";
import { attachRestart } from "./restart.ts";
import { attachSessions } from "./sessions.ts";
import { attachTimes } from "./times.ts";
import { attachTokens } from "./token.ts";
import { attachNotRunning, attachStopPending } from "./waiting.ts";

attachTimes();
attachLogin();
attachBusyForms();
attachHome();
attachRestart();
attachProgress();
attachNotRunning();
attachStopPending();
attachTokens();
attachSessions();

window._jupyterhub_page_loaded = true;
