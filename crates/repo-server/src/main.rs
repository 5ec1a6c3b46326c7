//! `sendense-repository-server`: serves repositories, and manages the credentials for them.

mod command;

use std::io::Write;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command::run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If even that cannot be said, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
