//! Who we are, for locks, keys and restore points.

/// The name of this machine.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The user we run as; its number where it has no name in the environment.
pub(crate) fn username() -> String {
    std::env::var("USER").unwrap_or_else(|_| uid().to_string())
}

pub(crate) fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

pub(crate) fn gid() -> u32 {
    rustix::process::getgid().as_raw()
}

pub(crate) fn pid() -> u32 {
    std::process::id()
}

/// Whether a process of this machine is alive. Whatever we cannot tell counts as alive.
pub(crate) fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // A signal of another user's process is refused, but only if the process is there.
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_has_ended() {
        assert!(is_alive(pid()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!is_alive(child.id()));
    }
}
