//! Requests and answers over a running `ssh`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sendense_storage::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::clock::ServerClock;
use crate::failure::{Failure, Outcome, excerpt};
use crate::ssh::classify;
use crate::wire::{Reply, Request, VERSION, kind, read_packet};

/// Requests that wait for being sent; whoever has more waits too.
const QUEUE_LEN: usize = 64;
const WORDS_BYTES_MAX: u64 = 4 << 10;
const WORDS_LIMIT: Duration = Duration::from_secs(5);

/// One connection. The `ssh` ends when this is dropped.
pub(crate) struct Session {
    requests: mpsc::Sender<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: AtomicU32,
    extensions: Vec<Bytes>,
    pub(crate) clock: ServerClock,
    /// Aborted when it is dropped; the child goes with the task that has it.
    _tasks: JoinSet<()>,
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting {
    answers: HashMap<u32, oneshot::Sender<Reply>>,
    /// Why there will be no more answers.
    broken: Option<Failure>,
}

impl Session {
    /// Greets the server.
    pub(crate) async fn start(mut child: Child) -> Outcome<Self> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(stderr)) = pipes else {
            return Err(Failure::new(ErrorKind::Other, "ssh has no pipes"));
        };
        let words = tokio::spawn(listen(stderr));
        // If this fails, ssh has ended and said why.
        let _ = stdin.write_all(&greeting()).await;
        let mut reply = match read_packet(&mut stdout).await {
            Some(reply) if reply.kind == kind::VERSION => reply,
            _ => return Err(classify(&last_words(&mut child, words).await)),
        };
        if reply.u32()? < VERSION {
            return Err(Failure::new(ErrorKind::Other, "the server speaks an SFTP that is too old"));
        }
        let mut extensions = Vec::new();
        while !reply.is_empty() {
            extensions.push(reply.string()?);
            reply.string()?;
        }
        let (requests, queue) = mpsc::channel(QUEUE_LEN);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(send(stdin, queue));
        tasks.spawn(receive(child, stdout, words, Arc::clone(&waiting)));
        Ok(Self {
            requests,
            waiting,
            next_id: AtomicU32::new(0),
            extensions,
            clock: ServerClock::default(),
            _tasks: tasks,
        })
    }

    pub(crate) fn is_broken(&self) -> bool {
        lock(&self.waiting).broken.is_some()
    }

    pub(crate) fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|extension| extension == name)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&self, request: Request) -> Outcome<Reply> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if let Some(failure) = &waiting.broken {
                return Err(failure.clone());
            }
            waiting.answers.insert(id, sender);
        }
        // If nobody takes it any more, nobody answers either.
        let _ = self.requests.send(request.seal(id)).await;
        match answer.await {
            Ok(reply) => Ok(reply),
            Err(_) => Err(lock(&self.waiting).broken.clone().unwrap_or_else(|| broken(b""))),
        }
    }
}

fn greeting() -> Vec<u8> {
    [&5_u32.to_be_bytes()[..], &[kind::INIT], &VERSION.to_be_bytes()].concat()
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(packet) = queue.recv().await {
        if stdin.write_all(&packet).await.is_err() {
            return;
        }
    }
}

async fn receive(
    mut child: Child,
    mut stdout: ChildStdout,
    words: JoinHandle<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
) {
    while let Some(mut reply) = read_packet(&mut stdout).await {
        let Ok(id) = reply.u32() else { break };
        // Nobody waits for the answer of an operation that was given up.
        if let Some(answer) = lock(&waiting).answers.remove(&id) {
            let _ = answer.send(reply);
        }
    }
    let failure = broken(&last_words(&mut child, words).await);
    let mut waiting = lock(&waiting);
    waiting.broken = Some(failure);
    waiting.answers.clear();
}

fn broken(words: &[u8]) -> Failure {
    let words = excerpt(words);
    let colon = if words.is_empty() { "" } else { ": " };
    Failure::new(ErrorKind::Unreachable, format!("the connection broke off{colon}{words}"))
}

/// Ends ssh and returns what it said.
async fn last_words(child: &mut Child, words: JoinHandle<Vec<u8>>) -> Vec<u8> {
    // It usually has ended by itself.
    let _ = child.kill().await;
    timeout(WORDS_LIMIT, words).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Keeps the beginning of what is said, and lets nobody wait who says more.
async fn listen(mut stderr: ChildStderr) -> Vec<u8> {
    let mut words = Vec::new();
    if (&mut stderr).take(WORDS_BYTES_MAX).read_to_end(&mut words).await.is_ok() {
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    words
}
