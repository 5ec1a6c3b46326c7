//! The Hub's listener.

use std::sync::Arc;

use napi::Result;
use napi_derive::napi;
use sendense_engine::ListenOptions;
use zeroize::Zeroizing;

use crate::convert::{rejection, request_invalid, unsigned};

/// See `DataPlaneOptions` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct DataPlaneOptions {
    /// Address to bind.
    pub host: String,
    /// 0 for any free port.
    pub port: u16,
    /// Certificate chain, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub private_key_pem: String,
}

/// A running listener.
#[napi]
pub struct DataPlane(pub(crate) Arc<sendense_engine::DataPlane>);

/// A limit that several sessions share.
#[napi]
pub struct RateLimit(pub(crate) Arc<sendense_engine::RateLimit>);

/// Makes a limit; `null` is none.
#[napi]
pub fn create_rate_limit(bytes_per_second: Option<i64>) -> Result<RateLimit> {
    Ok(RateLimit(Arc::new(sendense_engine::RateLimit::new(rate(bytes_per_second)?))))
}

#[napi]
impl RateLimit {
    /// Changes the rate for all who share it; `null` is none.
    #[napi]
    pub fn set_rate(&self, bytes_per_second: Option<i64>) -> Result<()> {
        self.0.set_rate(rate(bytes_per_second)?);
        Ok(())
    }
}

fn rate(bytes_per_second: Option<i64>) -> Result<Option<u64>> {
    bytes_per_second.map(|bytes| unsigned("bytesPerSecond", bytes)).transpose()
}

/// Starts listening.
#[napi]
pub async fn listen_data_plane(options: DataPlaneOptions) -> Result<DataPlane> {
    let private_key_pem = Zeroizing::new(options.private_key_pem);
    let host = options.host.parse().map_err(|_| request_invalid("The host must be an IP address"))?;
    let options =
        ListenOptions { host, port: options.port, certificate_pem: options.certificate_pem, private_key_pem };
    Ok(DataPlane(Arc::new(sendense_engine::DataPlane::listen(options).await.map_err(rejection)?)))
}

#[napi]
impl DataPlane {
    /// The port it listens on.
    #[napi(getter)]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// What Nodes pin.
    #[napi(getter, js_name = "certificateSha256")]
    pub fn certificate_sha256(&self) -> String {
        self.0.certificate().to_string()
    }

    /// Stops listening.
    #[napi]
    pub async fn close(&self) -> Result<()> {
        self.0.close().await;
        Ok(())
    }
}
