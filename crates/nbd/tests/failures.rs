//! Servers that fail, hang, die or lie while they are read.
#![allow(clippy::unwrap_used, reason = "A test stops at what it does not expect.")]

mod peers;

use std::time::{Duration, Instant};

use futures::future::join_all;
use peers::{Asked, Export, Liar, chunk, connect, data, hole, negotiate, next_request, options, simple};
use sendense_nbd::{Client, Errno, Error, Violation};
use sendense_testkit::nbd_server::NbdServer;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn an_error_of_the_disk_is_told_with_its_place_and_the_connection_goes_on() {
    let failing = ["--filter=error", "memory", "4M", "error-pread=EIO", "error-pread-rate=50%"];
    let server = NbdServer::nbdkit(&failing).await.unwrap();
    let client = connect(&server).await;
    let mut failures = 0;
    for index in 0..64 {
        match client.read(index * 4096, 4096).await {
            Ok(bytes) => assert_eq!(bytes, [0; 4096].as_slice()),
            Err(Error::Server { errno: Errno::Io, offset, length: 4096, .. }) => {
                assert_eq!(offset, index * 4096);
                failures += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!((1..64).contains(&failures), "{failures}");
}

#[tokio::test]
async fn a_server_that_dies_fails_all_who_wait_at_once() {
    let mut server = NbdServer::nbdkit(&["--filter=delay", "memory", "4M", "rdelay=30"]).await.unwrap();
    let mut options = options(&server);
    options.connections = 3;
    options.force_multi_conn = true;
    options.max_in_flight_bytes = 64 << 10;
    let client = Client::connect(options).await.unwrap();
    let begin = Instant::now();
    // More than fit into the budget, so that some wait for the wire and some for the others.
    let reads = join_all((0..32).map(|index| client.read(index * 4096, 4096)));
    let (results, ()) = tokio::join!(reads, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.kill().await.unwrap();
    });
    assert!(results.iter().all(|result| matches!(result, Err(Error::Disconnected { .. }))), "{results:?}");
    let later = client.read(0, 512).await.unwrap_err();
    assert!(later.is_temporary(), "{later}");
    client.close().await;
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = NbdServer::nbdkit(&["--filter=delay", "memory", "4M", "rdelay=30"]).await.unwrap();
    let mut options = options(&server);
    options.request_timeout = Duration::from_millis(200);
    let client = Client::connect(options).await.unwrap();
    let begin = Instant::now();
    let error = client.read(0, 512).await.unwrap_err();
    assert!(matches!(error, Error::RequestTimeout { .. }) && error.is_temporary(), "{error}");
    assert!(matches!(client.read(0, 512).await, Err(Error::RequestTimeout { .. })));
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_budget_held_by_a_hung_server_is_freed_although_nobody_waits_for_its_answers() {
    let server = NbdServer::nbdkit(&["--filter=delay", "memory", "4M", "rdelay=30"]).await.unwrap();
    let mut options = options(&server);
    options.request_timeout = Duration::from_millis(200);
    options.max_in_flight_bytes = 64 << 10;
    let client = Client::connect(options).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), client.read(0, 64 << 10)).await.is_err());
    let error = tokio::time::timeout(Duration::from_secs(5), client.read(0, 512)).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::RequestTimeout { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_of_its_data_is_given_up() {
    let liar = Liar::telling(|mut stream| async move {
        negotiate(&mut stream, Export::default()).await;
        let asked = next_request(&mut stream).await.unwrap();
        let whole = data(true, asked.cookie, asked.offset, &vec![1; 65_536]);
        stream.write_all(&whole[..40_000]).await.unwrap();
        tokio::time::sleep(Duration::from_mins(1)).await;
    });
    let mut options = liar.options();
    options.request_timeout = Duration::from_millis(200);
    let client = Client::connect(options).await.unwrap();
    let error = client.read(0, 65_536).await.unwrap_err();
    assert!(matches!(error, Error::RequestTimeout { .. }), "{error}");
}

/// The error that a read of 4096 bytes at 8192 ends with.
async fn read_of(answer: impl Fn(Asked) -> Option<Vec<u8>> + Clone + Send + Sync + 'static) -> Error {
    let liar = Liar::answering(answer);
    let client = Client::connect(liar.options()).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), client.read(8192, 4096));
    read.await.unwrap().map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn replies_that_are_cut_short_are_a_lost_connection() {
    for kept in [0, 4, 15, 16, 19, 20, 27, 28, 1000, 4123] {
        let liar = Liar::telling(move |mut stream| async move {
            negotiate(&mut stream, Export::default()).await;
            let asked = next_request(&mut stream).await.unwrap();
            let whole = data(true, asked.cookie, asked.offset, &[1; 4096]);
            stream.write_all(&whole[..kept]).await.unwrap();
        });
        let client = Client::connect(liar.options()).await.unwrap();
        let error = client.read(8192, 4096).await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }) && error.is_temporary(), "{kept}: {error}");
    }
}

