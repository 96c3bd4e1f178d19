"""Whether Weights & Biases can be written to: a key and a server that answers. Imports nothing slow."""

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import ParseResult, urlparse
from urllib.request import getproxies

CLOUD = ("api.forge.coreweave.com", "api.wandb.ai")  # W&B's own server by its present and its former name; one key
SECONDS = 3.0  # to wait for the server; W&B itself would wait for a minute and a half


def out_of_reach() -> str | None:
    """Why nothing can be written to the server, None where it can: there is no key for it, or it does not answer."""
    server = _server()
    host, port = server.hostname or "", server.port or (443 if server.scheme == "https" else 80)
    if not has_key():
        return f"there is no key for {host}"
    return None if _reachable(host, port) else f"{host} does not answer"


def _server() -> ParseResult:
    return urlparse(os.environ.get("WANDB_BASE_URL", f"https://{CLOUD[0]}"))


def has_key() -> bool:
    """Whether there is a key for the server, in the environment or where ``wandb login`` leaves it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = _server()
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        known = netrc.netrc(file)
    except (OSError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(name) for name in (CLOUD if server.hostname in CLOUD else (server.netloc,)))


def _reachable(host: str, port: int) -> bool:
    if getproxies():
        return True  # the way out is the proxy's, which a plain connection says nothing about
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except OSError:
        return False
    return True
