"""An application server that keeps its side of the contract with a hub, as OpenHEXA's backend does.

Sessions and the check against forged requests work as Django's do; the backend drives the hub over its REST API. It also
serves the page that shows a workspace in a frame. Standard library only.

Usage: openhexa_app.py PORT HUB_URL HUB_TOKEN STORAGE

It prints "ready" when it listens. `GET /_calls` tells what the hub has asked it since it was asked last.
"""

import gzip
import hashlib
import http.client
import json
import secrets
import string
import sys
import threading
import urllib.parse
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, HUB_URL, HUB_TOKEN, STORAGE = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
LETTERS = string.ascii_letters + string.digits
SECRET_LENGTH = 32

ROLES = {
    "ad.min+o'hexa@example.org": {
        "long": "editor",
        "plain": "admin",
        "profiled": "editor",
    },
    "viewer@example.org": {"plain": "viewer"},
    "other@example.org": {"plain": "editor"},
}
SLUGS = {
    "long": "suivi-des-maladies-a-declaration-obligatoire-region-centre-nord",
    "plain": "malaria",
    "profiled": "large-machines",
}
NAMES = {slug: name for name, slug in SLUGS.items()}

lock = threading.Lock()
sessions = {}
calls = []
issued = [0]


def new_secret():
    return "".join(secrets.choice(LETTERS) for _ in range(SECRET_LENGTH))


def mask(secret):
    """The token of a form: another one each time, of the same secret."""
    key = new_secret()
    shifted = ((LETTERS.index(s) + LETTERS.index(k)) % len(LETTERS) for s, k in zip(secret, key))
    return key + "".join(LETTERS[at] for at in shifted)


def unmask(token):
    """The secret of a token, which may be the secret itself; none for anything else."""
    if any(letter not in LETTERS for letter in token):
        return None
    if len(token) == SECRET_LENGTH:
        return token
    if len(token) != 2 * SECRET_LENGTH:
        return None
    key, shifted = token[:SECRET_LENGTH], token[SECRET_LENGTH:]
    return "".join(LETTERS[(LETTERS.index(s) - LETTERS.index(k)) % len(LETTERS)] for s, k in zip(shifted, key))


