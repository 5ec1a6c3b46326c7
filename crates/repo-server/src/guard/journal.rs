//! The journal: a file of records that only grows, and is read when the server starts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::protections::Protections;
use super::record::{RECORD_BYTES, Record};
use crate::answer::copy_of;

/// Records that are made durable with one sync at most.
const BATCH_MAX: usize = 1024;
/// A journal is written anew when it holds more records than this beyond twice those that are needed.
const SURPLUS_MAX: u64 = 4096;

/// What was found when the journal was opened.
pub(super) struct Opened {
    pub(super) journal: Journal,
    /// There was no journal.
    pub(super) is_new: bool,
    /// Whole records that are damaged: somebody, or the disk, has changed them.
    pub(super) damaged_records: u64,
}

/// Appends records. One that [`Self::append`] returned from survives a power cut.
#[derive(Debug)]
pub(super) struct Journal {
    orders: Sender<Order>,
    protections: Arc<Mutex<Protections>>,
}

struct Order {
    record: Record,
    done: oneshot::Sender<io::Result<()>>,
}

impl Journal {
    /// Reads the journal in `folder`, which is made if it is missing, and keeps it locked.
    pub(super) fn open(folder: &Path) -> io::Result<Opened> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = folder.join("journal");
        let (mut file, mut is_new) = (open_file(&path)?, false);
        file.try_lock().map_err(|_| io::Error::other("another server keeps this repository"))?;
        let (protections, counts) = read(&file)?;
        if counts.whole == 0 && counts.damaged == 0 {
            is_new = true;
        }
        // What is left of a record whose writer died before it was promised to anybody.
        file.set_len((counts.whole + counts.damaged) * RECORD_BYTES as u64)?;
        if counts.whole > 2 * protections.len() as u64 + SURPLUS_MAX {
            file = rewrite(&file, &path, &protections)?;
        }
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
        let protections = Arc::new(Mutex::new(protections));
        let (orders, received) = channel();
        let shared = Arc::clone(&protections);
        std::thread::Builder::new()
            .name("guard-journal".into())
            .spawn(move || Writer { file, shared, is_broken: false }.run(&received))?;
        let journal = Self { orders, protections };
        Ok(Opened { journal, is_new, damaged_records: counts.damaged })
    }

    /// Makes a record durable and then valid.
    pub(super) async fn append(&self, record: Record) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send(Order { record, done }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Looks something up.
    pub(super) fn look<T>(&self, question: impl FnOnce(&Protections) -> T) -> T {
        question(&self.protections.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that keeps the journal is gone")
}

/// The thread that writes. Many records that arrive together cost one sync.
struct Writer {
    file: File,
    shared: Arc<Mutex<Protections>>,
    /// After a failed sync nobody knows what the disk holds: only reading it again tells.
    is_broken: bool,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(orders.try_iter()).take(BATCH_MAX).collect();
            let result = self.write(&batch);
            if result.is_ok() {
                let mut protections = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                for order in &batch {
                    protections.apply(&order.record);
                }
            }
            for order in batch {
                // Who no longer waits does not need the answer.
                let _ = order.done.send(result.as_ref().copied().map_err(copy_of));
            }
        }
    }

    fn write(&mut self, batch: &[Order]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(
                "the journal could not be synced; the server must be started again",
            ));
        }
        let end = self.file.seek(SeekFrom::End(0))?;
        let bytes: Vec<u8> = batch.iter().flat_map(|order| order.record.encode()).collect();
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a record must not stand before the next one.
            self.is_broken = self.file.set_len(end).is_err();
            return Err(error);
        }
        self.file.sync_data().inspect_err(|_| self.is_broken = true)
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

struct Counts {
    whole: u64,
    damaged: u64,
}

fn read(file: &File) -> io::Result<(Protections, Counts)> {
    let (mut protections, mut counts) = (Protections::default(), Counts { whole: 0, damaged: 0 });
    for_each_record(file, |record| {
        match record {
            Some(record) => {
                protections.apply(&record);
                counts.whole += 1;
            }
            None => counts.damaged += 1,
        }
        Ok(())
    })?;
    Ok((protections, counts))
}

fn for_each_record(
    mut file: &File,
    mut each: impl FnMut(Option<Record>) -> io::Result<()>,
) -> io::Result<()> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut bytes = [0; RECORD_BYTES];
    loop {
        match reader.read_exact(&mut bytes) {
            Ok(()) => each(Record::decode(&bytes))?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Writes the records that are needed into a new journal, which takes the place of the old one.
fn rewrite(old: &File, path: &Path, protections: &Protections) -> io::Result<File> {
    let new_path = PathBuf::from(format!("{}.new", path.display()));
    match fs::remove_file(&new_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let new = open_file(&new_path)?;
    new.try_lock().map_err(|_| io::Error::other("another server keeps this repository"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, &new);
    for_each_record(old, |record| match record.filter(|record| protections.is_needed(record)) {
        Some(record) => writer.write_all(&record.encode()),
        None => Ok(()),
    })?;
    writer.flush()?;
    drop(writer);
    new.sync_all()?;
    fs::rename(&new_path, path)?;
    Ok(new)
}
