"""Stock JupyterHub's side of the database tests: stock.py COMMAND URL [ARGUMENT], the answer is JSON on the last line."""

import json
import logging
import os
import sys
from datetime import datetime

from sqlalchemy import MetaData, Table, create_engine, inspect, select

from jupyterhub import dbutil, orm

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 500000)


def make(url):
    """A database as this version of JupyterHub makes it, with a few rows."""
    db = orm.new_session_factory(url)()
    db.add(orm.User(name="old", admin=True, created=MOMENT, last_activity=MOMENT))
    db.add(orm.Role(name="grader", description="old role", scopes=["read:users"]))
    db.add(orm.Service(name="old-service"))
    db.add(orm.Group(name="staff", properties={"quota": 1}))
    db.commit()
    user = orm.User.find(db, "old")
    user.roles.append(orm.Role.find(db, "grader"))
    db.add(orm.Spawner(name="", user=user, state={"pid": 7}))
    db.commit()
    return len(db.query(orm.User).all())


def upgrade(url):
    """Runs stock's migrations, then what stock does at start."""
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    dbutil.upgrade(url)
    orm.new_session_factory(url)()


def dump(url):
    """Everything that SQLAlchemy can tell about the schema."""
    look = inspect(create_engine(url))
    tables = {}
    for table in sorted(look.get_table_names()):
        columns = [
            {
                "name": column["name"],
                "type": str(column["type"]),
                "nullable": column["nullable"],
                "default": column["default"],
                "autoincrement": column.get("autoincrement"),
            }
            for column in look.get_columns(table)
        ]
        tables[table] = {
            "columns": sorted(columns, key=lambda column: column["name"]),
            "order": [column["name"] for column in columns],
            "primary": look.get_pk_constraint(table),
            "foreign": sorted(look.get_foreign_keys(table), key=lambda key: key["name"] or ""),
            "indexes": sorted(look.get_indexes(table), key=lambda index: index["name"]),
            "unique": sorted(look.get_unique_constraints(table), key=lambda key: key["name"] or ""),
            "options": look.get_table_options(table),
        }
        # How far the counter of a table has come is no part of the schema.
        tables[table]["options"].pop("mysql_auto_increment", None)
    return tables


def rows(url, backup=""):
    """All rows as they are, of the tables or of the copies that are named so."""
    engine = create_engine(url)
    schema = backup if backup and engine.dialect.name == "postgresql" else None
    prefix = f"{backup}_" if backup and not schema else ""
    found = {}
    with engine.connect() as connection:
        for name in inspect(engine).get_table_names(schema=schema):
            if name.startswith(prefix or "himalia_backup_") == bool(prefix):
                table = Table(name, MetaData(), schema=schema, autoload_with=engine, resolve_fks=False)
                found[name.removeprefix(prefix)] = sorted(repr(tuple(row)) for row in connection.execute(select(table)))
    return found


def enter(url):
    """Opens a database as a hub does and makes a user there; the names of all."""
    db = orm.new_session_factory(url)()
    db.add(orm.User(name="new"))
    db.commit()
    return [name for (name,) in db.query(orm.User.name).order_by(orm.User.id)]


def write(url):
    """Rows of every kind, written by stock."""
    db = orm.new_session_factory(url)()
    orm.OAuthCode.now = staticmethod(lambda: 1772600000)
    if db.query(orm.OAuthClient).filter_by(identifier="jupyterhub").one_or_none() is None:
        db.add(orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri="", description="JupyterHub"))
        db.commit()
    ada = orm.User(name="ada", admin=True, created=MOMENT, last_activity=MOMENT, user_info={"name": "Ada é😀"})
    ada.encrypted_auth_state = bytes(range(256))
    bob = orm.User(name="bob")
    staff = orm.Group(name="staff", properties={"quota": [1, None]})
    staff.users.append(bob)
    role = orm.Role(name="grader", description="é", scopes=["read:users", "self"], managed_by_auth=True)
    ada.roles.append(role)
    staff.roles.append(role)
    db.add_all([ada, bob, staff, role])
    db.commit()
    lab = orm.Spawner(
        name="lab",
        user=ada,
        display_name="Мой",
        state={"pid": 42, "x": {"é": 1.5}},
        started=MOMENT,
        user_options={"file": b"\x00\xff" * 60},
    )
    lab.server = orm.Server(proto="http", ip="127.0.0.1", port=4321, base_url="/user/ada/lab/")
    lab.oauth_client = orm.OAuthClient(
        identifier="jupyterhub-user-ada-lab", secret=orm.hash_token("client secret"), redirect_uri="/cb"
    )
    lab.oauth_client.description = "lab of ada"
    db.add_all([lab, orm.Spawner(name="", user=ada), orm.Spawner(name="", user=bob)])
    service = orm.Service(name="svc", command=["python3", "-m é"], info={"a": 1}, from_config=False)
    db.add(service)
    db.commit()
    tokens = {
        "ada": ada.new_api_token(note="é", scopes=["inherit"], session_id="s1"),
        "chosen": ada.new_api_token(token="correct horse battery", generated=False, scopes=["inherit"]),
        "short": ada.new_api_token(scopes=["inherit"], expires_in=3600),
        "svc": service.new_api_token(scopes=["inherit"]),
        "oauth": ada.new_api_token(client_id="jupyterhub-user-ada-lab", scopes=["inherit"]),
    }
    orm.Share.grant(db, lab, bob)
    orm.Share.grant(db, lab, staff, ["access:servers", "read:servers"])
    _, code = orm.ShareCode.new(db, lab, scopes=["access:servers"])
    db.add(
        orm.OAuthCode(
            code="stock-code",
            client_id="jupyterhub-user-ada-lab",
            expires_at=1772600300,
            user=ada,
            redirect_uri="/cb",
            session_id="s1",
            scopes=["read:users"],
            code_challenge="c",
            code_challenge_method="S256",
        )
    )
    db.commit()
    return {"tokens": tokens, "code": code, "cookie_id": ada.cookie_id}


