//! The webhook's certificates: our own authority, kept in a Secret, and a short leaf per replica.
//!
//! ```text
//! Secret {ca.crt, ca.key, previous.crt, previous.key}
//!    ├─ the Lease's holder: certificates ──► caBundle of the webhook configuration
//!    └─ every replica: signs a leaf in memory ──► TLS server     ▲ with one of these
//! ```
//!
//! Nobody signs with an authority that isn't published: each replica reads the caBundle and keeps to what is in it, so
//! that a Secret that was removed, restored or replaced changes nothing until the API server has been told. All times
//! are wall-clock times, because that is what certificates are judged by.

mod authority;
mod bundle;
mod keep;
mod pem;
mod secret;
#[cfg(test)]
mod tests;
mod trust;

pub use authority::{Authorities, Authority, CaError, Leaf, SETTLING};
pub use bundle::bundle;
pub use keep::{Serving, keep_bundle, keep_leaf};
pub use secret::{SecretError, SecretStore};
pub use trust::Trust;
