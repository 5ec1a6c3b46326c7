//! Places of repositories.

use std::time::{Duration, SystemTime};

use napi::Result;
use napi_derive::napi;
use sendense_engine::{
    AzureSettings, ProtectionMode, ProtectionPolicy, RestPlace, S3Settings, Secret, SftpPlace,
};

use crate::convert::{number, rejection, request_invalid, unsigned};

const DAY: Duration = Duration::from_hours(24);

/// See `RepositoryPlace` in packages/engine.
#[napi(discriminant = "type", discriminant_case = "lowercase", object_to_js = false)]
pub enum RepositoryPlace {
    /// A folder.
    Local {
        /// Absolute.
        path: String,
    },
    /// A bucket.
    #[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
    S3 {
        endpoint: String,
        region: String,
        bucket: String,
        prefix: Option<String>,
        access_key_id: String,
        secret_access_key: String,
        virtual_hosted: Option<bool>,
        ca_pem: Option<String>,
        object_lock: Option<ObjectLock>,
    },
    /// A container of Azure Blob Storage.
    #[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
    Azure {
        endpoint: Option<String>,
        account: String,
        account_key: String,
        container: String,
        prefix: Option<String>,
        ca_pem: Option<String>,
    },
    /// A server that speaks restic's REST protocol.
    #[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
    Rest { url: String, username: String, password: String, certificate_sha256: Option<String> },
    /// A folder of an SSH server.
    #[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
    Sftp {
        host: String,
        port: u32,
        username: String,
        path: String,
        private_key_pem: String,
        host_key: String,
    },
}

/// See `S3Place` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct ObjectLock {
    /// `governance` or `compliance`.
    pub mode: String,
    /// From the upload on.
    pub days: u32,
}

/// See `PlaceProbe` in packages/engine.
#[napi(object, object_from_js = false, use_nullable = true)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PlaceProbe {
    pub is_repository: bool,
    pub is_empty: bool,
    pub total_bytes: Option<i64>,
    pub free_bytes: Option<i64>,
    pub latency_ms: f64,
    pub is_durable: bool,
    pub clock_skew_ms: Option<i64>,
    pub object_lock: Option<ObjectLockProbe>,
}

/// See `PlaceProbe` in packages/engine.
#[napi(object, object_from_js = false, use_nullable = true)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct ObjectLockProbe {
    pub enabled: bool,
    pub mode: Option<String>,
    pub days: Option<f64>,
}

/// Tries a place out.
#[napi]
pub async fn probe_place(place: RepositoryPlace) -> Result<PlaceProbe> {
    let probe = sendense_engine::probe_place(&place.into_engine()?).await.map_err(rejection)?;
    Ok(PlaceProbe {
        is_repository: probe.is_repository,
        is_empty: probe.is_empty,
        total_bytes: probe.capacity.map(|capacity| number(capacity.total_bytes)),
        free_bytes: probe.capacity.map(|capacity| number(capacity.free_bytes)),
        latency_ms: probe.latency.as_secs_f64() * 1000.0,
        is_durable: probe.is_durable,
        clock_skew_ms: probe.clock_skew_ms,
        object_lock: probe.object_lock.map(|lock| ObjectLockProbe {
            enabled: lock.is_enabled,
            mode: lock.default.map(|(mode, _)| mode.to_string()),
            days: lock.default.map(|(_, window)| window.as_secs_f64() / DAY.as_secs_f64()),
        }),
    })
}

/// See `RepositoryLimits` in packages/engine.
#[napi(object, object_to_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepositoryLimits {
    pub read_bytes_per_second_max: Option<i64>,
    pub write_bytes_per_second_max: Option<i64>,
    pub quota_bytes: Option<i64>,
    pub reserve_bytes: Option<i64>,
}

/// See `RepositoryLocation` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct RepositoryLocation {
    /// Where.
    pub place: RepositoryPlace,
    /// Opens its key.
    pub password: String,
    /// What it may take.
    pub limits: Option<RepositoryLimits>,
}

impl RepositoryLocation {
    pub(crate) fn into_engine(
        self,
    ) -> Result<(sendense_engine::RepositoryPlace, sendense_engine::RepositoryLimits, Secret)> {
        let limits = self.limits.map(RepositoryLimits::into_engine).transpose()?.unwrap_or_default();
        Ok((self.place.into_engine()?, limits, Secret::new(self.password)))
    }
}

impl RepositoryPlace {
    fn into_engine(self) -> Result<sendense_engine::RepositoryPlace> {
        Ok(match self {
            Self::Local { path } => sendense_engine::RepositoryPlace::local(path),
            Self::S3 {
                endpoint,
                region,
                bucket,
                prefix,
                access_key_id,
                secret_access_key,
                virtual_hosted,
                ca_pem,
                object_lock,
            } => sendense_engine::RepositoryPlace::S3(S3Settings {
                endpoint,
                region,
                bucket,
                prefix: prefix.unwrap_or_default(),
                access_key_id,
                secret_access_key: Secret::new(secret_access_key),
                virtual_hosted: virtual_hosted.unwrap_or_default(),
                ca_pem,
                protection: object_lock.map(ObjectLock::into_engine).transpose()?,
                clock: SystemTime::now,
            }),
            Self::Azure { endpoint, account, account_key, container, prefix, ca_pem } => {
                sendense_engine::RepositoryPlace::Azure(AzureSettings {
                    endpoint,
                    account,
                    account_key: Secret::new(account_key),
                    container,
                    prefix: prefix.unwrap_or_default(),
                    ca_pem,
                    clock: SystemTime::now,
                })
            }
            Self::Rest { url, username, password, certificate_sha256 } => {
                let password = Secret::new(password);
                sendense_engine::RepositoryPlace::Rest(RestPlace {
                    url,
                    username,
                    password,
                    certificate_sha256,
                })
            }
            Self::Sftp { host, port, username, path, private_key_pem, host_key } => {
                let port = u16::try_from(port).map_err(|_| request_invalid("the port is not one"))?;
                let private_key = Secret::new(private_key_pem);
                sendense_engine::RepositoryPlace::Sftp(SftpPlace {
                    host,
                    port,
                    username,
                    path,
                    private_key,
                    host_key,
                })
            }
        })
    }
}

impl ObjectLock {
    fn into_engine(self) -> Result<ProtectionPolicy> {
        let mode = match self.mode.as_str() {
            "governance" => ProtectionMode::Governance,
            "compliance" => ProtectionMode::Compliance,
            mode => return Err(request_invalid(&format!("object lock has no mode {mode:?}"))),
        };
        Ok(ProtectionPolicy { mode, window: DAY * self.days })
    }
}

impl RepositoryLimits {
    fn into_engine(self) -> Result<sendense_engine::RepositoryLimits> {
        let whole = |name, bytes: Option<i64>| bytes.map(|bytes| unsigned(name, bytes)).transpose();
        Ok(sendense_engine::RepositoryLimits {
            read_bytes_per_second_max: whole("readBytesPerSecondMax", self.read_bytes_per_second_max)?,
            write_bytes_per_second_max: whole("writeBytesPerSecondMax", self.write_bytes_per_second_max)?,
            quota_bytes: whole("quotaBytes", self.quota_bytes)?,
            reserve_bytes: whole("reserveBytes", self.reserve_bytes)?,
        })
    }
}
