"""Records what JupyterHub 6.1.1 registers, accepts and answers, for the test `api_vectors`.

    pip install jupyterhub==6.1.1
    python record_api_vectors.py > api_vectors.json
"""

import inspect
import json
from datetime import datetime
from types import SimpleNamespace
from unittest import mock

from tornado import web

from jupyterhub import handlers, utils
from jupyterhub.apihandlers import base, users
from jupyterhub.apihandlers import default_handlers as api_handlers
from jupyterhub.slugs import is_valid_display_name, is_valid_safe_slug, normalise_unicode

out = {}

# Routes, with the scopes that the decorator closes over.
out["routes"] = []
for pattern, handler, *_ in [*handlers.default_handlers, *api_handlers]:
    if not pattern.startswith("/api"):
        continue
    for method in ("delete", "get", "head", "patch", "post", "put"):
        function = getattr(handler, method, None)
        if function is None or function.__qualname__.startswith("RequestHandler."):
            continue
        row = dict(path=pattern[len("/api") :], method=method.upper(), scopes=[], post_filter=False, arguments=[])
        free = function.__code__.co_freevars
        if "scopes" in free:
            closed = dict(zip(free, (cell.cell_contents for cell in function.__closure__)))
            row["scopes"] = list(closed["scopes"])
            row["post_filter"] = closed["post_filter"]
            row["arguments"] = [p for p in inspect.signature(function).parameters if p != "self"]
        out["routes"].append(row)


class Bare(users.UserServerAPIHandler):
    """A handler without a request around it."""

    log = mock.Mock()
    settings = {"api_page_default_limit": 50, "api_page_max_limit": 200}

    def __init__(self, body=b"", arguments=None, accept=None, url=""):
        headers = {} if accept is None else {"Accept": accept}
        self.request = SimpleNamespace(body=body, headers=headers, full_url=lambda: url)
        self.arguments = arguments or {}

    def get_argument(self, name, default=None):
        return self.arguments.get(name, default)


def attempt(function, *args):
    """(result, None) or (None, message)."""
    try:
        return function(*args), None
    except web.HTTPError as e:
        assert e.status_code == 400
        return None, e.get_message()


# Models: which objects pass the type check.
out["models"] = []
bodies = [
    {}, {"name": "x"}, {"admin": True}, {"admin": "yes"}, {"admin": None}, {"colour": "red", "admin": "it's"}, [], "x",
    None, 7, {"users": ["a"]}, {"users": "a"}, {"roles": {}}, {"name": 1.0}, {"auth_state": {"a": [1, None, "é\n"]}},
    {"auth_state": None}, {"info": {}, "display": 1}, {"x": "\u200b\"'\x07\U0001f600", "y": 1e16, "z": [1.5, -2, 1e-7]},
    {"groups": ["g"]}, {"command": "run"}, {"oauth_client_allowed_scopes": ["x"], "admin": False},
]
for name, types in [
    ("user", base.APIHandler._user_model_types),
    ("group", base.APIHandler._group_model_types),
    ("service", base.APIHandler._service_model_types),
]:
    for body in bodies:
        _, error = attempt(Bare()._check_model, body, types, name)
        out["models"].append(dict(model=name, body=body, error=error))

# Bodies of POST and PUT on servers.
out["server_bodies"] = []
for text in [
    "", "null", "{}", "[]", "0", "[1]", '"x"', "{", "  ", '{"a": 1}', '{"user_options": null}', '{"user_options": {}}',
    '{"user_options": {"a": 1}, "x": 2}', '{"user_options": 3}', '{"display_name": "D"}', '{"display_name": null}',
    '{"display_name": ""}', '{"display_name": "D", "user_options": {"a": 1}}', '{"display_name": "D", "a": 1}',
    '{"display_name": 5}', '{"a": 1, "a": 2}', "[", "false", "tru", '{"a": "\\ud83d\\ude00"}',
]:
    body, error = attempt(Bare(text.encode()).get_server_json_body)
    out["server_bodies"].append(dict(text=text, body=body, error=error))

# Pages.
out["page_requests"] = []
media = base.PAGINATION_MEDIA_TYPE
for offset in [None, "0", "7", "-3", " 5 ", "x", "1_0", "1__0", "", "+2", "1.0", "99999999999999"]:
    for limit in [None, "0", "10", "-5", "1000", "y"]:
        for accept in [None, "*/*", f"text/html, {media.upper()} ", f"{media};q=1"]:
            arguments = {k: v for k, v in (("offset", offset), ("limit", limit)) if v is not None}
            handler = Bare(arguments=arguments, accept=accept)
            found, error = attempt(handler.get_api_pagination)
            out["page_requests"].append(
                dict(offset=offset, limit=limit, accept=accept, found=found, envelope=handler.accepts_pagination, error=error)
            )
out["pages"] = []
for url in [
    "http://h:8000/hub/api/users",
    "http://h/hub/api/users?limit=3&state=active&offset=0",
    "https://h/b%20c/hub/api/users?name_filter=a+b%40%C3%A9~*!()'-._&x&x=2&y=&x=3",
]:
    for offset, limit, total in [(0, 3, 10), (3, 3, 6), (3, 3, 7), (20, 5, 10)]:
        page = Bare(url=url).paginated_model([1], offset, limit, total)
        out["pages"].append(dict(url=url, offset=offset, limit=limit, total=total, page=page))

out["timestamps"] = []
for moment in [datetime(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 12, 31, 23, 59, 59, 120000)]:
    out["timestamps"].append(utils.isoformat(moment))

out["read_timestamps"] = []
for text in [
    "2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05Z", "2026-01-02 03:04", "2026-01-02T03:04:05+02:00",
    "2026-01-02T03:04:05.5-0130", "20260102T030405Z", "2026-01-02", "2026-01-02T03:04:05 UTC", "2026-01-02T03:04:05+01",
    "2026-01-02T030405", "2026/01/02 03:04:05",
]:
    with mock.patch.object(users, "utcnow", lambda with_tz: datetime(2026, 6, 1)):
        out["read_timestamps"].append(dict(text=text, moment=utils.isoformat(users._parse_timestamp(text))))

out["names"] = []
for text in [
    "a", "A", "lab-1", "", "1a", "a-", "a--b", "x" * 30, "x" * 31, "é", "My Lab", " a", "a ", "a  b", "a\tb", "a\u00a0b",
    "e\u0301", "a\u200bb", "\U0001f600", "\ue000", "x" * 255, "x" * 256, "a/b", "実験 (2)", "\u0378", "a\u2028b", "½€→",
]:
    name = normalise_unicode(text)
    out["names"].append(
        dict(text=text, slug=is_valid_safe_slug(text), shown=is_valid_display_name(name), name=name, quoted=utils.safe_log(name))
    )

out["dumps"] = [dict(value=b, text=json.dumps(b)) for b in [*bodies, {"é": "\x7f\x1f/\\", "n": [[], {}], "u": "\U0001f600"}]]

print("{")
last = list(out)[-1]
for section, value in out.items():
    print(f'"{section}": [')
    print(",\n".join(json.dumps(case) for case in value))
    print("]" if section == last else "],")
print("}")
