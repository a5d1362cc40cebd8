# The stock spawner looks for a free port and lets go of it before the server has it: of ten servers that start at once,
# beside everything else that tests do, two may be told the same one. Here each is bound, without listening, until the
# server's next start: the system gives it to nobody else, and a server, which sets SO_REUSEADDR, may bind it.
import socket

held = {}


def hold_a_port(spawner):
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("", 0))
    held[spawner.user.name, spawner.name] = holder
    spawner.port = holder.getsockname()[1]


c.Spawner.pre_spawn_hook = hold_a_port