def moment(value):
    return value and value.isoformat()


def read(url, secrets):
    """What stock finds: rows in its own terms, and the owners of the secrets that it is shown."""
    secrets = json.loads(secrets)
    db = orm.new_session_factory(url)()
    found = {"users": {}}
    for user in db.query(orm.User).order_by(orm.User.id):
        found["users"][user.name] = {
            "admin": user.admin,
            "created": moment(user.created),
            "last_activity": moment(user.last_activity),
            "user_info": user.user_info,
            "auth_state": user.encrypted_auth_state and user.encrypted_auth_state.hex(),
            "cookie_id": user.cookie_id,
            "groups": sorted(group.name for group in user.groups),
            "roles": sorted(role.name for role in user.roles),
            "shared": sorted(scope for share in user.all_shared_with_me for scope in share.scopes),
            "servers": {
                name: {
                    "display_name": row.display_name,
                    "state": row.state,
                    "started": moment(row.started),
                    "options": {
                        key: value.hex() if isinstance(value, bytes) else value
                        for key, value in (row.user_options or {}).items()
                    },
                    "address": row.server
                    and [row.server.proto, row.server.ip, row.server.port, row.server.base_url],
                    "client": row.oauth_client_id,
                }
                for name, row in user.orm_spawners.items()
            },
        }
    found["groups"] = {group.name: group.properties for group in db.query(orm.Group)}
    found["roles"] = {
        role.name: [role.description, role.scopes, role.managed_by_auth] for role in db.query(orm.Role)
    }
    found["services"] = {
        row.name: [row.command, row.info, row.from_config, row.timeout] for row in db.query(orm.Service)
    }
    found["tokens"] = {}
    for name, text in secrets["tokens"].items():
        token = orm.APIToken.find(db, text)
        found["tokens"][name] = token and [
            token.owner.kind,
            token.owner.name,
            token.client_id,
            token.scopes,
            token.note,
            token.session_id,
            moment(token.expires_at),
        ]
    code = orm.ShareCode.find(db, secrets["share_code"])
    found["share_code"] = code and [code.scopes, code.exchange_count, moment(code.expires_at)]
    client = db.query(orm.OAuthClient).filter_by(identifier="jupyterhub-user-ada-lab").one()
    found["client"] = [
        client.description,
        client.redirect_uri,
        client.allowed_scopes,
        orm.compare_token(client.secret, secrets["client_secret"]),
    ]
    orm.OAuthCode.now = staticmethod(lambda: 1772600000)
    code = orm.OAuthCode.find(db, secrets["oauth_code"])
    found["oauth_code"] = code and [
        code.client_id,
        code.user.name,
        code.redirect_uri,
        code.session_id,
        code.scopes,
        code.expires_at,
        code.code_challenge_method,
    ]
    orm.OAuthCode.purge_expired(db)
    found["logins"] = db.query(orm.OAuthCode).filter_by(client_id="jupyterhub").count()
    found["tokens_of_ada"] = db.query(orm.APIToken).filter_by(user=orm.User.find(db, "ada")).count()
    # Deleting through stock's relationships must find everything in order.
    db.delete(orm.User.find(db, "ada"))
    db.commit()
    found["left"] = {
        cls.__tablename__: db.query(cls).count()
        for cls in (orm.Spawner, orm.Server, orm.APIToken, orm.Share, orm.ShareCode, orm.OAuthCode)
    }
    return found


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    answer = globals()[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(answer, sort_keys=True))
