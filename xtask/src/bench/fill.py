"""Rows for the benchmark: `fill.py DATABASE users COUNT`, `fill.py DATABASE servers COUNT PORT PID START_TIME`."""

import json
import sqlite3
import sys

NOW = "2026-01-01 00:00:00.000000"


def users(db, count):
    (role,) = db.execute("SELECT id FROM roles WHERE name = 'user'").fetchone()
    numbers = range(count)
    db.executemany(
        "INSERT INTO users (name, admin, created, last_activity, cookie_id) VALUES (?, 0, ?, ?, ?)",
        ((f"u{number}", NOW, NOW, f"{number:032x}") for number in numbers),
    )
    db.execute(
        "INSERT INTO user_role_map (user_id, role_id, managed_by_auth)"
        " SELECT id, ?, 0 FROM users WHERE id NOT IN (SELECT user_id FROM user_role_map)",
        (role,),
    )


def servers(db, count, port, pid, start_time):
    state = json.dumps({"pid": int(pid), "start_time": int(start_time)})
    for number in range(count):
        (user,) = db.execute("SELECT id FROM users WHERE name = ?", (f"u{number}",)).fetchone()
        prefix, client = f"/user/u{number}/", f"jupyterhub-user-u{number}"
        server = db.execute(
            "INSERT INTO servers (proto, ip, port, base_url, cookie_name) VALUES ('http', '127.0.0.1', ?, ?, ?)",
            (int(port), prefix, client),
        ).lastrowid
        db.execute(
            "INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes)"
            " VALUES (?, ?, 'sha512:1:0:0', ?, '[]')",
            (client, f"Server at {prefix}", f"{prefix}oauth_callback"),
        )
        db.execute(
            "INSERT INTO spawners (user_id, server_id, state, name, started, last_activity, user_options,"
            " oauth_client_id) VALUES (?, ?, ?, '', ?, ?, '{}', ?)",
            (user, server, state, NOW, NOW, client),
        )


what = {"users": users, "servers": servers}[sys.argv[2]]
with sqlite3.connect(sys.argv[1]) as database:
    what(database, int(sys.argv[3]), *sys.argv[4:])
