//! The real restic, as judge.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::PASSWORD;

/// restic on one repository, with a cache and a password file of its own.
pub(crate) struct Restic {
    repository: PathBuf,
    private: tempfile::TempDir,
}

impl Restic {
    /// Fails the test when restic is not installed: a judge that is missing must not look like a verdict.
    pub(crate) fn new(repository: &Path) -> Self {
        let private = tempfile::tempdir().unwrap();
        std::fs::write(private.path().join("password"), PASSWORD).unwrap();
        let restic = Self { repository: repository.into(), private };
        let version = restic.try_run(&["version"]);
        assert!(version.status.success(), "these tests need restic (Debian package `restic`)");
        restic
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.try_run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "restic {arguments:?}: {errors}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        output.stdout
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        Command::new("restic")
            .args(arguments)
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD_FILE", self.private.path().join("password"))
            .env("RESTIC_CACHE_DIR", self.private.path().join("cache"))
            .output()
            .expect("these tests need restic (Debian package `restic`)")
    }

    /// Runs a command with `--json` and reads its answer.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_slice(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// `restic check --read-data` finds no error and has no complaint.
    pub(crate) fn check(&self) {
        let report = String::from_utf8(self.run(&["check", "--read-data"])).unwrap();
        assert!(report.contains("no errors were found"), "{report}");
    }
}
