//! The Secret that holds the authorities.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};

use super::{Authorities, CaError};
use crate::{errors::is_conflict, ours};

/// Why the authorities couldn't be loaded or stored.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server said no.
    #[error("the CA's Secret or the webhook configuration: {0}")]
    Api(#[from] kube::Error),
    /// A certificate couldn't be made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Others kept writing it.
    #[error("the CA's Secret was written by others again and again")]
    Contended,
}

/// Access to the Secret.
#[derive(Clone)]
pub struct SecretStore {
    api: Api<Secret>,
    name: String,
}

// === impl SecretStore ===

impl SecretStore {
    /// The Secret `name` in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// Loads the authorities, making the first if there is none. Whoever comes first wins; the others take what is
    /// there then.
    pub async fn load(&self, now: Timestamp) -> Result<Authorities, SecretError> {
        self.load_and(now, |_| Ok(None)).await
    }

    /// Loads the authorities and renews them if that is due. Only for the Lease's holder.
    pub async fn load_renewed(&self, now: Timestamp) -> Result<Authorities, SecretError> {
        self.load_and(now, |authorities| authorities.renewed(now)).await
    }

    async fn load_and(
        &self,
        now: Timestamp,
        change: impl Fn(&Authorities) -> Result<Option<Authorities>, CaError>,
    ) -> Result<Authorities, SecretError> {
        // Twice is enough for two replicas that start together; more is for a crowd.
        for _ in 0..5 {
            let stored = self.api.get_opt(&self.name).await?;
            let read = stored.as_ref().map(|secret| Authorities::read(&data(secret))).transpose();
            let next = match read {
                Ok(Some(authorities)) => match change(&authorities)? {
                    None => return Ok(authorities),
                    Some(next) => next,
                },
                Ok(None) => Authorities::first(now)?,
                Err(error) => {
                    tracing::warn!(%error, secret = self.name, "the CA's Secret is not usable and is made anew");
                    Authorities::first(now)?
                }
            };
            match self.store(stored.as_ref(), &next).await {
                Ok(()) => {
                    tracing::info!(secret = self.name, not_after = %next.not_after(), "stored a new CA");
                    return Ok(next);
                }
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SecretError::Contended)
    }

    /// Creates the Secret, or replaces exactly the version that was read.
    async fn store(&self, read: Option<&Secret>, authorities: &Authorities) -> Result<(), kube::Error> {
        let mut metadata = ObjectMeta {
            name: Some(self.name.clone()),
            labels: Some(ours::labels()),
            resource_version: read.and_then(|secret| secret.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        };
        if let Some(read) = read {
            metadata.annotations.clone_from(&read.metadata.annotations);
            metadata.owner_references.clone_from(&read.metadata.owner_references);
        }
        let secret = Secret { metadata, string_data: Some(authorities.write()), ..Secret::default() };
        let parameters = PostParams { field_manager: Some(ours::MANAGER.into()), ..PostParams::default() };
        match read {
            None => self.api.create(&parameters, &secret).await.map(drop),
            Some(_) => self.api.replace(&self.name, &parameters, &secret).await.map(drop),
        }
    }
}

fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
