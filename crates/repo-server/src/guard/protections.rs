//! Until when each file is protected, in memory.

use std::collections::HashMap;

use sendense_storage::{FileId, FileKind};

use super::record::{Event, Record, kind_number};

/// Kind and the first 15 bytes of the id. Two files that share them would share the later of their times.
type Key = [u8; 16];

/// What the journal says: about 40 bytes a file.
#[derive(Debug, Default)]
pub(super) struct Protections {
    until: HashMap<Key, u64>,
    /// Before this, nothing is removed.
    floor: u64,
    /// The latest end of any protection.
    latest_until: u64,
    /// The longest window that was asked for, in seconds.
    window: u64,
    /// The latest time of any record.
    latest_written: u64,
}

impl Protections {
    pub(super) fn apply(&mut self, record: &Record) {
        self.latest_written = self.latest_written.max(record.written);
        match record.event {
            Event::Protect { kind, id, until } => {
                let known = self.until.entry(key(kind, &id)).or_default();
                *known = until.max(*known);
                self.latest_until = self.latest_until.max(until);
            }
            Event::Removed { kind, id } => {
                self.until.remove(&key(kind, &id));
            }
            Event::Floor { until } => {
                self.floor = self.floor.max(until);
                self.latest_until = self.latest_until.max(until);
            }
            Event::Window { seconds } => self.window = self.window.max(seconds),
        }
    }

    /// Until when a file is protected by its own record; `None` when there is none.
    pub(super) fn of_file(&self, kind: FileKind, id: &FileId) -> Option<u64> {
        self.until.get(&key(kind, id)).copied()
    }

    /// Whether a record still says something that no other record says.
    pub(super) fn is_needed(&self, record: &Record) -> bool {
        match record.event {
            Event::Protect { kind, id, until } => self.of_file(kind, &id) == Some(until),
            Event::Removed { .. } => false,
            Event::Floor { until } => self.floor == until,
            Event::Window { seconds } => self.window == seconds,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn latest_until(&self) -> u64 {
        self.latest_until
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    pub(super) fn latest_written(&self) -> u64 {
        self.latest_written
    }
}

fn key(kind: FileKind, id: &FileId) -> Key {
    let mut key = [0; 16];
    key[0] = kind_number(kind);
    if kind != FileKind::Config {
        key[1..].copy_from_slice(&id.as_bytes()[..15]);
    }
    key
}
