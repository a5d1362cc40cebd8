"""A Flask application behind a hub: says who uses it. Its login is jupyterhub.services.auth.HubOAuth."""

import os
import secrets
from functools import wraps
from urllib.parse import urlparse

from flask import Flask, Response, jsonify, make_response, redirect, request, session
from jupyterhub.services.auth import HubOAuth

auth = HubOAuth(api_token=os.environ["JUPYTERHUB_API_TOKEN"], cache_max_age=1)
prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)


def for_users(page):
    @wraps(page)
    def guarded(*arguments, **named):
        token = session.get("token") or request.headers.get("Authorization", "").removeprefix("token ")
        user = auth.user_for_token(token) if token else None
        if user:
            return page(user, *arguments, **named)
        if "Authorization" in request.headers:
            return Response("not with this token", status=403)
        state = auth.generate_state(next_url=request.path)
        answer = make_response(redirect(f"{auth.login_url}&state={state}"))
        answer.set_cookie(auth.state_cookie_name, state)
        return answer

    return guarded


@app.route(prefix)
@for_users
def who(user):
    return jsonify({"name": user["name"], "by": "flask"})


@app.route(prefix + "oauth_callback")
def callback():
    state = request.args["state"]
    if request.cookies.get(auth.state_cookie_name) != state:
        return Response("another state", status=403)
    session["token"] = auth.token_for_code(request.args["code"])
    answer = make_response(redirect(auth.get_next_url(state) or prefix))
    answer.delete_cookie(auth.state_cookie_name)
    return answer


if __name__ == "__main__":
    at = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    app.run(host=at.hostname, port=at.port)
