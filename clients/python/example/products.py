"""GET /products/{id} over Postgres, read through the sidecar.

    pip install -r requirements.txt ..
    DATABASE_URL=postgres://localhost/shop python products.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import freshet
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

client = freshet.Client()
database = ConnectionPool(os.environ["DATABASE_URL"], kwargs={"row_factory": dict_row, "autocommit": True})


def read_product(number):
    with database.connection() as connection:
        query = "SELECT id, name, price::text FROM inventory.product WHERE id = %s"
        return connection.execute(query, [number]).fetchone()  # None: there is no such row


class Products(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        _, folder, number = ("/" + self.path).rsplit("/", 2)
        if folder != "products" or not (number.isascii() and number.isdigit() and len(number) < 10):
            self.send_error(404)
            return
        number = int(number)
        answer = client.get_or_load("products", number, lambda fill: read_product(number))
        body = json.dumps(answer.value or {"error": "there is no such product"}).encode()
        self.send_response(200 if answer.value else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Cache", answer.status)
        self.end_headers()
        self.wfile.write(body)


host, port = os.environ.get("LISTEN", "127.0.0.1:8080").rsplit(":", 1)
ThreadingHTTPServer((host, int(port)), Products).serve_forever()