#[tokio::test]
async fn pieces_in_any_order_with_holes_between_give_the_right_bytes() {
    let liar = Liar::answering(|asked| {
        let start = asked.offset;
        let pieces = [
            data(false, asked.cookie, start + 3000, &[3; 1000]),
            hole(false, asked.cookie, start + 4000, 96),
            data(false, asked.cookie, start, &[1; 1000]),
            hole(false, asked.cookie, start + 2000, 1000),
            data(false, asked.cookie, start + 1000, &[2; 1000]),
            chunk(true, 0, asked.cookie, &[]),
        ];
        Some(pieces.concat())
    });
    let client = Client::connect(liar.options()).await.unwrap();
    let expected = [vec![1; 1000], vec![2; 1000], vec![0; 1000], vec![3; 1000], vec![0; 96]].concat();
    assert_eq!(client.read(8192, 4096).await.unwrap(), expected);
}

#[tokio::test]
async fn replies_to_many_requests_may_come_in_any_order() {
    let liar = Liar::telling(|mut stream| async move {
        negotiate(&mut stream, Export::default()).await;
        let mut asked = Vec::new();
        for _ in 0..10 {
            asked.push(next_request(&mut stream).await.unwrap());
        }
        for asked in asked.iter().rev() {
            let mark = u8::try_from(asked.offset / 4096).unwrap();
            stream.write_all(&data(false, asked.cookie, asked.offset, &[mark; 100])).await.unwrap();
        }
        for asked in asked {
            let mark = u8::try_from(asked.offset / 4096).unwrap();
            stream.write_all(&data(true, asked.cookie, asked.offset + 100, &[mark; 3996])).await.unwrap();
        }
        next_request(&mut stream).await;
    });
    let client = Client::connect(liar.options()).await.unwrap();
    let reads = join_all((0..10).map(|index| client.read(index * 4096, 4096))).await;
    for (read, mark) in reads.into_iter().zip(0..) {
        assert_eq!(read.unwrap(), [mark; 4096].as_slice());
    }
}

