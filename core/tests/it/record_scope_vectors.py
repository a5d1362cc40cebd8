"""Records what JupyterHub 6.1.1 makes of scopes, for the test `scope_vectors`.

    pip install jupyterhub==6.1.1
    python record_scope_vectors.py > scope_vectors.json

Inputs are random with a fixed seed; the hash seed has no influence, as everything is written sorted.
"""

import json
import random
import warnings

from jupyterhub import orm, roles, scopes

warnings.simplefilter("ignore")
random.seed(20260101)

USERS = ["ada", "bob", "cy@x.org"]
GROUPS = {"maths": ["ada", "bob"], "art": ["bob"], "empty": []}
SERVICES = ["cull", "grade"]
SERVERS = ["ada/", "ada/lab", "bob/", "bob/lab", "cy@x.org/x"]
NAMES = sorted(scopes.scope_definitions)
FILTERS = (
    [f"user={n}" for n in USERS]
    + [f"group={n}" for n in GROUPS]
    + [f"service={n}" for n in SERVICES]
    + [f"server={n}" for n in SERVERS]
)
BARE = ["user", "service", "server"]

db = orm.new_session_factory("sqlite:///:memory:")()
for role in roles.get_default_roles():
    roles.create_role(db, role)
users = {n: orm.User(name=n) for n in USERS}
services = {n: orm.Service(name=n) for n in SERVICES}
groups = {n: orm.Group(name=n, users=[users[u] for u in members]) for n, members in GROUPS.items()}
db.add_all([*users.values(), *services.values(), *groups.values()])
db.commit()
spawners = {}
for server in SERVERS:
    owner, _, name = server.partition("/")
    spawners[server] = orm.Spawner(name=name, user=users[owner])
    db.add(spawners[server])
clients = {"hub": orm.OAuthClient(identifier="jupyterhub")}
for server, spawner in spawners.items():
    clients[f"server:{server}"] = orm.OAuthClient(identifier=f"s-{server}", spawner=spawner)
for name, service in services.items():
    clients[f"service:{name}"] = orm.OAuthClient(identifier=f"v-{name}", service=service)
db.add_all(clients.values())
db.commit()
clients[None] = None
owners = {None: None}
owners |= {f"user:{n}": u for n, u in users.items()}
owners |= {f"service:{n}": s for n, s in services.items()}


def some(population, most=4, least=0):
    return sorted(set(random.choices(population, k=random.randint(least, most))))


def raw_scope(bare=True):
    name = random.choice(NAMES)
    pick = random.random()
    if pick < 0.35:
        return name
    if bare and pick < 0.6:
        return f"{name}!{random.choice(BARE)}"
    return f"{name}!{random.choice(FILTERS)}"


def raw_scopes(most=3, bare=True):
    return sorted({raw_scope(bare) for _ in range(random.randint(0, most))})


def expanded(most=3):
    """Few names, many filters, so that sets meet."""
    names = ["servers", "read:users", "access:servers", "read:groups", "access:services"]
    out = set()
    for _ in range(random.randint(0, most)):
        name = random.choice(names)
        out.add(name if random.random() < 0.1 else f"{name}!{random.choice(FILTERS)}")
    return sorted(scopes.reduce_scopes(out))


class SortedSet(set):
    """A set that is iterated in sorted order, its differences included."""

    def __iter__(self):
        return iter(sorted(super().__iter__()))

    def intersection(self, other):
        return set(set.intersection(self, other))

    def difference(self, other):
        return SortedSet(set.difference(self, other))


out = {
    "table": {n: scopes.scope_definitions[n].get("subscopes", []) for n in NAMES},
    "roles": {r["name"]: r["scopes"] for r in roles.get_default_roles()},
    "groups": GROUPS,
}

out["expand"] = []
for name in NAMES:
    for owner in (None, "user:ada"):
        out["expand"].append(dict(scopes=[name], owner=owner, client=None))
for _ in range(150):
    out["expand"].append(
        dict(scopes=raw_scopes(), owner=random.choice(list(owners)), client=random.choice(list(clients)))
    )
for case in out["expand"]:
    found = scopes.expand_scopes(case["scopes"], owners[case["owner"]], clients[case["client"]])
    case["expanded"] = sorted(found)

out["intersect"] = []
for _ in range(200):
    a, b = expanded(6), expanded(6)
    found = scopes._intersect_expanded_scopes(frozenset(a), frozenset(b), db=db)
    out["intersect"].append(dict(a=a, b=b, common=sorted(found)))

out["has_scope"] = []
for _ in range(250):
    have = expanded(5)
    name = random.choice(["servers", "read:users", "access:servers", "read:groups", "access:services"])
    filter_ = random.choice([None, *FILTERS])
    scope = name if filter_ is None else f"{name}!{filter_}"
    allowed = scopes.has_scope(scope, scopes.parse_scopes(frozenset(have)), db=db)
    out["has_scope"].append(dict(have=have, scope=scope, allowed=bool(allowed)))

out["check_filter"] = []
for _ in range(150):
    have = {f"servers!{random.choice([*FILTERS, 'server=lab', 'server=x', 'server=ada'])}" for _ in range(3)}
    have = frozenset(have)
    sub = scopes.parse_scopes(have)["servers"]
    kind = random.choice(["user", "server", "group", "service"])
    thing = {"user": users, "server": spawners, "group": groups, "service": services}[kind]
    name = random.choice(list(thing))
    shown = scopes.check_scope_filter(sub, thing[name], kind)
    out["check_filter"].append(dict(have=sorted(have), kind=kind, name=name, shown=bool(shown)))

