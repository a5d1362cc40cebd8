"""Scripts as administrators write them for JupyterHub's API: the same for every hub.

JUPYTERHUB_API_URL and JUPYTERHUB_API_TOKEN say which hub is meant. Every script takes away what it has made. The first
one that finds something else than it expects ends the program with a trace.
"""

import json
import os
import time
from datetime import datetime, timedelta, timezone

import requests

API = os.environ["JUPYTERHUB_API_URL"].rstrip("/")
PAGED = "application/jupyterhub-pagination+json"
PATIENCE = 60


class Hub:
    """A caller of the API with one token."""

    def __init__(self, token):
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {token}"

    def ask(self, method, path, *wanted, body=None, **more):
        """The answer, whose status must be one of those wanted"""
        answer = self.session.request(method, f"{API}/{path}", json=body, timeout=PATIENCE, **more)
        assert answer.status_code in wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def get(self, path, **more):
        return self.ask("GET", path, 200, **more).json()


def until(what, look):
    """Looks again and again until there is something to see"""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.2)
    raise AssertionError(f"in vain: {what}")


def with_people(hub, *names):
    made = hub.ask("POST", "users", 201, body={"usernames": list(names)}).json()
    assert sorted(user["name"] for user in made) == sorted(names), made


def without_people(hub, *names):
    for name in names:
        hub.ask("DELETE", f"users/{name}", 204)


def which_hub(hub):
    assert hub.get("")["version"].startswith("6.")
    info = hub.get("info")
    assert {"version", "python", "sys_executable", "spawner", "authenticator"} <= set(info), info


def everybody_page_by_page(hub):
    names = [f"pupil-{number}" for number in range(7)]
    with_people(hub, *names)
    found, sizes, url = [], [], f"{API}/users?limit=3&name_filter=pupil"
    while url:
        answer = hub.session.get(url, headers={"Accept": PAGED}, timeout=PATIENCE)
        answer.raise_for_status()
        page = answer.json()
        found += [user["name"] for user in page["items"]]
        sizes.append(len(page["items"]))
        assert page["_pagination"]["total"] == 7, page["_pagination"]
        following = page["_pagination"]["next"]
        url = following and following["url"]
    assert sorted(found) == names and sizes == [3, 3, 1], (found, sizes)
    without_people(hub, *names)


def a_server_from_start_to_end(hub):
    with_people(hub, "runner")
    hub.ask("POST", "users/runner/server", 201, 202)
    told = []
    with hub.ask("GET", "users/runner/server/progress", 200, stream=True) as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        for line in events.iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                told.append(json.loads(line[5:]))
                if told[-1].get("ready") or told[-1].get("failed"):
                    break
    assert told[-1]["ready"] and told[-1]["url"].endswith("/user/runner/"), told
    user = hub.get("users/runner")
    assert user["server"].endswith("/user/runner/") and user["servers"][""]["ready"], user
    assert any(spec.endswith("/user/runner/") for spec in hub.get("proxy")), hub.get("proxy")
    assert "runner" in [user["name"] for user in hub.get("users?state=ready")]
    hub.ask("DELETE", "users/runner/server", 202, 204)
    until("the server is gone", lambda: not hub.get("users/runner")["servers"])
    assert not any(spec.endswith("/user/runner/") for spec in hub.get("proxy"))
    without_people(hub, "runner")


def a_named_server_with_options(hub):
    with_people(hub, "runner")
    options = {"profile": "small", "packages": ["a", "b"]}
    hub.ask("POST", "users/runner/servers/lab", 201, 202, body=options)
    server = until("the server is ready", lambda: _ready(hub, "runner", "lab"))
    assert server["user_options"] == options and server["name"] == "lab", server
    hub.ask("DELETE", "users/runner/servers/lab", 202, 204)
    until("the server is gone", lambda: not hub.get("users/runner")["servers"])
    kept = hub.get("users/runner?include_stopped_servers=1")["servers"]["lab"]
    assert kept["stopped"] and not kept["ready"], kept
    hub.ask("DELETE", "users/runner/servers/lab", 204, body={"remove": True})
    assert "lab" not in hub.get("users/runner?include_stopped_servers=1")["servers"]
    without_people(hub, "runner")


def _ready(hub, user, name):
    server = hub.get(f"users/{user}")["servers"].get(name)
    return server if server and server["ready"] else None


