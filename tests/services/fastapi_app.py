"""A FastAPI application behind a hub: says who uses it, to programs with a token and to people with a cookie."""

import os
from urllib.parse import urlparse

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from jupyterhub.services.auth import HubOAuth

auth = HubOAuth(api_token=os.environ["JUPYTERHUB_API_TOKEN"], cache_max_age=1)
prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
app = FastAPI(openapi_url=prefix + "openapi.json", docs_url=None)
COOKIE = "fastapi-token"


class Stranger(Exception):
    """Somebody who has to log in first."""


@app.exception_handler(Stranger)
def to_login(request: Request, _: Stranger):
    state = auth.generate_state(next_url=request.url.path)
    answer = RedirectResponse(f"{auth.login_url}&state={state}", status_code=302)
    answer.set_cookie(auth.state_cookie_name, state, httponly=True)
    return answer


def user_of(request: Request):
    header = request.headers.get("Authorization", "")
    token = header.removeprefix("Bearer ") or request.cookies.get(COOKIE)
    user = auth.user_for_token(token) if token else None
    if user and any(scope in user["scopes"] for scope in auth.access_scopes):
        return user
    if header:
        raise HTTPException(403, "not with this token")
    raise Stranger


@app.get(prefix)
def who(user=Depends(user_of)):
    return {"name": user["name"], "by": "fastapi"}


@app.get(prefix + "oauth_callback")
def callback(request: Request, code: str, state: str):
    if request.cookies.get(auth.state_cookie_name) != state:
        raise HTTPException(403, "another state")
    answer = RedirectResponse(auth.get_next_url(state) or prefix, status_code=302)
    answer.set_cookie(COOKIE, auth.token_for_code(code), httponly=True, path=prefix)
    answer.delete_cookie(auth.state_cookie_name)
    return answer


if __name__ == "__main__":
    at = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    uvicorn.run(app, host=at.hostname, port=at.port, log_level="warning")
