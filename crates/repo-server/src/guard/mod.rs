//! The guard: says until when a file must not be removed, and remembers it.
//!
//! It never makes a time earlier. What it does not know is protected from the moment it learns of it, and where its
//! journal is missing or damaged, everything is.

mod journal;
mod protections;
mod record;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_storage::{FileId, FileKind};

use crate::clock::{Clock, GuardClock, to_seconds, to_time};
use journal::{Journal, Opened};
use record::{Event, Record};

/// The rules of one repository.
#[derive(Clone, Copy, Debug)]
pub struct GuardRules {
    /// How long a new file is protected. Zero protects nothing.
    pub window: Duration,
    /// Nobody can protect a file for longer than this from now on.
    pub protection_max: Duration,
}

/// What the guard found when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuardStart {
    /// Records of its journal that somebody, or the disk, has changed.
    pub(crate) damaged_records: u64,
    /// Set when everything is protected anew, because the journal was missing or damaged.
    pub(crate) everything_until: Option<SystemTime>,
}

/// Why a time was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It is later than anybody may ask for.
    #[error("No protection may end later than {}", crate::answer::date(*.0))]
    TooLong(SystemTime),
    /// A window can be made longer, not shorter.
    #[error("The window is {0} seconds, and can only be made longer")]
    Shorter(u64),
    /// The journal could not be written.
    #[error(transparent)]
    Journal(#[from] io::Error),
}

/// The guard of one repository.
#[derive(Debug)]
pub(crate) struct Guard {
    journal: Journal,
    clock: GuardClock,
    rules: GuardRules,
}

impl Guard {
    /// Reads the journal in `folder`. `has_files` says that there is something to protect: without a journal,
    /// all of it is taken as written now.
    pub(crate) async fn open(
        folder: &Path,
        rules: GuardRules,
        clock: Arc<dyn Clock>,
        has_files: bool,
    ) -> io::Result<(Self, GuardStart)> {
        let path = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || Journal::open(&path)).await;
        let Opened { journal, is_new, damaged_records } = opened.map_err(io::Error::other)??;
        let clock = GuardClock::new(clock, journal.look(protections::Protections::latest_written));
        let guard = Self { journal, clock, rules };
        let mut start = GuardStart { damaged_records, everything_until: None };
        if (is_new && has_files || damaged_records > 0) && guard.window() > 0 {
            let until = guard.clock.for_promises() + guard.window();
            guard.record(Event::Floor { until }).await?;
            start.everything_until = Some(to_time(until));
        }
        Ok((guard, start))
    }

    /// Seconds for which a new file is protected.
    pub(crate) fn window(&self) -> u64 {
        self.rules.window.as_secs().max(self.journal.look(protections::Protections::window))
    }

    /// Now, as the guard reckons it when it promises something.
    pub(crate) fn now(&self) -> SystemTime {
        to_time(self.clock.for_promises())
    }

    /// The end of the longest protection that can be asked for now.
    pub(crate) fn protection_max(&self) -> Duration {
        self.rules.protection_max
    }

    /// Protects a file that is about to get its name. Until when; `None` where nothing is protected.
    pub(crate) async fn protect_new(&self, kind: FileKind, id: &FileId) -> io::Result<Option<SystemTime>> {
        if kind == FileKind::Lock || self.window() == 0 {
            return Ok(None);
        }
        let until = self.clock.for_promises() + self.window();
        self.record(Event::Protect { kind, id: *id, until }).await?;
        Ok(Some(to_time(self.until(kind, id))))
    }

    /// Until when a file that exists is protected; a time that has passed is no protection.
    pub(crate) async fn protection(&self, kind: FileKind, id: &FileId) -> io::Result<Option<SystemTime>> {
        if kind == FileKind::Lock {
            return Ok(None);
        }
        let known = self.journal.look(|protections| protections.of_file(kind, id));
        if known.is_none() && self.window() > 0 {
            // Nobody can say since when it is here: since now, then.
            let until = self.clock.for_promises() + self.window();
            self.record(Event::Protect { kind, id: *id, until }).await?;
        }
        let until = self.until(kind, id);
        Ok((until > self.clock.for_release()).then(|| to_time(until)))
    }

    /// Protects a file that exists for longer. Returns what is then in force.
    pub(crate) async fn extend(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<SystemTime>, Refused> {
        let latest = self.clock.for_promises() + self.rules.protection_max.as_secs();
        if to_seconds(until) > latest {
            return Err(Refused::TooLong(to_time(latest)));
        }
        let before = self.protection(kind, id).await?;
        if kind != FileKind::Lock && before.is_none_or(|before| before < until) {
            self.record(Event::Protect { kind, id: *id, until: to_seconds(until) }).await?;
        }
        Ok(self.protection(kind, id).await?)
    }

    /// Remembers that a file is gone, so that the journal need not know it any longer.
    pub(crate) async fn removed(&self, kind: FileKind, id: &FileId) -> io::Result<()> {
        if self.journal.look(|protections| protections.of_file(kind, id)).is_none() {
            return Ok(());
        }
        self.record(Event::Removed { kind, id: *id }).await
    }

    /// Makes the window longer, for good.
    pub(crate) async fn lengthen_window(&self, seconds: u64) -> Result<u64, Refused> {
        let now = self.window();
        if seconds < now {
            return Err(Refused::Shorter(now));
        }
        if seconds > self.rules.protection_max.as_secs() {
            return Err(Refused::TooLong(self.now() + self.rules.protection_max));
        }
        self.record(Event::Window { seconds }).await?;
        Ok(self.window())
    }

    /// Config and keys open all other files, so they are protected as long as any of them.
    fn until(&self, kind: FileKind, id: &FileId) -> u64 {
        self.journal.look(|protections| match kind {
            FileKind::Config | FileKind::Key => protections.latest_until(),
            _ => protections.of_file(kind, id).unwrap_or_default().max(protections.floor()),
        })
    }

    async fn record(&self, event: Event) -> io::Result<()> {
        self.journal.append(Record { event, written: self.clock.for_promises() }).await
    }
}

#[cfg(test)]
mod tests;
