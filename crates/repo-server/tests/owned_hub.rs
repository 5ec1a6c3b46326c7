//! The drill: somebody owns the Hub, and with it the credential of the writer. Whatever they do, all restore points
//! that were there can be restored.

#![allow(clippy::unwrap_used, reason = "what cannot be prepared is a failed test")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use support::{Program, Restic, WRITER, content_of, name_of, noise, send};

/// Every file of the repository as a path of the protocol.
fn paths(server: &Program) -> Vec<String> {
    let mut paths = vec!["/vault/config".to_owned()];
    for kind in ["keys", "index", "snapshots", "data"] {
        let listed = send(server.address, WRITER, &format!("GET /vault/{kind}/"), &[], b"").json();
        let names = listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        paths.extend(names.map(|name| format!("/vault/{kind}/{name}")));
    }
    assert!(paths.len() > 6, "{paths:?}");
    paths
}

#[test]
fn all_restore_points_survive_an_attacker_with_the_credential_of_the_writer() {
    let server = Program::start();
    let restic = Restic::new(server.address, WRITER);
    let folder = tempfile::tempdir().unwrap();
    restic.run(&["init"]);
    for seed in [1, 2, 3] {
        std::fs::write(folder.path().join("disk.raw"), noise(seed, 2 << 20)).unwrap();
        restic.run(&["backup", folder.path().to_str().unwrap()]);
    }
    let (before, snapshots) = (content_of(&server.vault()), restic.snapshots());

    let _held_open: Vec<_> = paths(&server).iter().map(|path| attack_file(server.address, path)).collect();
    attack_repository(server.address);
    attack_rules(&server);
    locks_may_go(server.address);

    let after = content_of(&server.vault());
    for (path, content) in &before {
        assert_eq!(after.get(path), Some(content), "{} was changed", path.display());
    }
    restic.check();
    assert_eq!(restic.snapshots(), snapshots);
    for (seed, snapshot) in [1, 2, 3].into_iter().zip(&snapshots) {
        let target = tempfile::tempdir().unwrap();
        restic.run(&["restore", snapshot, "--target", target.path().to_str().unwrap()]);
        let disk = target.path().join(folder.path().strip_prefix("/").unwrap()).join("disk.raw");
        assert_eq!(std::fs::read(disk).unwrap(), noise(seed, 2 << 20), "{snapshot}");
    }
}

/// Removal, replacement and truncation of one file. An upload that never ends stays open.
fn attack_file(address: SocketAddr, path: &str) -> TcpStream {
    let garbage = noise(99, 5000);
    for (request, headers, body, expected) in [
        ("DELETE", &[][..], &b""[..], 403),
        ("POST", &[], &garbage[..], 409),
        ("POST", &[], b"", 409),
        ("PUT", &[], &garbage, 405),
        ("PATCH", &[], &garbage, 405),
        ("MOVE", &["Destination: /vault/locks/x"], b"", 405),
        ("POST", &["Content-Range: bytes 0-4999/5000"], &garbage, 409),
        ("POST", &["X-HTTP-Method-Override: DELETE"], b"", 409),
        ("POST", &["Content-Length: 99999999999999"], &garbage, 413),
    ] {
        let answer = send(address, WRITER, &format!("{request} {path}"), headers, body);
        assert_eq!(answer.status, expected, "{request} {path}: {}", answer.head);
    }
    // Half an upload, cut off; and one that stays open.
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{}", half_an_upload(path)).unwrap();
    }
    let mut slow = TcpStream::connect(address).unwrap();
    write!(slow, "{}", half_an_upload(path)).unwrap();
    slow
}

fn half_an_upload(path: &str) -> String {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", WRITER.0, WRITER.1));
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\nContent-Length: 100000\r\n\r\nhalf"
    )
}

