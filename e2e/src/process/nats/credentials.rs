//! Accounts and a user as NATS signs them: JWTs of an operator, two accounts and a user, and the user's `.creds` file.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// What the server is told, and the user.
#[derive(Debug)]
pub(super) struct Signed {
    /// The operator whom the server trusts.
    operator: String,
    /// The public keys and JWTs of the account that the user belongs to, and of the server's own.
    account: (String, String),
    system: (String, String),
    /// The user's file.
    pub(super) file: String,
}

impl Signed {
    /// A new operator, who trusts nobody else.
    pub(super) fn new() -> Result<Self> {
        let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
        let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1
        });
        // The server's own account can't have streams, and has none without these.
        let mut with_streams = unlimited.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            with_streams[limit] = json!(-1);
        }
        let of_account = |limits| json!({"type": "account", "limits": limits});
        let of_user = json!({"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let user_jwt = jwt("freshet", &user, &account, of_user)?;
        let seed = user.seed()?;
        Ok(Self {
            operator: jwt("operator", &operator, &operator, json!({"type": "operator"}))?,
            account: (account.public_key(), jwt("shop", &account, &operator, of_account(with_streams))?),
            system: (system.public_key(), jwt("system", &system, &operator, of_account(unlimited))?),
            file: format!(
                "-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            ),
        })
    }

    /// What stands in the server's file.
    pub(super) fn settings(&self) -> String {
        let [(account, account_jwt), (system, system_jwt)] = [&self.account, &self.system];
        format!(
            "operator: {}\nsystem_account: {system}\nresolver: MEMORY\n\
             resolver_preload {{\n{account}: {account_jwt}\n{system}: {system_jwt}\n}}\n",
            self.operator
        )
    }
}

/// What `issuer` says of `subject`.
fn jwt(name: &str, subject: &KeyPair, issuer: &KeyPair, mut nats: Value) -> Result<String> {
    nats["version"] = json!(2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("before 1970")?.as_secs();
    let claims = json!({
        "jti": name, "iat": now, "iss": issuer.public_key(), "name": name, "sub": subject.public_key(), "nats": nats
    });
    let encode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let said = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = issuer.sign(said.as_bytes())?;
    Ok(format!("{said}.{}", encode(&signature)))
}
