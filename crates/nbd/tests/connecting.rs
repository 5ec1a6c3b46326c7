//! Connecting to real servers, with and without TLS, and to things that are none.
#![allow(clippy::unwrap_used, reason = "A test stops at what it does not expect.")]

mod peers;

use std::time::Duration;

use peers::{Export, GREETING, Liar, connect, negotiate, option_reply, options, pattern, refusal};
use sendense_nbd::{
    Address, Client, ClientIdentity, ConnectOptions, Error, Refusal, TlsOptions, Trust, Violation,
};
use sendense_testkit::nbd_server::NbdServer;
use sendense_testkit::tls_files::TlsFiles;
use tokio::io::AsyncWriteExt;

async fn tls_server(files: &TlsFiles, more: &[&str]) -> NbdServer {
    let certificates = format!("--tls-certificates={}", files.folder().display());
    let arguments = [&["--tls=require", &certificates], more, &["pattern", "4M"]].concat();
    NbdServer::nbdkit_tcp(&arguments).await.unwrap()
}

fn with_tls(server: &NbdServer, trust: Trust) -> ConnectOptions {
    let mut options = options(server);
    options.tls = Some(TlsOptions { trust, server_name: None, identity: None });
    options
}

fn sha256(digits: &str) -> [u8; 32] {
    let bytes: Vec<u8> =
        (0..32).map(|index| u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

#[tokio::test]
async fn a_server_whose_certificate_is_signed_by_the_authority_is_read_over_tls() {
    let files = TlsFiles::generate().unwrap();
    let server = tls_server(&files, &[]).await;
    let mut options = with_tls(&server, Trust::CaFile(files.ca_certificate()));
    options.connections = 2;
    options.force_multi_conn = true;
    let client = Client::connect(options).await.unwrap();
    assert_eq!(client.read(1000, 3_000_000).await.unwrap(), pattern(1000, 3_000_000));
    client.close().await;
}

#[tokio::test]
async fn a_pinned_certificate_needs_no_authority_and_no_name() {
    let files = TlsFiles::generate().unwrap();
    let server = tls_server(&files, &[]).await;
    let pin = sha256(&files.server_fingerprint().unwrap());
    let mut options = with_tls(&server, Trust::PinnedSha256(pin));
    options.tls.as_mut().unwrap().server_name = Some("some.other.name".into());
    let client = Client::connect(options).await.unwrap();
    assert_eq!(client.read(0, 4096).await.unwrap(), pattern(0, 4096));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_the_connection() {
    let (files, others) = (TlsFiles::generate().unwrap(), TlsFiles::generate().unwrap());
    let server = tls_server(&files, &[]).await;
    let mut wrong_name = with_tls(&server, Trust::CaFile(files.ca_certificate()));
    wrong_name.tls.as_mut().unwrap().server_name = Some("elsewhere.example".into());
    for options in [
        with_tls(&server, Trust::CaFile(others.ca_certificate())),
        with_tls(&server, Trust::PinnedSha256([7; 32])),
        wrong_name,
    ] {
        let error = refusal(options).await;
        assert!(matches!(error, Error::Tls { .. }) && !error.is_temporary(), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it() {
    let files = TlsFiles::generate().unwrap();
    let server = tls_server(&files, &["--tls-verify-peer"]).await;
    let mut options = with_tls(&server, Trust::CaFile(files.ca_certificate()));
    let error = refusal(options.clone()).await;
    assert!(matches!(error, Error::Tls { .. } | Error::Disconnected { .. }), "{error:?}");
    options.tls.as_mut().unwrap().identity =
        Some(ClientIdentity { certificate_file: files.client_certificate(), key_file: files.client_key() });
    assert_eq!(Client::connect(options).await.unwrap().read(0, 512).await.unwrap(), pattern(0, 512));
}

#[tokio::test]
async fn tls_is_never_given_up_for_clear_text_nor_the_other_way_round() {
    let files = TlsFiles::generate().unwrap();
    let secure = tls_server(&files, &[]).await;
    assert!(matches!(refusal(options(&secure)).await, Error::TlsRequired));
    let plain = NbdServer::nbdkit_tcp(&["memory", "1M"]).await.unwrap();
    let error = refusal(with_tls(&plain, Trust::CaFile(files.ca_certificate()))).await;
    assert!(matches!(error, Error::Refused { option: "NBD_OPT_STARTTLS", .. }), "{error}");
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named_before_anything_is_sent() {
    let files = TlsFiles::generate().unwrap();
    let nowhere = Address::Tcp { host: "localhost".into(), port: 9 };
    let missing = files.folder().join("missing.pem");
    let key = files.client_key();
    for (ca, identity, culprit) in [
        (missing.clone(), None, &missing),
        (key.clone(), None, &key),
        (files.ca_certificate(), Some((key.clone(), key.clone())), &key),
        (
            files.ca_certificate(),
            Some((files.client_certificate(), files.ca_certificate())),
            &files.ca_certificate(),
        ),
    ] {
        let mut options = ConnectOptions::new(nowhere.clone());
        let identity =
            identity.map(|(certificate_file, key_file)| ClientIdentity { certificate_file, key_file });
        options.tls = Some(TlsOptions { trust: Trust::CaFile(ca), server_name: None, identity });
        match refusal(options).await {
            Error::TlsFile { path, reason } => {
                assert_eq!(&path, culprit);
                assert!(!reason.contains("BEGIN"), "{reason}");
            }
            error => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_export_is_refused_with_the_words_of_the_server() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let server = NbdServer::qemu_nbd("raw", file.path()).await.unwrap();
    let mut options = options(&server);
    options.export = "nowhere".into();
    match refusal(options).await {
        Error::Refused { option: "NBD_OPT_GO", refusal: Refusal::UnknownExport, message } => {
            assert!(message.contains("nowhere"), "{message}");
        }
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_named_export_is_opened_by_its_name() {
    let server = NbdServer::nbdkit(&["info", "mode=exportname"]).await.unwrap();
    let mut options = options(&server);
    options.export = "Größe [1]".into();
    let client = Client::connect(options).await.unwrap();
    let name = client.read(0, usize::try_from(client.size_bytes()).unwrap()).await.unwrap();
    assert_eq!(name, "Größe [1]".as_bytes());
}

#[tokio::test]
async fn nobody_there_is_a_temporary_error_that_names_the_place() {
    let error = refusal(ConnectOptions::new(Address::Unix("/nowhere/nbd.sock".into()))).await;
    assert!(error.is_temporary() && error.to_string().contains("/nowhere/nbd.sock"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let abandoned = folder.path().join("nbd.sock");
    drop(std::os::unix::net::UnixListener::bind(&abandoned).unwrap());
    let error = refusal(ConnectOptions::new(Address::Unix(abandoned))).await;
    assert!(matches!(error, Error::Connect { .. }) && error.is_temporary(), "{error}");
}

#[tokio::test]
async fn a_server_that_stays_silent_is_given_up() {
    let liar = Liar::telling(|stream| async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(stream);
    });
    let mut options = liar.options();
    options.connect_timeout = Duration::from_millis(100);
    let error = refusal(options).await;
    assert!(matches!(error, Error::ConnectTimeout { .. }) && error.is_temporary(), "{error}");
}

#[tokio::test]
async fn servers_of_another_protocol_are_told_apart() {
    let http = Liar::telling(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let error = refusal(http.options()).await;
    assert!(matches!(error, Error::Protocol(Violation::NotNbd { .. })), "{error}");
    let old = NbdServer::nbdkit(&["--oldstyle", "memory", "1M"]).await.unwrap();
    let error = refusal(options(&old)).await;
    assert!(matches!(error, Error::Protocol(Violation::NotFixedNewstyle)), "{error}");
    let newer = NbdServer::nbdkit(&["--mask-handshake=0", "memory", "1M"]).await.unwrap();
    let error = refusal(options(&newer)).await;
    assert!(matches!(error, Error::Protocol(Violation::NotFixedNewstyle)), "{error}");
    let with_zeroes = NbdServer::nbdkit(&["--mask-handshake=1", "memory", "1M"]).await.unwrap();
    assert_eq!(connect(&with_zeroes).await.size_bytes(), 1 << 20);
}

#[tokio::test]
async fn a_handshake_that_breaks_the_rules_is_refused() {
    let unknown_kind = option_reply(8, 2, &[]);
    let wrong_option = option_reply(7, 1, &[]);
    let endless = option_reply(8, 1, &vec![0; 20_000]);
    let wrong_magic = vec![0; 20];
    for lie in [unknown_kind, wrong_option, endless, wrong_magic] {
        let bytes = [&GREETING[..], &lie].concat();
        let liar = Liar::telling(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                stream.write_all(&bytes).await.unwrap();
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
        let error = refusal(liar.options()).await;
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn exports_that_cannot_be_are_refused() {
    let impossible_blocks = [[0, 1, 1], [3, 4096, 4096], [1 << 17, 1 << 17, 1 << 20], [512, 4096, 256]];
    let exports = impossible_blocks
        .map(|block_sizes| Export { block_sizes, ..Export::default() })
        .into_iter()
        .chain([Export { size_bytes: u64::MAX, ..Export::default() }]);
    for export in exports {
        let liar = Liar::telling(move |mut stream| async move { negotiate(&mut stream, export).await });
        let error = refusal(liar.options()).await;
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn connections_to_different_exports_are_not_mixed() {
    let liar = Liar::telling({
        let sizes = std::sync::atomic::AtomicU64::new(1 << 20);
        move |mut stream| {
            let size_bytes = sizes.fetch_add(512, std::sync::atomic::Ordering::Relaxed);
            async move {
                negotiate(&mut stream, Export { size_bytes, ..Export::default() }).await;
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    });
    let mut options = liar.options();
    options.connections = 2;
    options.force_multi_conn = true;
    assert!(matches!(refusal(options).await, Error::ConnectionsDiffer));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_before_connecting() {
    let good = ConnectOptions::new(Address::Unix("/nowhere".into()));
    let no_connections = ConnectOptions { connections: 0, ..good.clone() };
    let no_budget = ConnectOptions { max_in_flight_bytes: 1000, ..good.clone() };
    let no_length = ConnectOptions { request_bytes_max: 0, ..good.clone() };
    let long_name = ConnectOptions { export: "x".repeat(5000), ..good.clone() };
    let tls = TlsOptions { trust: Trust::CaFile("ca.pem".into()), server_name: None, identity: None };
    let nameless = ConnectOptions { tls: Some(tls), ..good };
    for options in [no_connections, no_budget, no_length, long_name, nameless] {
        let error = refusal(options).await;
        assert!(matches!(error, Error::Options { .. }), "{error:?}");
    }
}
