//! Certificates of a small authority, made by openssl for one test.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder with an authority, a server certificate for `localhost`, 127.0.0.1 and `*.blob.test.example`, and a
/// client certificate.
/// The file names are those that nbdkit and qemu expect.
pub struct TlsFiles(TempDir);

impl TlsFiles {
    /// Makes all keys and certificates anew.
    ///
    /// # Errors
    /// When openssl is not installed or fails; then with its words.
    pub fn generate() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
        let authority = ["req", "-x509", "-subj", "/CN=Test authority", "-addext", "keyUsage=keyCertSign"];
        let out = ["-keyout", "ca-key.pem", "-out", "ca-cert.pem"];
        openssl(folder.path(), &[&authority[..], &key, &out].concat())?;
        let signed = ["-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=CA:FALSE"];
        for (name, extension) in [
            ("server", "subjectAltName=DNS:localhost,DNS:*.blob.test.example,IP:127.0.0.1"),
            ("client", "extendedKeyUsage=clientAuth"),
        ] {
            let (subject, key_file) = (format!("/CN={name}"), format!("{name}-key.pem"));
            let certificate_file = format!("{name}-cert.pem");
            let request = ["req", "-x509", "-subj", &subject, "-addext", extension];
            let out = ["-keyout", &key_file, "-out", &certificate_file];
            openssl(folder.path(), &[&request[..], &signed, &key, &out].concat())?;
        }
        Ok(Self(folder))
    }

    /// The folder, for servers.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The authority's certificate, for clients.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.0.path().join("ca-cert.pem")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.0.path().join("client-cert.pem")
    }

    /// The client's key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.0.path().join("client-key.pem")
    }

    /// SHA-256 of the server's certificate in DER form, in hexadecimal digits.
    ///
    /// # Errors
    /// When openssl fails.
    pub fn server_fingerprint(&self) -> io::Result<String> {
        let arguments = ["x509", "-in", "server-cert.pem", "-noout", "-fingerprint", "-sha256"];
        let words = openssl(self.folder(), &arguments)?;
        let digits = words.rsplit('=').next().unwrap_or_default();
        Ok(digits.chars().filter(char::is_ascii_hexdigit).collect())
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> io::Result<String> {
    let done = Command::new("openssl").args(arguments).current_dir(folder).stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(io::Error::other(format!("openssl failed: {}", String::from_utf8_lossy(&done.stderr))))
}
