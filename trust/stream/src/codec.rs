//! tonic's view of messages: gRPC carries what is right already.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message as _;
use prost::bytes::{Buf as _, Bytes};
use tonic::codec::{self, DecodeBuf, EncodeBuf};
use tonic::{Code, Status};

use crate::message::{Down, MessageError, Said};

/// A kind of message.
pub(crate) trait Carried: Sized + Send + 'static {
    /// Reads one.
    fn read(message: &Bytes) -> Result<Self, MessageError>;
    /// Writes it. The buffer grows as it must.
    fn write(&self, to: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError>;
}

impl Carried for Said {
    fn read(message: &Bytes) -> Result<Self, MessageError> {
        Self::decode(message)
    }

    fn write(&self, to: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        self.to_wire().encode(to)
    }
}

impl Carried for Down {
    fn read(message: &Bytes) -> Result<Self, MessageError> {
        Self::decode(message)
    }

    fn write(&self, to: &mut EncodeBuf<'_>) -> Result<(), prost::EncodeError> {
        self.to_wire().encode(to)
    }
}

/// Sends `O`, receives `I`.
#[derive(Debug)]
pub(crate) struct Codec<O, I>(PhantomData<fn(O) -> I>);

impl<O, I> Default for Codec<O, I> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<O: Carried, I: Carried> codec::Codec for Codec<O, I> {
    type Encode = O;
    type Decode = I;
    type Encoder = Encoder<O>;
    type Decoder = Decoder<I>;

    fn encoder(&mut self) -> Encoder<O> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Decoder<I> {
        Decoder(PhantomData)
    }
}

#[derive(Debug)]
pub(crate) struct Encoder<O>(PhantomData<fn(O)>);

impl<O: Carried> codec::Encoder for Encoder<O> {
    type Item = O;
    type Error = Status;

    fn encode(&mut self, item: O, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.write(to)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[derive(Debug)]
pub(crate) struct Decoder<I>(PhantomData<fn() -> I>);

impl<I: Carried> codec::Decoder for Decoder<I> {
    type Item = I;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<I>, Status> {
        let message = from.copy_to_bytes(from.remaining());
        let read = I::read(&message).map_err(|error| {
            let mut status = Status::new(Code::InvalidArgument, error.to_string());
            status.set_source(Arc::new(error));
            status
        })?;
        Ok(Some(read))
    }
}
