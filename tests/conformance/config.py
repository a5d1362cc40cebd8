"""Neutral settings of the conformance run -> Himalia's configuration.

The settings have JupyterHub's trait names, and so have ours: what is below is where each goes. A setting without a
place raises `NoCounterpart`, so that a test fails for that reason and not for a hub that ignored it.
"""

import json

# A test holds the tables below against the schema of the configuration: each key that can be set is in them.

# neutral "hub" settings that live in another table of ours, and under which name
ELSEWHERE = {
    "template_vars": ("templates", "vars"),
    "template_paths": ("templates", "paths"),
    "logo_file": ("templates", "logo_file"),
    "custom_scopes": ("custom_scopes", None),
    "load_roles": ("roles", None),
    "load_groups": ("groups", None),
}
HUB = set(
    "active_server_limit active_user_window activity_resolution admin_access admin_users"
    " allow_existing_invalid_named_servers allow_named_servers allow_public_without_authentication"
    " api_page_default_limit api_page_max_limit api_tokens authenticate_prometheus beyond_spawn_limit cleanup_proxy"
    " cleanup_servers concurrent_spawn_limit cookie_host_prefix_enabled cookie_max_age cookie_max_age_days"
    " cookie_options cookie_secret cookie_secret_file crypt_keys csp default_server_name default_url embed_from"
    " external_ssl_authorities extra_user_scopes headers hub_connect_url hub_routespec implicit_spawn_seconds"
    " init_spawners_timeout internal_certs_location internal_ssl last_activity_interval named_server_limit_per_user"
    " oauth_require_pkce oauth_token_expires_in proxy_networks public_url recreate_internal_certs redirect_to_server"
    " server_names service_check_interval service_poll_interval service_tokens"
    " shutdown_on_logout slow_spawn_timeout slow_stop_timeout subdomain_hook subdomain_host token_expires_in_max token_expires_in_max_seconds"
    " trust_user_provided_tokens trusted_alt_names trusted_downstream_ips use_legacy_stopped_server_status_code user_redirect_limit"
    " xsrf_anonymous_id_headers xsrf_anonymous_ip_cidrs xsrf_cookie_kwargs".split()
)
# what the run sets by itself
HUB_ELSEWHERE = set("base_url hub_bind_url hub_ip hub_port".split())
TORNADO = set("slow_spawn_timeout slow_stop_timeout user_redirect_limit cookie_options xsrf_cookie_kwargs headers".split())
AUTHENTICATOR = set(
    "admin_users allow_all allow_existing_users allowed_users auth_refresh_age auth_refresh_strict auto_login"
    " auto_login_oauth2_authorize blocked_users delete_invalid_users enable_auth_state login_failures_per_account"
    " login_failures_per_network login_failures_window login_service manage_groups manage_roles otp_prompt"
    " refresh_pre_spawn refresh_pre_stop request_otp reset_managed_roles_on_startup username_map username_pattern".split()
)
SPAWNER = set(
    "apply_user_options args cmd consecutive_failure_limit cpu_guarantee cpu_limit debug default_url"
    " disable_user_config env_keep environment group_overrides http_timeout hub_connect_url ip mem_guarantee mem_limit"
    " notebook_dir oauth_client_allowed_scopes oauth_roles options_form options_from_form poll_interval poll_jitter"
    " port server_token_scopes start_again_after start_timeout".split()
)
SPAWNER_LOCAL = set(
    "home_dir_template interrupt_timeout kill_timeout log_size shell_cmd stop_detached switch_user term_timeout".split()
)
SERVICE = set(
    "admin api_token command cwd display environment info name oauth_client_allowed_scopes oauth_client_id"
    " oauth_no_confirm oauth_redirect_uri oauth_roles timeout url user".split()
)
# what the run says of itself, and of the proxy process that stock needs
IGNORED = {"workdir", "proxy_api_port"}


class NoCounterpart(ValueError):
    """The setting has no counterpart in Himalia's configuration"""


def toml_config(settings):
    """The text of one configuration file for these settings"""
    rest = dict(settings)
    for key in IGNORED:
        rest.pop(key, None)
    doc = {
        "hub": {
            "base_url": rest.pop("base_url"),
            "hub_bind_url": f"http://{rest['ip']}:{rest.pop('hub_port')}",
            "cookie_secret_file": rest.pop("cookie_secret_file"),
            "crypt_keys": rest.pop("crypt_keys"),
            "cleanup_servers": rest.pop("cleanup_servers"),
            "last_activity_interval": rest.pop("last_activity_interval"),
            "service_poll_interval": rest.pop("service_poll_interval"),
        },
        "db": {"url": rest.pop("db_url")},
        "proxy": {
            "bind_url": f"http://{rest.pop('ip')}:{rest.pop('port')}",
            "extra_routes": rest.pop("extra_routes"),
        },
        "logging": {"level": "debug"},
    }
    for key, value in rest.pop("tornado_settings").items():
        known(key, TORNADO, "tornado_settings")
        doc["hub"][key] = value
    hub_settings(doc, rest.pop("hub"))
    authenticator(doc, rest.pop("authenticator"))
    spawner(doc, rest.pop("spawner"))
    doc["services"] = [service(spec) for spec in rest.pop("services")]
    if rest:
        raise NoCounterpart(f"no counterpart for {', '.join(sorted(rest))}")
    return render(doc)


def hub_settings(doc, settings):
    for key, value in settings.items():
        if key in ELSEWHERE:
            table, name = ELSEWHERE[key]
            if key == "custom_scopes":
                value = {scope: custom_scope(spec) for scope, spec in value.items()}
            if name is None:
                doc[table] = value
            else:
                doc.setdefault(table, {})[name] = value
        else:
            known(key, HUB, "JupyterHub")
            doc["hub"][key] = value
            if key == "concurrent_spawn_limit":
                # ours would let them wait in line
                doc["hub"]["beyond_spawn_limit"] = "refuse"


def custom_scope(spec):
    return {key: spec[key] for key in ("description", "subscopes") if spec.get(key)}


def authenticator(doc, settings):
    settings = dict(settings)
    doc["authenticator"] = {"kind": "dummy", "dummy": {"password": settings.pop("password")}}
    for key, value in settings.items():
        known(key, AUTHENTICATOR, "Authenticator")
        doc["authenticator"][key] = value


def spawner(doc, settings):
    doc["spawner"] = {"kind": "local", "local": {}}
    for key, value in settings.items():
        if key in ("cmd", "args") and isinstance(value, str):
            value = [value]
        if key in SPAWNER_LOCAL:
            doc["spawner"]["local"][key] = value
        else:
            known(key, SPAWNER, "Spawner")
            doc["spawner"][key] = value


def service(spec):
    for key in spec:
        known(key, SERVICE, f"service {spec.get('name')}")
    return {key: [value] if key == "command" and isinstance(value, str) else value for key, value in spec.items()}


def known(key, keys, where):
    if key not in keys:
        raise NoCounterpart(f"no counterpart for {where}.{key}")


# ---------------------------------------------------------------- TOML


def render(doc):
    lines = []
    for name, body in doc.items():
        if isinstance(body, list):
            for entry in body:
                lines += [f"[[{name}]]", *pairs(entry), ""]
        elif body:
            lines += [f"[{name}]", *pairs(body), ""]
    return "\n".join(lines)


def pairs(table):
    return [f"{json.dumps(key)} = {toml(value)}" for key, value in table.items() if value is not None]


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for this character, which JSON leaves bare
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(pairs(value)) + " }" if value else "{}"
    raise NoCounterpart(f"no TOML for {value!r}")
