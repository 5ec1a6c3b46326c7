//! `credentials …`

use std::fs::{File, OpenOptions};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use sendense_repo_server::{Credential, CredentialsFile, Role};
use zeroize::Zeroizing;

use super::{Failure, print};

const PASSWORD_BYTES_MAX: u64 = 4096;

/// Adds a credential, or gives one that exists a new password.
pub(super) fn add(file: &Path, name: &str, role: &str, repositories: &str) -> Result<(), Failure> {
    let role = match role {
        "writer" => Role::Writer,
        "keeper" => Role::Keeper,
        _ => return Err(format!("{role:?} is no role: writer or keeper").into()),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err("The name of a credential consists of letters, digits and . _ -".into());
    }
    let mut credentials = load(file)?;
    let password = read_password()?;
    let repositories = repositories.split(',').map(str::to_owned).collect();
    credentials.insert(name.to_owned(), Credential::new(role, repositories, &password)?);
    save(file, &credentials)
}

/// Removes a credential.
pub(super) fn remove(file: &Path, name: &str) -> Result<(), Failure> {
    let mut credentials = load(file)?;
    credentials.remove(name).ok_or_else(|| format!("There is no credential {name:?} in the file"))?;
    save(file, &credentials)
}

/// Prints names, roles and repositories.
pub(super) fn list(file: &Path) -> Result<(), Failure> {
    for (name, credential) in load(file)? {
        print(&format!("{name}  {}  {}", credential.role, credential.repositories.join(",")))?;
    }
    Ok(())
}

fn load(file: &Path) -> Result<CredentialsFile, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(serde_json::from_str(&text)
            .map_err(|error| format!("{} is not valid: {error}", file.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(CredentialsFile::new()),
        Err(error) => Err(format!("Cannot read {}: {error}", file.display()).into()),
    }
}

/// Replaces the file in one step. Owner and group of the old file are kept where that is allowed.
fn save(file: &Path, credentials: &CredentialsFile) -> Result<(), Failure> {
    let new_path = PathBuf::from(format!("{}.new", file.display()));
    let _left_by_a_run_that_broke_off = std::fs::remove_file(&new_path);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new_path)?;
    if let Ok(old) = std::fs::metadata(file) {
        use std::os::unix::fs::MetadataExt;
        std::os::unix::fs::fchown(&new, Some(old.uid()), Some(old.gid()))?;
    }
    new.write_all(&serde_json::to_vec_pretty(credentials)?)?;
    new.write_all(b"\n")?;
    new.sync_all()?;
    std::fs::rename(&new_path, file)?;
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}

/// One line of the input; on a terminal it is asked for and not shown.
fn read_password() -> Result<Zeroizing<String>, Failure> {
    let input = std::io::stdin();
    let is_terminal = input.is_terminal();
    let shown = if is_terminal { Some(tcgetattr(&input)?) } else { None };
    if let Some(shown) = &shown {
        write!(std::io::stderr(), "Password: ")?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    }
    let mut line = Zeroizing::new(String::new());
    let read = input.lock().take(PASSWORD_BYTES_MAX).read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&input, OptionalActions::Flush, shown)?;
        writeln!(std::io::stderr())?;
    }
    read?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
