//! An answer that takes longer than its asker waits in silence: signs of life go ahead of it.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;

/// Media type of a late answer.
pub const LATE_TYPE: &str = "application/vnd.sendense.late-answer";
/// Request header: how long the asker waits without a sign of life, in milliseconds.
pub const PATIENCE_HEADER: &str = "sendense-patience-ms";
/// The Hub is at work. Any number of them may come before the answer.
pub const SIGN_OF_LIFE: u8 = 0;
/// The answer follows.
const ANSWER: u8 = 1;

/// What would have been the answer, had it been in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

impl LateAnswer {
    /// What follows the signs of life.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut encoded = BytesMut::with_capacity(3 + self.body.len());
        encoded.put_u8(ANSWER);
        encoded.put_u16(self.status);
        encoded.put_slice(&self.body);
        encoded.freeze()
    }

    /// Takes a whole body apart.
    ///
    /// # Errors
    /// [`Malformed::Length`] if it ends before the answer, [`Malformed::Field`] if it holds something else.
    pub fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let signs = body.iter().take_while(|byte| **byte == SIGN_OF_LIFE).count();
        match body[signs..] {
            [ANSWER, high, low, ..] => {
                Ok(Self { status: u16::from_be_bytes([high, low]), body: body.slice(signs + 3..) })
            }
            [] | [ANSWER, ..] => Err(Malformed::Length),
            _ => Err(Malformed::Field("late answer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_behind_any_number_of_signs_of_life() {
        let answer = LateAnswer { status: 200, body: Bytes::from_static(b"\0\x01{}") };
        for signs in [0, 1, 700] {
            let body = [vec![SIGN_OF_LIFE; signs], answer.encode().to_vec()].concat();
            assert_eq!(LateAnswer::decode(&body.into()), Ok(answer.clone()), "{signs} signs");
        }
    }

    #[test]
    fn a_body_that_ends_before_its_answer_is_none() {
        for body in [&b""[..], b"\0\0\0", b"\0\x01", b"\x01\0"] {
            assert_eq!(LateAnswer::decode(&Bytes::from_static(body)), Err(Malformed::Length), "{body:?}");
        }
        let other = Bytes::from_static(b"\0\x02\0\xc8");
        assert_eq!(LateAnswer::decode(&other), Err(Malformed::Field("late answer")));
    }
}
