//! What the Hub does with requests that are wrong, by accident or on purpose.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod lab;

use std::time::Duration;

use lab::raw_node::{Answer, RawNode, chunks_body, raw_frame, read_answer};
use lab::{CHUNK, CHUNK_LEN, Lab, capture, commit_options, mixed_disk, noise, source};
use sendense_engine::wire::{Accepted, Codec, Coverage, Entry, Finish, FrameHeader, Offer, Open, disk_path};
use sendense_engine::{Areas, CaptureSession, ChunkId, Code};
use tokio::io::AsyncWriteExt;

/// A session with one disk of one chunk, opened, for a Node that can say anything.
struct Opened {
    lab: Lab,
    session: CaptureSession,
    node: RawNode,
}

impl Opened {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let session = lab.begin().await;
        session.begin_disk("2000", CHUNK, None).await.unwrap();
        let node = RawNode::of(&lab.data_plane, &session);
        let open = Open { size_bytes: CHUNK, coverage: Coverage::Complete };
        assert_eq!(node.open(&open).await.status, 200);
        Self { lab, session, node }
    }

    async fn offer(&self, plain: &[u8]) -> Answer {
        self.node.offer(&offer_of(&[ChunkId::of(plain)])).await
    }

    async fn send(&self, frames: &[(FrameHeader, &[u8])]) -> Answer {
        self.node.post("chunks", &chunks_body(1, frames)).await
    }

    /// The session still works: the right chunk goes in, and the disk can be committed.
    async fn expect_recovery(self, plain: &[u8]) {
        assert_eq!(self.offer(plain).await.status, 200);
        assert_eq!(self.send(&[(raw_frame(plain), plain)]).await.status, 200);
        let finish = Finish { attempt: 1, offered_chunks: 1, zero_chunks: 0 };
        let finished = self.node.post("finish", &serde_json::to_vec(&finish).unwrap()).await;
        assert_eq!(finished.status, 200, "{finished:?}");
        let point = self.session.commit(commit_options()).await.unwrap();
        assert!(self.lab.restore(&point, "2000").await == plain);
    }
}

fn offer_of(ids: &[ChunkId]) -> Offer {
    let entries = ids.iter().map(|id| Entry { index: 0, id: *id }).collect();
    Offer { attempt: 1, number: 1, entries, zero_runs: Vec::new() }
}

