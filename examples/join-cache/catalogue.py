"""Products with their categories, joined from MariaDB and read through the sidecar.

    GET /products        all of them
    GET /products/{id}   one
    GET /stock/{id}      how many pieces of it there are, from a third table

    pip install -r requirements.txt ../../clients/python
    DATABASE_URL=mysql://root@127.0.0.1:3306/inventory python catalogue.py
"""

import json
import os
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import freshet
import pymysql

JOINED = """
    SELECT p.id, p.name, CAST(p.price AS char) AS price, c.id AS category_id, c.name AS category
    FROM product p JOIN category c ON c.id = p.category_id
"""
LIST = JOINED + " ORDER BY p.id"
PAGE = JOINED + " WHERE p.id = %s"
STOCK = "SELECT product_id, pieces FROM stock WHERE product_id = %s"

client = freshet.Client()
address = urlsplit(os.environ["DATABASE_URL"])


def select(query, *parameters):
    """The rows that are committed now: on a connection of its own, and not in a transaction. One that was begun before the
    lease was given would read from its older snapshot (REPEATABLE READ is MariaDB's default)."""
    connection = pymysql.connect(
        host=address.hostname,
        port=address.port or 3306,
        user=unquote(address.username or "root"),
        password=unquote(address.password or ""),
        database=address.path.strip("/"),
        autocommit=True,
        cursorclass=pymysql.cursors.DictCursor,
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def products():
    """A list may change by any row of the tables it is made of: the binding says which tables these are."""
    return client.get_or_load("lists", freshet.query_key(LIST), lambda fill: select(LIST))


def product(number):
    """A page is made of two rows: the fill says which."""

    def load(fill):
        # Before it is known whether there is such a product: that there is none is cached, too, until its insert.
        fill.depends.append(freshet.row("inventory.product", number))
        rows = select(PAGE, number)
        # A category that isn't there is none of a product's: the foreign key sees to it.
        fill.depends += [freshet.row("inventory.category", row["category_id"]) for row in rows]
        return rows[0] if rows else None

    return client.get_or_load("pages", number, load)


def stock(number):
    """A row of its own: nothing has to be said of it."""
    return client.get_or_load("stock", number, lambda fill: next(iter(select(STOCK, number)), None))


def read(path):
    """What is at a path; `None`: nothing ever is."""
    match path.split("/"):
        case ["", "products"]:
            return products()
        case ["", "products", number] if is_number(number):
            return product(int(number))
        case ["", "stock", number] if is_number(number):
            return stock(int(number))


def is_number(text):
    return text.isascii() and text.isdigit() and len(text) < 10


class Catalogue(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            answer = read(self.path)
        except pymysql.MySQLError as error:
            # The database's: no error comes from the cache.
            self.log_error("%s", error)
            self.send_error(500, "the database failed")
            return
        if answer is None:
            self.send_error(404)
            return
        found = answer.value is not None
        body = json.dumps(answer.value if found else {"error": "there is no such product"}).encode() + b"\n"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # `hit`, `miss` and the like, and why.
        self.send_header("X-Cache", " ".join(filter(None, [answer.status, answer.detail])))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = os.environ.get("LISTEN", "127.0.0.1:8080").rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Catalogue).serve_forever()
