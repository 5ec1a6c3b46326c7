//! The real restic, as judge.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::PASSWORD;

/// restic on one repository, with a cache and a password file of its own.
pub(crate) struct Restic {
    program: PathBuf,
    repository: PathBuf,
    private: tempfile::TempDir,
}

impl Restic {
    /// The restics of [`Self::each`].
    pub(crate) const VERSIONS: usize = 2;

    /// Debian's. Fails the test when it is not installed: a judge that is missing must not look like a verdict.
    pub(crate) fn new(repository: &Path) -> Self {
        Self::of(PathBuf::from("restic"), repository)
    }

    /// Debian's restic and a current one, which `infra/bootstrap.sh --checks` puts beside the project's tools.
    pub(crate) fn each(repository: &Path) -> Vec<Self> {
        let cache = std::env::var_os("SENDENSE_CACHE").map_or_else(
            || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/sendense"),
            PathBuf::from,
        );
        let current = cache.join("tools/bin/restic-current");
        let restics = vec![Self::new(repository), Self::of(current, repository)];
        assert_eq!(restics.len(), Self::VERSIONS);
        restics
    }

    fn of(program: PathBuf, repository: &Path) -> Self {
        let private = tempfile::tempdir().unwrap();
        std::fs::write(private.path().join("password"), PASSWORD).unwrap();
        let restic = Self { program, repository: repository.into(), private };
        let version = restic.try_run(&["version"]);
        assert!(version.status.success(), "these tests need {}", restic.program.display());
        restic
    }

    /// Opens the repository with another password from now on.
    pub(crate) fn set_password(&self, password: &str) {
        std::fs::write(self.private.path().join("password"), password).unwrap();
    }

    /// A disk that is cut into segments, by the command of `docs/design/repository-format.md`.
    pub(crate) fn dump_segments(&self, point: &str, path: &str) -> Vec<u8> {
        let mut command = self.command();
        command.args(["dump", "--archive", "tar", point, path]).stdout(Stdio::piped());
        let mut dump = command.spawn().unwrap();
        let tar = Command::new("tar").arg("-xO").stdin(dump.stdout.take().unwrap()).output().unwrap();
        assert!(dump.wait().unwrap().success() && tar.status.success());
        tar.stdout
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
        self.command().args(arguments).output().unwrap_or_else(|error| {
            panic!("these tests need {} (infra/bootstrap.sh --checks): {error}", self.program.display())
        })
    }

    /// The program on this repository.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD_FILE", self.private.path().join("password"))
            .env("RESTIC_CACHE_DIR", self.private.path().join("cache"));
        command
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