#[tokio::test]
async fn replies_that_do_not_fit_the_request_end_the_connection() {
    type Lie = fn(Asked) -> Vec<u8>;
    let lies: [(&str, Lie); 15] = [
        ("wrong magic", |_| vec![0xab; 64]),
        ("wrong cookie", |asked| data(true, asked.cookie + 1, asked.offset, &[1; 4096])),
        ("before the request", |asked| data(true, asked.cookie, asked.offset - 1, &[1; 4096])),
        ("after the request", |asked| data(true, asked.cookie, asked.offset + 1, &[1; 4096])),
        ("far too long", |asked| data(true, asked.cookie, asked.offset, &[1; 8192])),
        ("too short", |asked| data(true, asked.cookie, asked.offset, &[1; 4095])),
        ("no data in a data chunk", |asked| data(true, asked.cookie, asked.offset, &[])),
        ("a data chunk without an offset", |asked| chunk(true, 1, asked.cookie, &[0; 7])),
        ("the same piece twice", |asked| {
            let half = data(false, asked.cookie, asked.offset, &[1; 2048]);
            [half.clone(), half].concat()
        }),
        ("a hole over data", |asked| {
            let half = data(false, asked.cookie, asked.offset, &[1; 2048]);
            [half, hole(true, asked.cookie, asked.offset + 2047, 2049)].concat()
        }),
        ("a hole of a wrong form", |asked| chunk(true, 2, asked.cookie, &[0; 13])),
        ("nothing at all", |asked| chunk(true, 0, asked.cookie, &[])),
        ("a block status", |asked| chunk(true, 5, asked.cookie, &[0; 12])),
        ("an unknown kind", |asked| chunk(true, 77, asked.cookie, &[])),
        ("a simple reply", |asked| simple(0, asked.cookie, &[1; 4096])),
    ];
    for (name, lie) in lies {
        let error = read_of(move |asked| Some(lie(asked))).await;
        assert!(matches!(error, Error::Protocol(_)) && !error.is_temporary(), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn lengths_that_nobody_would_send_are_refused_before_they_are_received() {
    for kind in [0_u16, 1, 2, 0x8001, 0x8002] {
        let error = read_of(move |asked| {
            let mut head = chunk(true, kind, asked.cookie, &[]);
            head[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
            head.extend(asked.offset.to_be_bytes());
            Some(head)
        })
        .await;
        assert!(matches!(error, Error::Protocol(_)), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn a_reply_to_a_request_that_was_already_answered_ends_the_connection() {
    let liar = Liar::answering(|asked| {
        let answer = data(true, asked.cookie, asked.offset, &[1; 4096]);
        Some([answer.clone(), answer].concat())
    });
    let client = Client::connect(liar.options()).await.unwrap();
    client.read(0, 4096).await.unwrap();
    let error = client.read(4096, 4096).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(Violation::UnknownCookie { cookie: 0 })), "{error}");
}

#[tokio::test]
async fn a_structured_reply_that_was_not_agreed_on_ends_the_connection() {
    let liar = Liar::telling(|mut stream| async move {
        negotiate(&mut stream, Export { has_structured_replies: false, ..Export::default() }).await;
        let asked = next_request(&mut stream).await.unwrap();
        stream.write_all(&data(true, asked.cookie, asked.offset, &[1; 4096])).await.unwrap();
        next_request(&mut stream).await;
    });
    let client = Client::connect(liar.options()).await.unwrap();
    let error = client.read(0, 4096).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(Violation::WrongReplyStyle { .. })), "{error}");
}

fn error_chunk(asked: Asked, errno: u32, message: &str, offset: Option<u64>) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let mut payload = [&errno.to_be_bytes()[..], &length.to_be_bytes(), message.as_bytes()].concat();
    payload.extend(offset.iter().flat_map(|offset| offset.to_be_bytes()));
    chunk(true, if offset.is_some() { 0x8002 } else { 0x8001 }, asked.cookie, &payload)
}

#[tokio::test]
async fn an_error_names_the_exact_offset_and_the_words_of_the_server() {
    let error = read_of(|asked| {
        let some = data(false, asked.cookie, asked.offset, &[1; 100]);
        Some([some, error_chunk(asked, 5, "bad\nblock", Some(asked.offset + 100))].concat())
    })
    .await;
    match &error {
        Error::Server { errno: Errno::Io, offset: 8292, length: 4096, message, .. } => {
            assert_eq!(message, "bad block");
        }
        error => panic!("{error:?}"),
    }
    assert!(error.is_temporary());
}

#[tokio::test]
async fn the_kind_of_an_error_tells_whether_to_try_again() {
    for (number, errno, is_temporary) in [
        (1, Errno::NotPermitted, false),
        (5, Errno::Io, true),
        (22, Errno::Invalid, false),
        (75, Errno::TooLarge, false),
        (108, Errno::ShuttingDown, true),
        (4711, Errno::Other(4711), false),
    ] {
        for reply in [simple, |number, cookie, _: &[u8]| {
            error_chunk(Asked { command: 0, cookie, offset: 0, length: 0 }, number, "", None)
        }] {
            let error = read_of(move |asked| Some(reply(number, asked.cookie, &[]))).await;
            assert!(matches!(error, Error::Server { errno: found, .. } if found == errno), "{error:?}");
            assert_eq!(error.is_temporary(), is_temporary, "{error}");
        }
    }
}

#[tokio::test]
async fn errors_without_sense_end_the_connection() {
    for payload in [&[0, 0, 0, 0, 0, 0][..], &[0, 0, 0, 5, 0, 1], &[0, 0, 0]] {
        let error = read_of(move |asked| Some(chunk(true, 0x8001, asked.cookie, payload))).await;
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
}
