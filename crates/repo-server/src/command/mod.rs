//! The commands.

mod credentials;
mod serve;

use std::path::PathBuf;

const USAGE: &str = "\
Keeps repositories that nobody can empty before their time.

  sendense-repository-server serve --config FILE
  sendense-repository-server fingerprint --certificate FILE
  sendense-repository-server credentials list --file FILE
  sendense-repository-server credentials add NAME --file FILE --role writer|keeper --repository NAME[,NAME…]
  sendense-repository-server credentials remove NAME --file FILE

`credentials add` asks for the password, or reads one line from its input; it is never an argument.
A server that is running knows changed credentials after `systemctl restart sendense-repository-server`.";

/// A sentence for whoever typed the command.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does what the arguments say.
pub(crate) async fn run(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", "--config", file] => serve::serve(&PathBuf::from(file)).await,
        ["fingerprint", "--certificate", file] => {
            let pem = std::fs::read_to_string(file)?;
            print(&sendense_repo_server::fingerprint(&pem)?)
        }
        ["credentials", "list", "--file", file] => credentials::list(&PathBuf::from(file)),
        ["credentials", "remove", name, "--file", file] => credentials::remove(&PathBuf::from(file), name),
        ["credentials", "add", name, "--file", file, "--role", role, "--repository", repositories] => {
            credentials::add(&PathBuf::from(file), name, role, repositories)
        }
        ["help" | "--help" | "-h"] => print(USAGE),
        _ => Err(USAGE.into()),
    }
}

/// Writes a line to the output.
fn print(line: &str) -> Result<(), Failure> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
