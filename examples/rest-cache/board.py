"""The repositories of an organisation, by four orders: what the sidecar's views have.

    GET /               the first five of each
    GET /{view}?n=20    the first of one, as JSON

    FRESHET_URL=http://127.0.0.1:3737 python board.py
"""

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

VIEWS = {
    "most-stars": "stargazers_count",
    "most-forks": "forks_count",
    "most-issues": "open_issues_count",
    "latest": "updated_at",
}

sidecar = os.environ.get("FRESHET_URL", "http://127.0.0.1:3737")
# Proxies of the environment aren't for a neighbour.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def view(name, query):
    """Status, headers and body, whether it has the view or says why not."""
    try:
        with http.open(f"{sidecar}/v1/views/{quote(name, safe='')}{query}", timeout=15) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as problem:
        with problem:
            return problem.code, problem.headers, problem.read()
    except URLError as error:
        return 503, {"Retry-After": "1"}, json.dumps({"detail": str(error.reason)}).encode()


def first_of(name, column):
    """A paragraph, and whether it is all there."""
    status, headers, body = view(name, "?n=5")
    value = json.loads(body)
    if status != 200:
        return False, f"{name}: {value['detail']}\n"
    lines = [f"{item[column]:>20}  {item['full_name']}\n" for item in value]
    return True, f"{name} ({headers['Cache-Status']})\n{''.join(lines)}"


class Board(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        if path == "/":
            parts = [first_of(name, column) for name, column in VIEWS.items()]
            status = 200 if all(whole for whole, _ in parts) else 503
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            body = "\n".join(text for _, text in parts).encode()
        elif path[1:] in VIEWS:
            status, headers, body = view(path[1:], f"?{query}" if query else "")
        else:
            self.send_error(404)
            return
        self.send_response(status)
        for name in ("Content-Type", "Cache-Status", "Retry-After"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = os.environ.get("LISTEN", "127.0.0.1:8080").rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Board).serve_forever()