class Hub:
    """The backend's client of the hub."""

    def __init__(self, cookies):
        self.cookies = cookies
        self.url = urllib.parse.urlsplit(HUB_URL)

    def call(self, method, path, body=None, with_cookies=False, token=True):
        headers = {"User-Agent": "python-requests/2.32", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
        if token:
            headers["Authorization"] = f"token {HUB_TOKEN}"
        if with_cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif method == "POST":
            headers["Content-Length"] = "0"
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=180)
        try:
            connection.request(method, self.url.path + path, body=data, headers=headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def launch(self, email, slug, profile):
        """What `launchNotebookServer` does, call by call."""
        status, _, body = self.call("GET", f"/api/users/{email}")
        if status == 404:
            status, _, body = self.call("POST", f"/api/users/{email}")
            if status not in (201, 409):
                raise RuntimeError(f"the hub does not make the user: {status} {body!r}")
            status, _, body = self.call("GET", f"/api/users/{email}")
        if status != 200:
            raise RuntimeError(f"the hub does not tell the user: {status} {body!r}")
        if slug not in json.loads(body)["servers"]:
            options = {"profile": profile} if profile else None
            path = f"/api/users/{email}/servers/{slug}"
            status, _, body = self.call("POST", path, body=options, with_cookies=True)
            if status >= 400:
                raise RuntimeError(f"the hub does not start the server: {status} {body.decode(errors='replace')}")
        return self.server(email, slug)

    def server(self, email, slug):
        """What the page asks for every second."""
        prefix, domain = email.split("@")
        quoted = f"{urllib.parse.quote(prefix)}@{domain}"
        status, _, body = self.call("GET", f"/api/users/{quoted}")
        if status != 200:
            raise RuntimeError(f"the hub does not tell the user: {status} {body!r}")
        server = json.loads(body)["servers"].get(slug)
        ready = bool(server) and server["ready"]
        return {"ready": ready, "url": f"user/{quoted}/{slug}/", "server": server}


def page(slug, notebooks):
    return f"""<!doctype html>
<title>{slug}</title>
<h1>Notebooks</h1>
<iframe id="lab" style="width: 1200px; height: 700px"></iframe>
<script>
  const cookie = () => document.cookie.match(/csrftoken=([^;]*)/)[1];
  const ask = path => fetch(path, {{ method: 'POST', headers: {{ 'X-CSRFToken': cookie() }} }}).then(r => r.json());
  (async () => {{
    let server = await ask('/launch/{slug}');
    while (!server.ready) {{
      await new Promise(resolve => setTimeout(resolve, 1000));
      server = await ask('/server/{slug}');
    }}
    const frame = document.getElementById('lab');
    frame.addEventListener('load', () => {{ frame.dataset.loaded = 'yes'; }});
    frame.src = '{notebooks}' + server.url;
  }})();
</script>
"""


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, kind="text/html; charset=utf-8", headers=()):
        body = body.encode()
        self.send_response(status)
        if len(body) > 200 and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Vary", "Accept-Encoding, Cookie")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, status, value, headers=()):
        self.answer(status, json.dumps(value), "application/json", headers)

    def redirect(self, location):
        self.answer(302, "", headers=[("Location", location)])

    def cookies(self):
        jar = SimpleCookie(self.headers.get("Cookie", ""))
        return {name: jar[name].value for name in jar}

    def user(self):
        return sessions.get(self.cookies().get("sessionid"))

    def refuse_forgery(self, form):
        """Django's `CsrfViewMiddleware` for plain HTTP: `Origin` where there is one, then token against cookie."""
        origin = self.headers.get("Origin")
        if origin and urllib.parse.urlsplit(origin).netloc != self.headers.get("Host"):
            return "Origin checking failed"
        cookie = self.cookies().get("csrftoken")
        if not cookie:
            return "CSRF cookie not set."
        token = form.get("csrfmiddlewaretoken", [None])[0] or self.headers.get("X-CSRFToken")
        if not token:
            return "CSRF token missing."
        secret = unmask(cookie)
        if secret is None or unmask(token) != secret:
            return "CSRF token incorrect."
        return None

    def note(self, form, status):
        with lock:
            calls.append(
                {
                    "path": self.path,
                    "form": {name: values[0] for name, values in form.items()},
                    "cookies": sorted(self.cookies()),
                    "csrf": self.headers.get("X-CSRFToken") == self.cookies().get("csrftoken"),
                    "referer": self.headers.get("Referer"),
                    "authorization": "Authorization" in self.headers,
                    "status": status,
                }
            )

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(path.query)
        if path.path == "/_calls":
            with lock:
                seen, calls[:] = list(calls), []
            self.json(200, seen)
        elif path.path == "/enter":
            self.enter(query)
        elif path.path == "/login":
            self.redirect("/front")
        elif path.path == "/front":
            self.answer(200, "<!doctype html><title>Log in</title><h1>Log in to the application</h1>")
        elif path.path.startswith("/workspaces/") and path.path.endswith("/notebooks/"):
            if not self.user():
                self.redirect("/login")
            else:
                self.answer(200, page(path.path.split("/")[2], query["notebooks"][0]))
        else:
            self.answer(404, "")

    def enter(self, query):
        """The login form's outcome."""
        session = secrets.token_hex(16)
        sessions[session] = query["email"][0]
        headers = [
            ("Set-Cookie", f"sessionid={session}; HttpOnly; Path=/; SameSite=Lax"),
            ("Set-Cookie", f"csrftoken={new_secret()}; Path=/; SameSite=Lax"),
        ]
        self.answer(200, "<!doctype html><title>In</title><h1>Logged in</h1>", headers=headers)

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        form = {}
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            form = urllib.parse.parse_qs(body)
        forged = self.refuse_forgery(form)
        if forged:
            self.note(form, 403)
            self.answer(403, f"<h1>Forbidden</h1><p>{forged}</p>")
            return
        routes = {
            "/notebooks/authenticate/": self.authenticate,
            "/notebooks/default-credentials/": self.default_credentials,
            "/workspaces/credentials/": self.workspace_credentials,
            "/auth/logout/": self.logout,
        }
        if self.path in routes:
            routes[self.path](form)
        elif self.path.startswith("/launch/"):
            self.drive(lambda hub, email, slug: hub.launch(email, slug, "large" if slug == SLUGS["profiled"] else None))
        elif self.path.startswith("/server/"):
            self.drive(lambda hub, email, slug: hub.server(email, slug))
        else:
            self.answer(404, "")

    def drive(self, work):
        """A mutation or query of the page; the hub calls back meanwhile."""
        email = self.user()
        if not email:
            self.json(401, {"errors": ["not logged in"]})
            return
        try:
            self.json(200, work(Hub(self.cookies()), email, self.path.split("/")[2]))
        except RuntimeError as error:
            self.json(200, {"errors": [str(error)]})

    def authenticate(self, form):
        if not self.user():
            self.note(form, 302)
            self.redirect("/login")
            return
        self.note(form, 200)
        self.json(200, {"username": self.user()})

    def default_credentials(self, form):
        if not self.user():
            self.note(form, 302)
            self.redirect("/login")
            return
        self.note(form, 200)
        self.json(200, {"username": self.user(), "env": {"GIT_EXTENSION_ENABLED": "true"}, "files": {}})

    def workspace_credentials(self, form):
        slug = form.get("workspace", [""])[0]
        email = self.user()
        if not email:
            self.note(form, 401)
            self.json(401, {"error": "not authenticated"})
            return
        if slug not in NAMES or NAMES[slug] not in ROLES[email]:
            self.note(form, 404)
            self.json(404, {"error": "no such workspace"})
            return
        if ROLES[email][NAMES[slug]] == "viewer":
            self.note(form, 401)
            self.json(401, {"error": "permission denied"})
            return
        with lock:
            issued[0] += 1
            number = issued[0]
        self.note(form, 200)
        environment = {
            "WORKSPACE_BUCKET_NAME": f"bucket-{slug}",
            "WORKSPACE_DATABASE_DB_NAME": slug.replace("-", "_"),
            "WORKSPACE_DATABASE_HOST": "db.example.org",
            "WORKSPACE_DATABASE_PORT": "5432",
            "WORKSPACE_DATABASE_USERNAME": "{username}",
            "WORKSPACE_DATABASE_PASSWORD": "p{0}{{x}}%(y)s$HOME`id`\\n\u00e9",
            "WORKSPACE_DATABASE_URL": "postgresql://{username}:p%7B@db.example.org:5432/x",
            "WORKSPACE_STORAGE_ENGINE": "local",
            "WORKSPACE_STORAGE_MOUNT_PATH": f"{STORAGE}/{slug}",
            "HEXA_TOKEN": f"token-{number}-{secrets.token_hex(8)}",
        }
        hashed = hashlib.blake2s(f"{slug}{email}".encode(), digest_size=16).hexdigest()
        self.json(
            200,
            {"env": environment, "notebooks_server_hash": hashed, "image": "registry.example.org/lab:1"},
        )

    def logout(self, form):
        session = self.cookies().get("sessionid")
        # The token that the backend has at hand is masked, so not the browser's own value.
        cookies = {"sessionid": session, "csrftoken": mask(unmask(self.cookies()["csrftoken"]))}
        status, headers, _ = Hub(cookies).call("GET", "/logout", with_cookies=True, token=False)
        sessions.pop(session, None)
        self.json(200, {"status": status, "location": headers.get("Location", headers.get("location"))})


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", PORT), App)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()
