"""A tornado application behind a hub: says who uses it. Its login is HubOAuthenticated, and it asks for consent."""

import asyncio
import os
from urllib.parse import urlparse

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import Application, RequestHandler, authenticated


class Who(HubOAuthenticated, RequestHandler):
    @authenticated
    def get(self):
        user = self.get_current_user()
        self.write({"name": user["name"], "scopes": user["scopes"], "by": "tornado"})


async def main():
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    at = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    routes = [(prefix + "oauth_callback", HubOAuthCallbackHandler), (prefix, Who)]
    Application(routes, cookie_secret=os.urandom(32)).listen(at.port, at.hostname)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
