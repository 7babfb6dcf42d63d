/**
 * GET /products/{id} over Postgres, read through the sidecar. With Node 22.18 or newer, which runs TypeScript:
 *
 *     (cd .. && npm ci) && npm ci
 *     DATABASE_URL=postgres://localhost/shop node products.ts
 */

import { createServer } from "node:http";
import { Client } from "@freshet/client";
import pg from "pg";

interface Product {
  id: number;
  name: string;
  price: string;
}

const client = new Client();
const database = new pg.Pool({ connectionString: process.env["DATABASE_URL"]! });

async function readProduct(id: number): Promise<Product | undefined> {
  const query = "SELECT id, name, price::text FROM inventory.product WHERE id = $1";
  return (await database.query<Product>(query, [id])).rows[0]; // undefined: there is no such row
}

const server = createServer(async (request, response) => {
  const id = request.url?.match(/^\/products\/([0-9]{1,9})$/)?.[1];
  if (id === undefined) {
    response.writeHead(404).end();
    return;
  }
  try {
    const { value, status } = await client.getOrLoad("products", Number(id), () => readProduct(Number(id)));
    response.writeHead(value ? 200 : 404, { "Content-Type": "application/json", "X-Cache": status });
    response.end(JSON.stringify(value ?? { error: "there is no such product" }));
  } catch (error) {
    // The database's: the cache throws nothing.
    console.error(error);
    response.writeHead(500).end();
  }
});

const [host, port] = (process.env["LISTEN"] ?? "127.0.0.1:8080").split(":");
server.listen(Number(port), host);