def idle_people(hub):
    with_people(hub, "sleeper")
    then = datetime.now(timezone.utc) - timedelta(minutes=5)
    stamp = then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    hub.ask("POST", "users/sleeper/activity", 200, body={"last_activity": stamp})
    seen = hub.get("users/sleeper")["last_activity"]
    seen = datetime.fromisoformat(seen.replace("Z", "+00:00"))
    assert abs(seen - then) < timedelta(seconds=1), (seen, then)
    assert "sleeper" in [user["name"] for user in hub.get("users?state=inactive")]
    without_people(hub, "sleeper")


def tokens_for_others(hub):
    with_people(hub, "holder")
    body = {"note": "of a script", "expires_in": 3600, "scopes": ["read:users:name!user"]}
    made = hub.ask("POST", "users/holder/tokens", 201, body=body).json()
    assert made["note"] == "of a script" and made["expires_at"], made
    holder = Hub(made["token"])
    assert holder.get("user")["name"] == "holder"
    holder.ask("GET", "users", 403)
    listed = hub.get("users/holder/tokens")["api_tokens"]
    assert [token["id"] for token in listed] == [made["id"]] and "token" not in listed[0], listed
    hub.ask("DELETE", f"users/holder/tokens/{made['id']}", 204)
    holder.ask("GET", "user", 403)
    without_people(hub, "holder")


def groups_and_their_members(hub):
    with_people(hub, "ann", "ben")
    hub.ask("POST", "groups/crew", 201)
    hub.ask("POST", "groups/crew", 409)
    crew = hub.ask("POST", "groups/crew/users", 200, body={"users": ["ann", "ben"]}).json()
    assert sorted(crew["users"]) == ["ann", "ben"], crew
    hub.ask("PUT", "groups/crew/properties", 200, body={"quota": 3})
    hub.ask("DELETE", "groups/crew/users", 200, body={"users": ["ben"]})
    crew = hub.get("groups/crew")
    assert crew["users"] == ["ann"] and crew["properties"] == {"quota": 3}, crew
    assert hub.get("users/ann")["groups"] == ["crew"]
    hub.ask("DELETE", "groups/crew", 204)
    hub.ask("GET", "groups/crew", 404)
    without_people(hub, "ann", "ben")


def shares_of_a_server(hub):
    with_people(hub, "owner", "friend")
    hub.ask("POST", "users/owner/server", 201, 202)
    until("the server is ready", lambda: _ready(hub, "owner", ""))
    made = hub.ask("POST", "shares/owner/", 200, body={"user": "friend"}).json()
    assert made["user"]["name"] == "friend" and made["server"]["user"]["name"] == "owner", made
    assert [share["user"]["name"] for share in hub.get("shares/owner/")["items"]] == ["friend"]
    code = hub.ask("POST", "share-codes/owner/", 200, body={}).json()
    assert code["code"] in code["accept_url"], code
    assert len(hub.get("share-codes/owner")["items"]) == 1
    hub.ask("DELETE", f"share-codes/owner/?code={code['code']}", 204)
    hub.ask("DELETE", "shares/owner/", 204)
    assert hub.get("shares/owner/")["items"] == []
    hub.ask("DELETE", "users/owner/server", 202, 204)
    until("the server is gone", lambda: not hub.get("users/owner")["servers"])
    without_people(hub, "owner", "friend")


def new_names(hub):
    with_people(hub, "before")
    hub.ask("POST", "users/before", 409)
    renamed = hub.ask("PATCH", "users/before", 200, body={"name": "after"}).json()
    assert renamed["name"] == "after" and not renamed["admin"], renamed
    hub.ask("GET", "users/before", 404)
    # Services are no administrators, whatever their scopes.
    hub.ask("PATCH", "users/after", 403, body={"admin": True})
    without_people(hub, "after")


def mistakes_are_told(hub):
    missing = hub.ask("GET", "users/nobody", 404).json()
    assert missing["status"] == 404 and "message" in missing, missing
    broken = hub.ask("POST", "users", 400, data="{")
    assert "JSON" in broken.json()["message"], broken.text
    Hub("0" * 32).ask("GET", "users", 403)
    nameless = requests.get(f"{API}/users", timeout=PATIENCE)
    assert nameless.status_code == 403, nameless.status_code


SCRIPTS = [
    which_hub,
    everybody_page_by_page,
    a_server_from_start_to_end,
    a_named_server_with_options,
    idle_people,
    tokens_for_others,
    groups_and_their_members,
    shares_of_a_server,
    new_names,
    mistakes_are_told,
]

if __name__ == "__main__":
    for script in SCRIPTS:
        script(Hub(os.environ["JUPYTERHUB_API_TOKEN"]))
        print(script.__name__)
    print(f"{len(SCRIPTS)} scripts")
