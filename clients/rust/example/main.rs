//! GET /products/{id} over Postgres, read through the sidecar.
//!
//! ```sh
//! DATABASE_URL=postgres://localhost/shop cargo run --package freshet-client --example products
//! ```

use std::{env, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use freshet_client::Client;
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;

#[derive(Serialize, Deserialize)]
struct Product {
    id: i32,
    name: String,
    price: String,
}

struct Shop {
    client: Client,
    database: tokio_postgres::Client,
}

impl Shop {
    async fn read_product(&self, id: i32) -> Result<Option<Product>, tokio_postgres::Error> {
        let query = "SELECT id, name, price::text FROM inventory.product WHERE id = $1";
        let row = self.database.query_opt(query, &[&id]).await?;
        // None: there is no such row.
        Ok(row.map(|row| Product { id: row.get(0), name: row.get(1), price: row.get(2) }))
    }
}

async fn product(State(shop): State<Arc<Shop>>, Path(id): Path<i32>) -> Response {
    match shop.client.get_or_load("products", id, |_fill| shop.read_product(id)).await {
        Ok(answer) => {
            let cache = [("x-cache", format!("{:?}", answer.status).to_lowercase())];
            match answer.value {
                Some(product) => (cache, Json(product)).into_response(),
                None => (StatusCode::NOT_FOUND, cache, "there is no such product").into_response(),
            }
        }
        // The database's: no error comes from the cache.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (database, connection) = tokio_postgres::connect(&env::var("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);
    let shop = Shop { client: Client::new()?, database };
    let app = Router::new().route("/products/{id}", get(product)).with_state(Arc::new(shop));
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    axum::serve(tokio::net::TcpListener::bind(listen).await?, app).await?;
    Ok(())
}
