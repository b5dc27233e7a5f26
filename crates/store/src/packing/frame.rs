//! zstd frames with our dictionary. Contexts and the digested dictionary are kept per thread and per process: packing a
//! message makes one allocation, of the size of the result.
//!
//! A frame is what the `zstd` tool writes (`zstd -D hl7-1.dict --no-dictID`), with its content's size and checksum, so
//! that a body can be read without this program, and damage does not pass for content.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{self, CParameter};

use super::Why;

/// Made by `cargo run -p store --example dictionary`; never changed.
pub(super) const DICTIONARY_1: &[u8] = include_bytes!("hl7-1.dict");

/// The lowest level that codes literals, with the smallest tables of those: -1 yields a sixth more bytes, 3 a tenth fewer
/// (docs/adr/0006-compressed-bodies.md).
const LEVEL: i32 = 1;

/// The longest header of a frame.
pub(super) const HEAD_BYTES: usize = 18;

/// A thread keeps a buffer no larger than this.
const BUFFER_KEPT: usize = 256 << 10;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY_1, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY_1));

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

struct Packer {
    compressor: Compressor<'static>,
    buffer: Vec<u8>,
}

impl Packer {
    fn new() -> std::io::Result<Packer> {
        let mut compressor = Compressor::with_prepared_dictionary(&ENCODER)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        // The number beside the body tells which dictionary it was.
        compressor.set_parameter(CParameter::DictIdFlag(false))?;
        Ok(Packer {
            compressor,
            buffer: Vec::new(),
        })
    }

    fn pack(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        // A frame that does not fit here saves too little to be worth unpacking.
        let length_max = body.len() - body.len() / 16 - 1;
        if self.buffer.len() < length_max {
            self.buffer.resize(length_max, 0);
        }
        let packed = self
            .compressor
            .compress_to_buffer(body, &mut self.buffer[..length_max]);
        let packed = packed.ok().map(|length| self.buffer[..length].to_vec());
        if self.buffer.len() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        packed
    }
}

/// The frame, unless the body is about as short.
pub(super) fn pack(body: &[u8]) -> Option<Vec<u8>> {
    PACKER.with_borrow_mut(|packer| {
        if packer.is_none() {
            *packer = Packer::new().ok();
        }
        packer.as_mut()?.pack(body)
    })
}

/// The body, if it is what the frame says and no longer than `length_max`.
pub(super) fn unpack(frame: &[u8], length_max: usize) -> Result<Vec<u8>, Why> {
    let damaged = |error: std::io::Error| Why::Damaged(error.to_string());
    let length = size(frame, length_max)? as usize;
    let mut body = Vec::with_capacity(length);
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::with_prepared_dictionary(&DECODER).map_err(damaged)?),
        };
        // Writes no further than the capacity, whatever the frame holds.
        unpacker.decompress_to_buffer(frame, &mut body).map_err(damaged)
    })?;
    if body.len() != length {
        return Err(Why::Damaged(format!("{} bytes instead of {length}", body.len())));
    }
    Ok(body)
}

/// How long the body is, by the head of its frame.
pub(super) fn size(head: &[u8], length_max: usize) -> Result<u64, Why> {
    match zstd_safe::get_frame_content_size(head) {
        Ok(Some(length)) if length > length_max as u64 => Err(Why::TooLong(length)),
        Ok(Some(length)) => Ok(length),
        Ok(None) | Err(_) => Err(Why::Damaged("no frame begins there".to_owned())),
    }
}