fn attack_repository(address: SocketAddr) {
    let name = name_of(b"nothing");
    for (request, expected) in [
        ("DELETE /vault/".to_owned(), 404),
        ("DELETE /vault/?create=true".into(), 405),
        ("DELETE /vault/data/".into(), 405),
        ("DELETE /vault/guard/journal".into(), 404),
        (format!("GET /vault/guard/{name}"), 404),
        ("GET /vault/data/..%2f..%2fcredentials.json".into(), 400),
        ("GET /vault/../credentials.json".into(), 404),
        ("GET /../../../../etc/passwd".into(), 404),
        ("DELETE /vault/data/../config".into(), 404),
        ("DELETE //vault/config".into(), 404),
        ("GET /other/config".into(), 404),
        (format!("POST /vault/data/../snapshots/{name}"), 404),
        (format!("POST /vault/data/{}", name.to_uppercase()), 400),
        (format!("POST /vault/data/{name}%00"), 400),
    ] {
        assert_eq!(send(address, WRITER, &request, &[], b"").status, expected, "{request}");
    }
    // Creating what is there changes nothing.
    assert_eq!(send(address, WRITER, "POST /vault/?create=true", &[], b"").status, 200);
    // A name that is not the hash, for a file that is not there.
    let garbage = send(address, WRITER, &format!("POST /vault/index/{name}"), &[], b"garbage");
    assert_eq!((garbage.status, garbage.code().as_str()), (422, "hash-mismatch"));
    // More than a key may have, without saying so before.
    let mut chunked = format!("{:x}\r\n", 2 << 20).into_bytes();
    chunked.extend(noise(5, 2 << 20));
    chunked.extend(b"\r\n0\r\n\r\n");
    let request = format!("POST /vault/keys/{name}");
    let huge = send(address, WRITER, &request, &["Transfer-Encoding: chunked"], &chunked);
    assert_eq!(huge.status, 413, "{}", huge.head);
}

fn attack_rules(server: &Program) {
    let policy = send(server.address, WRITER, "GET /vault/?policy", &[], b"").json();
    assert_eq!((&policy["windowSeconds"], &policy["role"]), (&(30 * 86_400).into(), &"writer".into()));
    for body in [r#"{"windowSeconds": 1}"#, r#"{"windowSeconds": 999999999}"#] {
        let answer = send(server.address, WRITER, "PUT /vault/?policy", &[], body.as_bytes());
        assert_eq!(answer.status, 403, "{body}");
    }
    for path in paths(server) {
        let protection = format!("{path}?protection");
        let before = send(server.address, WRITER, &format!("GET {protection}"), &[], b"").json();
        let body = br#"{"protectedUntil": "2001-01-01T00:00:00Z"}"#;
        let after = send(server.address, WRITER, &format!("PUT {protection}"), &[], body).json();
        assert_eq!(before, after, "{path}");
        assert!(before["protectedUntil"].as_str().is_some_and(|until| until.starts_with("20")), "{before}");
        for body in [
            &b"{\"protectedUntil\": null}"[..],
            b"{}",
            b"[",
            b"{\"protectedUntil\": \"9999-01-01T00:00:00Z\"}",
        ] {
            let answer = send(server.address, WRITER, &format!("PUT {protection}"), &[], body);
            assert!(matches!(answer.status, 400 | 422), "{path} {}", answer.status);
        }
    }
}

fn locks_may_go(address: SocketAddr) {
    let path = format!("/vault/locks/{}", name_of(b"a lock"));
    assert_eq!(send(address, WRITER, &format!("POST {path}"), &[], b"a lock").status, 200);
    assert_eq!(send(address, WRITER, &format!("DELETE {path}"), &[], b"").status, 200);
    assert_eq!(send(address, WRITER, &format!("GET {path}"), &[], b"").status, 404);
}

#[test]
fn nobody_without_the_password_sees_anything() {
    let server = Program::start();
    for (credential, request) in [
        (("hub", "wrong"), "GET /vault/?policy"),
        (("keeper", ""), "GET /vault/config"),
        (("", ""), "POST /vault/?create=true"),
        (("hub", "wrong"), "GET /nothing/"),
    ] {
        let answer = send(server.address, credential, request, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (401, "credentials-wrong"), "{request}");
        assert!(answer.head.contains("www-authenticate: basic"), "{}", answer.head);
    }
}
