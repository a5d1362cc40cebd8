c.JupyterHub.load_groups = {"art": ["bob", "cy"], "maths": {"users": ["ada"], "properties": {"room": 7}}}
c.JupyterHub.load_roles.append(
    {"name": "helper", "description": "Sees the hub", "scopes": ["read:hub"], "groups": ["art"]}
)
c.JupyterHub.load_roles.append(
    {"name": "sharer", "scopes": ["shares!user", "read:users:name", "read:groups:name"], "users": ["ada"]}
)
