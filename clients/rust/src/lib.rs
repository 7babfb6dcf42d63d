//! Reads through a Freshet sidecar, and past it when it is down.
//!
//! ```no_run
//! # async fn read(id: i64) -> Result<Option<String>, std::io::Error> { Ok(None) }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = freshet_client::Client::new()?;
//! let product = client.get_or_load("products", 7, |_| read(7)).await?.value;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever becomes of the sidecar, the loader is called and its value returned: no error of a read comes from the cache. What
//! can't be published is a [`PublishError`].

mod address;
mod answer;
mod client;
mod codec;
mod exchange;
mod fill;
mod health;
mod key;
mod publish;
mod read;

pub use address::BadAddress;
pub use answer::{Answer, Outcome, Status};
pub use client::{Client, Config, OnProblem};
pub use codec::{BoxError, Bytes, Cbor, Codec, Json};
pub use fill::Fill;
pub use key::{Key, Parameter, query_key, row, table, tag};
pub use publish::{Publication, PublishError, PublishProblem, Published};
pub use read::{Load, Read};
