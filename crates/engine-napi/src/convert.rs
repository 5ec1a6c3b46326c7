//! Numbers and errors, to and from JavaScript.

use napi::Error;

/// The code in front of the message, because an async function can reject with a message only; an exclamation mark
/// says that trying again may help. `packages/engine/src/engine-error.ts` takes it apart.
pub(crate) fn rejection(error: sendense_engine::Error) -> Error {
    let mark = if error.is_temporary() { "!" } else { "" };
    Error::from_reason(format!("{}{mark}: {}", error.code().as_str(), error.full_text()))
}

/// A size in JavaScript. Every whole number below 2^53 is exact there.
pub(crate) fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A number of JavaScript that must not be negative.
pub(crate) fn unsigned<T: TryFrom<i64>>(name: &str, number: i64) -> Result<T, Error> {
    T::try_from(number).map_err(|_| request_invalid(&format!("{name} cannot be {number}")))
}

/// The like of what the engine says about arguments.
pub(crate) fn request_invalid(detail: &str) -> Error {
    Error::from_reason(format!("request-invalid: {detail}"))
}
