c.JupyterHub.active_server_limit = 2
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.named_server_limit_per_user = 1
c.JupyterHub.token_expires_in_max_seconds = 3600
c.Spawner.options_form = "<input name=a>"