out["exist"] = []
texts = ["all", "users!", "users!group", "users!user=", "users!colour=red", "self!user", "nope", "", "users!user=a=b"]
texts += ["users!server=lab", "custom:x", "read:users!users=ada", "users!user=a!b", "inherit", "users!service="]
for text in texts:
    case = dict(scope=text, error=None)
    try:
        scopes._check_scopes_exist([text], who_for="token")
    except scopes.ScopeNotFound as e:
        case["error"] = e.args[0]
    else:
        try:
            scopes.expand_scopes([text])
        except ValueError as e:
            # Stock names any one of the subscopes.
            case["error"] = f"{str(e).partition(': ')[0]}: {text}"
    out["exist"].append(case)

out["role_names"] = []
for name in ["ab", "abc", "a.c", "Abc", "1bc", "ab-", "a~1", "a" * 255, "a" * 256, "a c", "a_-.~z", "ä23", "", "a:b"]:
    try:
        roles._validate_role_name(name)
        fine = True
    except roles.InvalidNameError:
        fine = False
    out["role_names"].append(dict(name=name, fine=fine))

out["custom_names"] = []
for name in ["custom:a", "custom:ab", "custom:abc", "custom:a:b", "custom:a-", "custom:a*b*", "custom:A12", "x:abc"]:
    fine = bool(scopes._custom_scope_pattern.match(name))
    out["custom_names"].append(dict(name=name, fine=fine))
for name in ["custom:a1_", "custom::ab", "custom:ab:", "custom:", "custom:a b", "custom:é12", "custom:9::*"]:
    fine = bool(scopes._custom_scope_pattern.match(name))
    out["custom_names"].append(dict(name=name, fine=fine))

FAMILY = [n for n in NAMES if n.endswith((":users", ":users:name", ":users:groups", "servers")) or n == "users"]


def relatives():
    """Scopes that include each other, so that a part of one is held by another."""
    return sorted({random.choice(FAMILY) + random.choice(["", "!user", "!user=ada"]) for _ in range(3)})


out["resolve"] = []
for i in range(160):
    requested, have = (raw_scopes(4), raw_scopes(4)) if i < 100 else (relatives(), relatives())
    if i >= 100 and requested:
        have.append(requested[0])
    elif random.random() < 0.4:
        have.append("self")
    owner = random.choice([f"user:{n}" for n in USERS])
    client = random.choice([c for c in clients if c])
    # The outcome can depend on the order in which stock looks at the scopes; this set has ours.
    asked = SortedSet(requested)
    allowed, refused = scopes._resolve_requested_scopes(asked, set(have), owners[owner], clients[client], db)
    out["resolve"].append(
        dict(
            requested=requested, have=sorted(set(have)), owner=owner, client=client,
            allowed=sorted(allowed), refused=sorted(refused),
        )
    )

out["token"] = []
for _ in range(100):
    kind, owner = random.choice([("user", n) for n in USERS] + [("service", n) for n in SERVICES])
    person = owners[f"{kind}:{owner}"]
    held = sorted(set(raw_scopes(3) + (["self"] if kind == "user" else [])))
    role = orm.Role(name="r", scopes=held)
    db.add(role)
    person.roles = [role]
    shared = []
    if kind == "user" and random.random() < 0.4:
        server = random.choice([s for s in SERVERS if not s.startswith(f"{owner}/")])
        spawner = spawners[server]
        shared = [f"access:servers!server={server}"]
        db.add(orm.Share(owner=spawner.user, spawner=spawner, user=person, scopes=shared))
    client = random.choice([c for c in clients if c])
    stored = ["inherit"] if random.random() < 0.1 else raw_scopes(4)
    token = orm.APIToken(scopes=stored, oauth_client=clients[client], **{kind: person})
    token.token = "x" * 32
    db.add(token)
    db.commit()
    found = scopes.get_scopes_for(token)
    out["token"].append(
        dict(
            owner=f"{kind}:{owner}", held=held, shared=shared, client=client, stored=stored,
            # Stock leaves redundant filtered scopes of shares in place.
            scopes=sorted(scopes.reduce_scopes(frozenset(found))),
        )
    )
    db.delete(token)
    for share in db.query(orm.Share):
        db.delete(share)
    person.roles = []
    db.delete(role)
    db.commit()

out["describe"] = []
for text in ["servers", "servers!user", "servers!user=ada", "servers!user=bob", "servers!group=maths"]:
    (line,) = scopes.describe_raw_scopes([text], username="ada")
    out["describe"].append(dict(scope=text, name=line["scope"], filter=line["filter"]))
for text in ["servers!server=ada/lab", "access:services!service=cull"]:
    (line,) = scopes.describe_raw_scopes([text], username="ada")
    out["describe"].append(dict(scope=text, name=line["scope"], filter=line["filter"]))

out["pin"] = []
for given in [["access:servers"], ["servers!server=ada/lab", "servers"], ["servers!user=ada"], ["servers!server=ada/"], []]:
    case = dict(scopes=given, pinned=None, error=None)
    try:
        case["pinned"] = sorted(orm.Share._apply_filter(frozenset(given), "ada", "lab"))
    except ValueError as e:
        case["error"] = str(e)
    out["pin"].append(case)

print("{")
last = list(out)[-1]
for section, value in out.items():
    comma = "" if section == last else ","
    if isinstance(value, list):
        print(f'"{section}": [')
        print(",\n".join(json.dumps(case, ensure_ascii=False) for case in value))
        print(f"]{comma}")
    else:
        print(f'"{section}": {json.dumps(value, ensure_ascii=False)}{comma}')
print("}")
