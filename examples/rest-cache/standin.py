"""A stand-in for GitHub's API, with an organisation and repositories that are made up.

    GET /orgs/example/repos?per_page=30&page=2      in the shape, the pages and the headers of GitHub's

What GitHub has nothing of:

    GET /made-up                    {"asked": how many requests there were}
    PUT /made-up                    {"status": 503} is what it answers from then on; {"max_age": 2}: for how long its answers are fresh
    PUT /made-up/repos/{name}       {"stargazers_count": 1000} and the like: changes a repository

    python standin.py
"""

import json
import os
import threading
import time
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAMES = "apple pear plum quince cherry medlar sloe damson rowan hazel walnut almond chestnut fig grape olive lemon orange".split()
KINDS = ["api", "cli", "docs", "operator"]
LANGUAGES = ["Go", "Rust", "Python", "TypeScript", None]


def repository(number):
    """One of them. Its numbers are scattered, and always the same."""
    name = f"{NAMES[number % len(NAMES)]}-{KINDS[number // len(NAMES) % len(KINDS)]}"
    lot = int.from_bytes(sha256(name.encode()).digest()[:8], "big")
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=lot % 400_000)
    times = [(moment - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in (900, 0, 1)]
    stars, forks, issues = lot % 50_021, lot % 5_003, lot % 1_009
    return {
        "id": 1_000_000 + number,
        "name": name,
        "full_name": f"example/{name}",
        "private": False,
        "owner": {"login": "example", "id": 1, "type": "Organization", "url": "https://api.github.com/users/example"},
        "html_url": f"https://github.com/example/{name}",
        "description": f"Made up: {name}",
        "fork": False,
        "url": f"https://api.github.com/repos/example/{name}",
        "created_at": times[0],
        "updated_at": times[1],
        "pushed_at": times[2],
        "size": lot % 90_001,
        "stargazers_count": stars,
        "watchers_count": stars,
        "language": LANGUAGES[lot % len(LANGUAGES)],
        "forks_count": forks,
        "archived": lot % 7 == 0,
        "disabled": False,
        "open_issues_count": issues,
        "license": {"key": "apache-2.0", "name": "Apache License 2.0", "spdx_id": "Apache-2.0"},
        "topics": ["made-up"],
        "visibility": "public",
        "default_branch": "main",
    }


lock = threading.Lock()
repositories = [repository(number) for number in range(len(NAMES) * len(KINDS))]
service = {"status": 200, "max_age": 60, "asked": 0}


class StandIn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/made-up":
            self.answer(200, {"asked": service["asked"]})
            return
        with lock:
            service["asked"] += 1
        if service["status"] != 200:
            self.answer(service["status"], {"message": "made up"})
        elif url.path == "/orgs/example/repos":
            self.page(parse_qs(url.query))
        else:
            self.answer(404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"})

    def do_PUT(self):
        changes = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        *folder, name = self.path.strip("/").split("/")
        if self.path == "/made-up":
            target = service
        elif folder == ["made-up", "repos"]:
            target = next((item for item in repositories if item["name"] == name), None)
        else:
            target = None
        with lock:
            if target is not None:
                target.update(changes)
        self.answer(404 if target is None else 200, target)

    def page(self, query):
        size = min(int(query.get("per_page", ["30"])[0]), 100)
        number = int(query.get("page", ["1"])[0])
        with lock:
            items = [dict(item) for item in repositories[(number - 1) * size : number * size]]
        last = -(-len(repositories) // size)
        root = f"http://{self.headers['Host']}/orgs/example/repos?per_page={size}&page="
        links = [(number + 1, "next"), (last, "last")] if number < last else [(1, "first"), (number - 1, "prev")]
        links = ", ".join(f'<{root}{page}>; rel="{relation}"' for page, relation in links)
        self.answer(200, items, {"Link": links, "Cache-Control": f"public, max-age={service['max_age']}, s-maxage=60"})

    def answer(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'W/"{sha256(body).hexdigest()}"')
        self.send_header("X-RateLimit-Limit", "5000")
        self.send_header("X-RateLimit-Remaining", "4999")
        self.send_header("X-RateLimit-Reset", str(int(time.time()) + 3600))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Every refresh would be a line."""


if __name__ == "__main__":
    host, port = os.environ.get("LISTEN", "127.0.0.1:18090").rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), StandIn).serve_forever()
