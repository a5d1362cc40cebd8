"""A service that a hub runs: it says who visits it, and as whom its own token is known."""

import json
import os
from urllib.parse import urlsplit

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado import httpclient, ioloop, web

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class Visitor(HubOAuthenticated, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.write({"visitor": self.current_user["name"]})


class Itself(web.RequestHandler):
    async def get(self):
        answer = await httpclient.AsyncHTTPClient().fetch(
            os.environ["JUPYTERHUB_API_URL"] + "/user",
            headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]},
        )
        known = json.loads(answer.body)
        self.write({"kind": known["kind"], "name": known["name"]})


address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
web.Application(
    [
        (PREFIX, Visitor),
        (PREFIX + "itself", Itself),
        (PREFIX + "oauth_callback", HubOAuthCallbackHandler),
    ],
    # The same after a restart, so that a visitor's cookie holds for as long as the hub stands by it.
    cookie_secret=os.environ["WHOAMI_SECRET"],
).listen(address.port, address.hostname)
ioloop.IOLoop.current().start()
