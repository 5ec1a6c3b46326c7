//! The negotiation on one connection, up to the transmission phase.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::options::ConnectOptions;
use crate::protocol::option::{
    GREETING_LEN, OptionKind, REPLY_HEAD_LEN, Reply, decode_greeting, decode_reply, decode_reply_head,
    encode_client_flags, encode_go, encode_meta_context, encode_option,
};
use crate::protocol::transmission::flags;
use crate::stream::{self, Stream};
use crate::{Error, Result, tls};

/// What the server says about an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportInfo {
    /// Bytes of the export.
    pub size_bytes: u64,
    /// The export cannot be written.
    pub is_read_only: bool,
    /// Several connections see the same data.
    pub can_multi_conn: bool,
    /// Requests are multiples of it, in offset and length.
    pub block_bytes_min: u32,
    /// Requests have at most that many bytes.
    pub request_bytes_max: u32,
    /// The server tells holes from data.
    pub has_block_status: bool,
}

/// What the protocol's document lets a client assume when a server does not tell ("Block size constraints").
const REQUEST_BYTES_MAX_DEFAULT: u32 = 32 * 1024 * 1024;

/// A connection that is ready for requests.
pub(crate) struct Negotiated {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) info: ExportInfo,
    /// Number of the meta context `base:allocation`.
    pub(crate) context: Option<u32>,
}

/// Connects, secures the connection if asked for, and enters the transmission phase.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<Negotiated> {
    let mut stream = stream::open(&options.address).await?;
    greet(&mut stream).await?;
    if let Some(tls_options) = &options.tls {
        ask(&mut stream, OptionKind::StartTls, &[]).await?;
        stream = tls::secure(stream, tls_options, &options.address).await?;
    }
    ask(&mut stream, OptionKind::StructuredReply, &[]).await?;
    let context = meta_context(&mut stream, &options.export).await?;
    let info = go(&mut stream, &options.export, context.is_some()).await?;
    Ok(Negotiated { stream, info, context })
}

async fn greet(stream: &mut Box<dyn Stream>) -> Result<()> {
    let mut greeting = [0; GREETING_LEN];
    stream.read_exact(&mut greeting).await?;
    let server_flags = decode_greeting(&greeting)?;
    stream.write_all(&encode_client_flags(server_flags)).await?;
    stream.flush().await?;
    Ok(())
}

/// `base:allocation`, or `None` when the server has no such context.
async fn meta_context(stream: &mut Box<dyn Stream>, export: &str) -> Result<Option<u32>> {
    match ask(stream, OptionKind::SetMetaContext, &encode_meta_context(export)).await {
        Ok(replies) => Ok(replies.into_iter().find_map(|reply| match reply {
            Reply::MetaContext { id } => Some(id),
            _ => None,
        })),
        // Some servers refuse the option as a whole; block status is a help, not a need.
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn go(stream: &mut Box<dyn Stream>, export: &str, has_block_status: bool) -> Result<ExportInfo> {
    let replies = ask(stream, OptionKind::Go, &encode_go(export)).await?;
    let mut info = None;
    let (mut block_bytes_min, mut request_bytes_max) = (1, REQUEST_BYTES_MAX_DEFAULT);
    for reply in replies {
        match reply {
            Reply::Export { size_bytes, flags } => info = Some((size_bytes, flags)),
            Reply::BlockSize { minimum, maximum, .. } => {
                (block_bytes_min, request_bytes_max) = (minimum, maximum);
            }
            _ => {}
        }
    }
    let (size_bytes, bits) =
        info.ok_or_else(|| Error::Protocol("the server did not tell the export's size".into()))?;
    Ok(ExportInfo {
        size_bytes,
        is_read_only: bits & flags::READ_ONLY != 0,
        can_multi_conn: bits & flags::CAN_MULTI_CONN != 0,
        block_bytes_min,
        // A multiple of the smallest block, so that splitting keeps requests aligned.
        request_bytes_max: request_bytes_max - request_bytes_max % block_bytes_min,
        has_block_status,
    })
}

/// More answers to one option than this make no sense.
const REPLIES_MAX: usize = 1000;

/// Sends an option and collects its answers up to the acknowledgement.
async fn ask(stream: &mut Box<dyn Stream>, option: OptionKind, data: &[u8]) -> Result<Vec<Reply>> {
    stream.write_all(&encode_option(option, data)).await?;
    stream.flush().await?;
    let mut replies = Vec::new();
    while replies.len() < REPLIES_MAX {
        match answer(stream, option).await? {
            Reply::Ack => return Ok(replies),
            Reply::Refused(reason) => return Err(Error::Refused { option: option.name(), reason }),
            reply => replies.push(reply),
        }
    }
    Err(Error::Protocol(format!("the server does not stop answering {}", option.name())))
}

async fn answer(stream: &mut Box<dyn Stream>, option: OptionKind) -> Result<Reply> {
    let mut head = [0; REPLY_HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let head = decode_reply_head(&head)?;
    if head.option != option as u32 {
        return Err(Error::Protocol(format!(
            "option {} is answered instead of {}",
            head.option,
            option.name()
        )));
    }
    let mut data = vec![0; head.length as usize];
    stream.read_exact(&mut data).await?;
    Ok(decode_reply(head.kind, &data)?)
}
