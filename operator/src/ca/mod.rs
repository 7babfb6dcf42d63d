//! The webhook's certificates: our own authority, kept in a Secret, and a short leaf per replica.
//!
//! ```text
//! Secret {ca.crt, ca.key, previous.crt, previous.key}
//!    ├─ every replica: signs a leaf in memory ──► TLS server
//!    └─ the Lease's holder: certificates ──► caBundle of the webhook configuration
//! ```
//!
//! A new authority is published in the caBundle before anyone signs with it: [`Authorities::signer`] stays with the
//! previous one for [`PUBLISHING`]. All times are wall-clock times, because that is what certificates are judged by.

mod authority;
mod bundle;
mod keep;
mod pem;
mod secret;
#[cfg(test)]
mod tests;

pub use authority::{Authorities, Authority, CaError, Leaf, PUBLISHING};
pub use bundle::bundle;
pub use keep::{keep_bundle, keep_leaf};
pub use secret::{SecretError, SecretStore};
