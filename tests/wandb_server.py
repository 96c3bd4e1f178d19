"""As much of W&B's server as it takes to save a workspace."""

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SOMEONE = {"id": "1", "entity": "someone", "username": "someone", "flags": "{}", "email": "", "teams": {"edges": []}}


class Answers(BaseHTTPRequestHandler):
    """Says who is logged in, and keeps the workspaces that it is given, or refuses them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {}
        if self.path.endswith("graphql"):
            asked = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            answer = {"data": {"viewer": SOMEONE}}
            if "upsertView" in asked["query"]:
                answer = self.keep(asked["variables"])
        said = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def keep(self, view):
        if self.server.refuses:
            return {"data": None, "errors": [{"message": self.server.refuses}]}
        self.server.views.append(view)
        return {"data": {"upsertView": {"view": {"id": view.get("id", "new"), "name": view["name"]}, "inserted": True}}}

    def log_message(self, *args):
        """Nothing: the test's output is its own."""


@contextmanager
def wandb_server():
    """A server on a port of its own, with the list ``views`` and what it ``refuses`` them with."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.views, server.refuses = [], ""
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