fn assert_problem(answer: &Answer, code: Code) {
    assert_eq!((answer.status, answer.code().as_str()), (code.http_status(), code.as_str()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_do_not_have_the_hash_are_refused_and_not_stored() {
    let opened = Opened::new().await;
    let plain = noise(1, CHUNK_LEN);
    opened.offer(&plain).await;
    let mut tampered = plain.clone();
    tampered[CHUNK_LEN / 2] ^= 1;
    assert_problem(&opened.send(&[(raw_frame(&plain), &tampered)]).await, Code::ChunkHashMismatch);
    opened.expect_recovery(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decompression_bomb_is_refused() {
    let opened = Opened::new().await;
    let plain = noise(2, CHUNK_LEN);
    opened.offer(&plain).await;
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
    let stored_bytes = u32::try_from(bomb.len()).unwrap();
    let header = FrameHeader { stored_bytes, codec: Codec::Zstd, ..raw_frame(&plain) };
    assert_problem(&opened.send(&[(header, &bomb)]).await, Code::ChunkMalformed);
    opened.expect_recovery(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_too_large_or_not_offered_are_refused() {
    let opened = Opened::new().await;
    let plain = noise(3, CHUNK_LEN);
    opened.offer(&plain).await;
    let large = noise(3, CHUNK_LEN + 1);
    let header = FrameHeader { id: ChunkId::of(&plain), ..raw_frame(&large) };
    assert_problem(&opened.send(&[(header, &large)]).await, Code::FrameTooLarge);
    let other = noise(4, CHUNK_LEN);
    assert_problem(&opened.send(&[(raw_frame(&other), &other)]).await, Code::ChunkMalformed);
    let mut body = chunks_body(1, &[(raw_frame(&plain), &plain)]);
    body[12 + 40] = 9;
    assert_problem(&opened.node.post("chunks", &body).await, Code::ChunkMalformed);
    opened.expect_recovery(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_its_limit_is_refused() {
    let opened = Opened::new().await;
    for (operation, length) in [("chunks", 17 << 20), ("offer", 60_000), ("open", 17_000)] {
        let answer = opened.node.post(operation, &vec![0; length]).await;
        assert_problem(&answer, Code::FrameTooLarge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_the_session_whole() {
    let opened = Opened::new().await;
    let plain = noise(5, CHUNK_LEN);
    opened.offer(&plain).await;
    let body = chunks_body(1, &[(raw_frame(&plain), &plain)]);
    for sent in [0, 7, 12, 30, 56, 57, CHUNK_LEN / 2] {
        let mut stream = opened.node.begin(&disk_path("job-7", "2000", "chunks"), body.len()).await;
        stream.write_all(&body[..sent]).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    // One that ends where it says, in the middle of a frame.
    let answer = opened.node.post("chunks", &body[..body.len() - 1]).await;
    assert_problem(&answer, Code::ChunkMalformed);
    let longer = [&body[..], b"x"].concat();
    assert_problem(&opened.node.post("chunks", &longer).await, Code::ChunkMalformed);
    opened.expect_recovery(&plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_another_version_and_other_nonsense_are_refused() {
    let opened = Opened::new().await;
    let mut offer = offer_of(&[ChunkId::of(b"x")]).encode().to_vec();
    offer[3] = b'2';
    assert_problem(&opened.node.post("offer", &offer).await, Code::ProtocolMismatch);
    assert_problem(&opened.node.post("offer", b"SDO1").await, Code::ChunkMalformed);
    assert_problem(&opened.node.post("open", b"{").await, Code::ChunkMalformed);
    let path = disk_path("job-7", "2000", "open");
    assert_problem(&opened.node.post_to(&path.replace("/v1/", "/v2/"), b"{}").await, Code::ProtocolMismatch);
    assert_problem(&opened.node.post_to("/data/v1/captures/job-7", b"{}").await, Code::RequestInvalid);
    assert_problem(&opened.node.post_to("/", b"{}").await, Code::RequestInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_ticket_nothing_is_told() {
    let Opened { lab, session, mut node } = Opened::new().await;
    assert_problem(&node.post_to(&disk_path("job-8", "2000", "open"), b"{}").await, Code::CaptureUnknown);
    assert_problem(&node.post_to(&disk_path("job-7", "2001", "open"), b"{}").await, Code::CaptureUnknown);
    let right = std::mem::take(&mut node.ticket);
    for ticket in ["", "x", &right[1..], &right.to_lowercase()] {
        node.ticket = ticket.to_owned();
        assert_problem(&node.post("open", b"{}").await, Code::TicketInvalid);
        assert_problem(&node.post_to(&disk_path("job-8", "2000", "open"), b"{}").await, Code::TicketInvalid);
    }
    node.ticket = right;
    session.abort().await.unwrap();
    assert_problem(&node.post("open", b"{}").await, Code::TicketInvalid);
    drop(lab);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_expires_at_its_time() {
    let lab = Lab::new().await;
    let session = lab.begin_with(|options| options.ticket_lifetime = Duration::from_millis(300)).await;
    session.begin_disk("2000", CHUNK, None).await.unwrap();
    let node = RawNode::of(&lab.data_plane, &session);
    let open = Open { size_bytes: CHUNK, coverage: Coverage::Complete };
    assert_eq!(node.open(&open).await.status, 200);
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_problem(&node.open(&open).await, Code::TicketInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sees_another_disk_than_the_plan_is_refused() {
    let lab = Lab::new().await;
    let disk = mixed_disk(1, 3);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64 + 512, None).await.unwrap();
    session.begin_disk("2001", disk.len() as u64, None).await.unwrap();
    for (key, areas) in [("2000", Areas::Whole), ("2001", Areas::Changed(Vec::new()))] {
        let error = capture(source(&disk), &lab.options(&session, key, areas)).await.unwrap_err();
        assert_eq!(error.code(), Code::CaptureMismatch, "{key}");
    }
    let mut options = lab.options(&session, "2001", Areas::Whole);
    options.chunk_bytes *= 2;
    assert_eq!(capture(source(&disk), &options).await.unwrap_err().code(), Code::CaptureMismatch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_sends_nothing_to_a_hub_with_another_certificate() {
    let lab = Lab::new().await;
    let session = lab.begin().await;
    let disk = mixed_disk(1, 3);
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    options.target.certificate = "ab".repeat(32).parse().unwrap();
    let begin = std::time::Instant::now();
    let error = capture(source(&disk), &options).await.unwrap_err();
    assert_eq!(error.code(), Code::HubCertificateMismatch);
    assert!(!error.is_temporary() && begin.elapsed() < Duration::from_secs(2), "it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_holds_up_nobody() {
    let opened = Opened::new().await;
    let plain = noise(6, CHUNK_LEN);
    opened.offer(&plain).await;
    let body = chunks_body(1, &[(raw_frame(&plain), &plain)]);
    let mut slow = opened.node.begin(&disk_path("job-7", "2000", "chunks"), body.len()).await;
    slow.write_all(&body[..100]).await.unwrap();
    slow.flush().await.unwrap();
    opened.expect_recovery(&plain).await;
    // The session is committed, so the slow request is told so instead of being waited for.
    assert_problem(&read_answer(slow).await, Code::TicketInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_before_a_wrong_one_are_stored() {
    let opened = Opened::new().await;
    let (plain, other) = (noise(8, CHUNK_LEN), noise(9, CHUNK_LEN));
    opened.node.offer(&offer_of(&[ChunkId::of(&plain), ChunkId::of(&other)])).await;
    let frames = [(raw_frame(&plain), plain.as_slice()), (raw_frame(&other), plain.as_slice())];
    assert_problem(&opened.send(&frames).await, Code::ChunkHashMismatch);
    let again = opened.offer(&plain).await;
    let wanted = sendense_engine::wire::Answer::decode(&again.body, 1).unwrap().0;
    assert_eq!(wanted, [false], "it is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_when_the_memory_is_just_enough_for_one_chunk() {
    let opened = Opened::new().await;
    let plain = noise(10, CHUNK_LEN);
    opened.offer(&plain).await;
    let frames = [(raw_frame(&plain), plain.as_slice()); 3];
    let body = chunks_body(1, &frames);
    // Of 64 MiB, slow Nodes hold all but one chunk.
    let mut slow = Vec::new();
    for _ in 0..(64 << 20) / CHUNK_LEN - 1 {
        let mut stream = opened.node.begin(&disk_path("job-7", "2000", "chunks"), body.len()).await;
        stream.write_all(&body[..100]).await.unwrap();
        stream.flush().await.unwrap();
        slow.push(stream);
    }
    let answer = opened.send(&frames).await;
    let accepted: Accepted = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((accepted.accepted, accepted.new_bytes), (3, CHUNK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_kept() {
    let lab = Lab::new().await;
    let session = lab.begin_with(|options| options.bytes_per_second_max = Some(4 << 20)).await;
    let disk = noise(7, 8 << 20);
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let report = capture(source(&disk), &lab.options(&session, "2000", Areas::Whole)).await.unwrap();
    assert!(report.duration > Duration::from_millis(1700), "8 MiB at 4 MiB/s took {:?}", report.duration);
    assert!(report.duration < Duration::from_secs(6), "8 MiB at 4 MiB/s took {:?}", report.duration);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_uses_is_aborted_by_itself() {
    let lab = Lab::new().await;
    let session = lab.begin_with(|options| options.idle_timeout = Duration::from_millis(400)).await;
    session.begin_disk("2000", CHUNK, None).await.unwrap();
    let node = RawNode::of(&lab.data_plane, &session);
    let open = Open { size_bytes: CHUNK, coverage: Coverage::Complete };
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(node.open(&open).await.status, 200, "a request keeps it open");
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!session.is_open());
    assert_problem(&node.open(&open).await, Code::TicketInvalid);
    assert_eq!(session.commit(commit_options()).await.unwrap_err().code(), Code::CaptureUnknown);
}
