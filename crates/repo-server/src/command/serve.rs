//! `serve`

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use sendense_repo_server::{
    Config, CredentialsFile, Log, RepositoryOptions, Server, ServerOptions, fingerprint, tls_config,
};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;

/// Serves until the process is told to stop.
pub(super) async fn serve(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path)?;
    let log: Log = Arc::new(|line| {
        // A log that nobody takes must not stop the server.
        let _ = writeln!(std::io::stderr(), "{line}");
    });
    let credentials: CredentialsFile = serde_json::from_str(&read_private(&config.credentials)?)
        .map_err(|error| format!("{} is not valid: {error}", config.credentials.display()))?;
    let mut options = ServerOptions::new(config.listen, credentials, Arc::clone(&log));
    if let Some(files) = &config.tls {
        let certificate = std::fs::read_to_string(&files.certificate)
            .map_err(|error| format!("Cannot read {}: {error}", files.certificate.display()))?;
        options.tls = Some(tls_config(&certificate, &read_private(&files.key)?)?);
        log(&format!("certificate {}", fingerprint(&certificate)?));
    }
    for (name, repository) in &config.repositories {
        let (folder, rules) = (repository.folder.clone(), repository.rules());
        options.repositories.insert(name.clone(), RepositoryOptions { folder, rules, checks_names: true });
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let server = Server::start(options).await?;
    log(&format!("listening on {}", server.address()));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    server.stop().await;
    log("stopped");
    Ok(())
}

/// Reads a file that holds secrets, and refuses one that all users of the machine can read or change.
fn read_private(path: &Path) -> Result<String, Failure> {
    let fail = |error: std::io::Error| format!("Cannot read {}: {error}", path.display());
    let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
    if mode & 0o007 != 0 || mode & 0o020 != 0 {
        return Err(format!("{} is open to others: chmod 0640", path.display()).into());
    }
    Ok(std::fs::read_to_string(path).map_err(fail)?)
}
