//! The untrusted inputs of this crate as plain functions, for property tests and for `fuzz/`.

use bytes::BytesMut;
use futures::executor::block_on;

use crate::protocol::{ExportInfo, Negotiation, ReadAnswer, StatusAnswer, Step};
use crate::receive::receive;
use crate::request_table::{Charge, ReadWork, RequestTable, StatusWork, Work};

/// A handshake with a server that says `bytes`.
#[must_use]
pub fn negotiate(mut bytes: &[u8], wants_tls: bool) -> Option<ExportInfo> {
    let mut negotiation = Negotiation::new("disk", wants_tls);
    let mut step = negotiation.start();
    loop {
        step = match step {
            Step::Exchange { receive, .. } => {
                let (received, rest) = bytes.split_at_checked(receive)?;
                bytes = rest;
                negotiation.advance(received).ok()?
            }
            Step::StartTls => negotiation.tls_ready(),
            Step::Ready(info) => return Some(info),
        };
    }
}

/// Requests wait, with cookies 0 to 3 for reads of 4096 bytes and 4 to 5 for block status, each of them at
/// 4096 times its cookie; then a server says `bytes`.
///
/// # Panics
/// When an answer is not what was asked for, which is what fuzzing looks for.
pub fn receive_replies(bytes: &[u8], has_structured_replies: bool) {
    let table = RequestTable::default();
    let mut reads = Vec::new();
    let mut statuses = Vec::new();
    for cookie in 0..6 {
        let offset = cookie * 4096;
        let charge = Charge { bytes: 4096, permit: None };
        let work = if cookie < 4 {
            let (reply, received) = tokio::sync::oneshot::channel();
            reads.push(received);
            let buffer = BytesMut::with_capacity(4096);
            Work::Read(ReadWork { answer: ReadAnswer::new(offset, 4096), buffer, failure: None, reply })
        } else {
            let (reply, received) = tokio::sync::oneshot::channel();
            statuses.push(received);
            Work::Status(StatusWork { answer: StatusAnswer::new(offset, 4096, 1), failure: None, reply })
        };
        assert_eq!(table.insert(work, charge).ok(), Some(cookie));
    }
    table.end(block_on(receive(bytes, &table, has_structured_replies)));
    for mut read in reads {
        if let Ok(Ok(bytes)) = read.try_recv() {
            assert_eq!(bytes.len(), 4096, "an answer has the length that was asked for");
        }
    }
    for mut status in statuses {
        if let Ok(Ok(extents)) = status.try_recv() {
            let total: u64 = extents.iter().map(|extent| extent.length).sum();
            assert!((1..=4096).contains(&total), "an answer lies within the request");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look like replies now and then: pure noise would end at the first magic number.
    fn replies() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![0..64_u32, Just(4104), Just(u32::MAX), any::<u32>()];
        let payload = proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..64);
        let kind = prop_oneof![0..6_u16, 0x8001..0x8004_u16, any::<u16>()];
        let chunk = (0..2_u16, kind, 0..7_u64, length, payload.clone()).prop_map(
            |(flags, kind, cookie, length, payload)| {
                let mut bytes = BytesMut::new();
                bytes.put_u32(0x668e_33ef);
                bytes.put_u16(flags);
                bytes.put_u16(kind);
                bytes.put_u64(cookie);
                bytes.put_u32(if length < 64 { u32::try_from(payload.len()).unwrap() } else { length });
                bytes.put_slice(&payload);
                bytes.to_vec()
            },
        );
        let data =
            (0..2_u16, 0..5_u64, 0..4100_u64, 0..4100_usize).prop_map(|(flags, cookie, start, length)| {
                let mut bytes = BytesMut::new();
                bytes.put_u32(0x668e_33ef);
                bytes.put_u16(flags);
                bytes.put_u16(1);
                bytes.put_u64(cookie);
                bytes.put_u32(u32::try_from(length).unwrap() + 8);
                bytes.put_u64(cookie * 4096 + start);
                bytes.put_bytes(7, length);
                bytes.to_vec()
            });
        let simple = (any::<bool>(), 0..7_u64, 0..5000_usize).prop_map(|(fails, cookie, length)| {
            let mut bytes = BytesMut::new();
            bytes.put_u32(0x6744_6698);
            bytes.put_u32(if fails { 5 } else { 0 });
            bytes.put_u64(cookie);
            bytes.put_bytes(9, length);
            bytes.to_vec()
        });
        let piece = prop_oneof![4 => chunk, 4 => data, 2 => simple, 1 => payload];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// Option replies with plausible heads.
    fn option_replies() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![Just(1_u32), Just(3), Just(4), 0x8000_0000..0x8000_000b_u32, any::<u32>()];
        let payload = proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..32);
        let option = prop_oneof![Just(5_u32), Just(7), Just(8), Just(10), any::<u32>()];
        let reply = (option, kind, payload).prop_map(|(option, kind, payload)| {
            let mut bytes = BytesMut::new();
            bytes.put_u64(0x0003_e889_0455_65a9);
            bytes.put_u32(option);
            bytes.put_u32(kind);
            bytes.put_u32(u32::try_from(payload.len()).unwrap());
            bytes.put_slice(&payload);
            bytes.to_vec()
        });
        proptest::collection::vec(reply, 0..8).prop_map(|replies| {
            let mut bytes = BytesMut::new();
            bytes.put_u64(0x4e42_444d_4147_4943);
            bytes.put_u64(0x4948_4156_454f_5054);
            bytes.put_u16(3);
            bytes.put_slice(&replies.concat());
            bytes.to_vec()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_the_handshake_panic(
            bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..256), option_replies()],
            wants_tls in any::<bool>(),
        ) {
            if let Some(info) = negotiate(&bytes, wants_tls) {
                prop_assert!(info.block_sizes.minimum.is_power_of_two());
            }
        }

        #[test]
        fn no_bytes_make_the_receiver_panic_or_answer_wrongly(
            bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..256), replies()],
            has_structured_replies in any::<bool>(),
        ) {
            receive_replies(&bytes, has_structured_replies);
        }
    }
}
