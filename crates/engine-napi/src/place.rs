//! Places of repositories.

use napi::Result;
use napi_derive::napi;
use sendense_engine::Secret;

use crate::convert::unsigned;

/// See `RepositoryPlace` in packages/engine.
#[napi(discriminant = "type", discriminant_case = "lowercase", object_to_js = false)]
pub enum RepositoryPlace {
    /// A folder.
    Local {
        /// Absolute.
        path: String,
    },
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
        Ok((self.place.into_engine(), limits, Secret::new(self.password)))
    }
}

impl RepositoryPlace {
    fn into_engine(self) -> sendense_engine::RepositoryPlace {
        match self {
            Self::Local { path } => sendense_engine::RepositoryPlace::local(path),
        }
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
