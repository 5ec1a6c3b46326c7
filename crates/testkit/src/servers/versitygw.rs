//! versitygw: an S3 server on a folder, with versions and object lock.

use std::fs;
use std::io;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::ServerProcess;
use super::process::run;
use crate::tls_files::TlsFiles;

/// An S3 server. Its keys are for tests only.
#[derive(Debug)]
pub struct Versitygw {
    process: ServerProcess,
    scheme: &'static str,
}

impl Versitygw {
    /// The access key that may do everything.
    pub const ACCESS_KEY_ID: &str = "owner";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &str = "owner-secret";
    /// The region that its requests are signed for.
    pub const REGION: &str = "us-east-1";

    /// Starts a server without buckets.
    ///
    /// # Errors
    /// When versitygw is not installed or does not start.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("http", None).await
    }

    /// The same behind TLS, with the server certificate of `files`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_tls(files: &TlsFiles) -> io::Result<Self> {
        Self::start_with("https", Some(files)).await
    }

    async fn start_with(scheme: &'static str, tls: Option<&TlsFiles>) -> io::Result<Self> {
        let process = ServerProcess::start(|folder, port| {
            for name in ["buckets", "versions", "accounts"] {
                fs::create_dir_all(folder.join(name))?;
            }
            let mut command = Command::new("versitygw");
            command
                .env("ROOT_ACCESS_KEY", Self::ACCESS_KEY_ID)
                .env("ROOT_SECRET_KEY", Self::SECRET_ACCESS_KEY);
            command.args(["--quiet", "--keep-alive", "--port", &format!("127.0.0.1:{port}")]);
            command.arg("--iam-dir").arg(folder.join("accounts"));
            if let Some(files) = tls {
                command.arg("--cert").arg(files.folder().join("server-cert.pem"));
                command.arg("--key").arg(files.folder().join("server-key.pem"));
            }
            command
                .arg("posix")
                .arg("--versioning-dir")
                .arg(folder.join("versions"))
                .arg(folder.join("buckets"));
            Ok(command)
        });
        Ok(Self { process: process.await?, scheme })
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.process.port())
    }

    /// Makes a bucket without versions.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_bucket(&self, name: &str) -> io::Result<()> {
        self.request("PUT", name, &[], "").await.map(|_| ())
    }

    /// Makes a bucket with versions and object lock.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_locked_bucket(&self, name: &str) -> io::Result<()> {
        self.request("PUT", name, &["x-amz-bucket-object-lock-enabled: true"], "").await.map(|_| ())
    }

    /// Makes an account that may do in one bucket what is listed, for example `s3:GetObject`. Its secret is
    /// its name and `-secret`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_account(&self, name: &str, bucket: &str, actions: &[&str]) -> io::Result<()> {
        let mut command = Command::new("versitygw");
        command.env("ADMIN_ACCESS_KEY", Self::ACCESS_KEY_ID).env("ADMIN_SECRET_KEY", Self::SECRET_ACCESS_KEY);
        command.env("ADMIN_ENDPOINT_URL", self.endpoint()).args(["admin", "create-user", "--role", "user"]);
        command.args(["--access", name, "--secret", &format!("{name}-secret")]);
        run(command).await?;
        let actions: Vec<_> = actions.iter().map(|action| format!("\"{action}\"")).collect();
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"{name}","Action":[{}],"Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}"#,
            actions.join(",")
        );
        self.request("PUT", &format!("{bucket}?policy="), &[], &policy).await.map(|_| ())
    }

    /// Any request as the owner, by a client that is not ours. Names in a query without a value end with `=`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> io::Result<String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--insecure", "--request", method]);
        command.args(["--aws-sigv4", &format!("aws:amz:{}:s3", Self::REGION)]);
        command.args(["--user", &format!("{}:{}", Self::ACCESS_KEY_ID, Self::SECRET_ACCESS_KEY)]);
        command.args(["--data-binary", body, "--header", "content-type: application/octet-stream"]);
        let hash = hex::encode(Sha256::digest(body));
        command.args(["--header", &format!("x-amz-content-sha256: {hash}")]);
        for header in headers {
            command.args(["--header", header]);
        }
        command.arg(format!("{}/{path}", self.endpoint()));
        run(command).await
    }
}
