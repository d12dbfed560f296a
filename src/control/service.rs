//! The RPCs.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch as shared;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Switchboard, events, listen, orders, until, watch};
use crate::dialogue::convert::{Kind, Refused};
use crate::journal;
use crate::proto::control::v1 as proto;
use crate::proto::control::v1::control_server::Control;
use crate::switchboard::order::{Refusal, Sent};

/// Requests of one `DialMany` that are under way at a time.
const AT_A_TIME: usize = 64;

pub(super) struct Service<S> {
    pub switchboard: S,
    pub journal: journal::Handle,
    pub closing: shared::Receiver<bool>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl<S: Switchboard> Control for Service<S> {
    async fn dial(&self, request: Request<proto::DialRequest>) -> Result<Response<proto::DialResponse>, Status> {
        let call_id = dial(&self.switchboard, request.into_inner()).await?;
        Ok(Response::new(proto::DialResponse { call_id }))
    }

    type DialManyStream = Answers<proto::DialManyResponse>;

    async fn dial_many(
        &self,
        requests: Request<Streaming<proto::DialRequest>>,
    ) -> Result<Response<Self::DialManyStream>, Status> {
        let switchboard = self.switchboard.clone();
        let answers = requests
            .into_inner()
            // A client that has more to say at the shutdown is answered what it has asked so far.
            .take_until(until(self.closing.clone()))
            .map(move |request| {
                let switchboard = switchboard.clone();
                async move {
                    let request = request?;
                    let request_id = request.request_id.clone();
                    let (call_id, code, message) = match dial(&switchboard, request).await {
                        Ok(call_id) => (call_id, Code::Ok, String::new()),
                        Err(status) => (String::new(), status.code(), status.message().to_owned()),
                    };
                    Ok(proto::DialManyResponse { request_id, call_id, code: code as i32, message })
                }
            })
            .buffer_unordered(AT_A_TIME);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn answer(&self, request: Request<proto::AnswerRequest>) -> Result<Response<proto::AnswerResponse>, Status> {
        let (call_id, dialogue, knobs, headers) = orders::answer(request.into_inner()).map_err(refused)?;
        self.switchboard.answer(&call_id, &dialogue, knobs, headers).await.map_err(refusal)?;
        Ok(Response::new(proto::AnswerResponse {}))
    }

    async fn decline(
        &self,
        request: Request<proto::DeclineRequest>,
    ) -> Result<Response<proto::DeclineResponse>, Status> {
        let (call_id, status, reason) = orders::decline(request.into_inner()).map_err(refused)?;
        self.switchboard.decline(&call_id, status, &reason).await.map_err(refusal)?;
        Ok(Response::new(proto::DeclineResponse {}))
    }

    async fn send(&self, request: Request<proto::SendRequest>) -> Result<Response<proto::SendResponse>, Status> {
        let (call_id, request_id, action) = orders::send(request.into_inner()).map_err(refused)?;
        let sent = self.switchboard.send(&call_id, &request_id, action).await.map_err(refusal)?;
        Ok(Response::new(proto::SendResponse { cancelled: sent == Sent::Cancelled }))
    }

    type WatchStream = Answers<proto::Event>;

    async fn watch(&self, request: Request<proto::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let proto::WatchRequest { after_sequence, from_oldest, call_id, partials } = request.into_inner();
        if from_oldest && after_sequence != 0 {
            let both = Refused::invalid("from_oldest", "goes with after_sequence 0 only");
            return Err(refused(both));
        }
        let watcher = self.journal.watch(after_sequence, from_oldest).await;
        let watcher = watcher.map_err(|too_old| Status::out_of_range(format!("after_sequence: {too_old}")))?;
        let filter = watch::Filter { call_id, partials };
        Ok(Response::new(Box::pin(watch::stream(watcher, filter, self.closing.clone()))))
    }

    async fn get_call(
        &self,
        request: Request<proto::GetCallRequest>,
    ) -> Result<Response<proto::GetCallResponse>, Status> {
        let call_id = orders::call_id(request.into_inner().call_id).map_err(refused)?;
        match self.switchboard.call(&call_id).await {
            Some(state) => Ok(Response::new(proto::GetCallResponse { call: Some(events::call(state)) })),
            None => Err(refusal(Refusal::NotFound(call_id))),
        }
    }

    async fn list_calls(
        &self,
        _: Request<proto::ListCallsRequest>,
    ) -> Result<Response<proto::ListCallsResponse>, Status> {
        let calls = self.switchboard.calls().await.into_iter().map(events::call).collect();
        Ok(Response::new(proto::ListCallsResponse { calls }))
    }

    async fn list_trunks(
        &self,
        _: Request<proto::ListTrunksRequest>,
    ) -> Result<Response<proto::ListTrunksResponse>, Status> {
        let trunks = self.switchboard.trunks().await.into_iter().map(events::trunk).collect();
        Ok(Response::new(proto::ListTrunksResponse { trunks }))
    }

    type ListenStream = Answers<proto::ListenResponse>;

    async fn listen(&self, request: Request<proto::ListenRequest>) -> Result<Response<Self::ListenStream>, Status> {
        let (call_id, terms) = listen::terms(request.into_inner()).map_err(refused)?;
        let listener = self.switchboard.listen(&call_id).await.map_err(refusal)?;
        let pieces = listen::stream(listener, terms).take_until(until(self.closing.clone()));
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn drain(&self, _: Request<proto::DrainRequest>) -> Result<Response<proto::DrainResponse>, Status> {
        let calls = events::count(self.switchboard.drain().await);
        Ok(Response::new(proto::DrainResponse { calls }))
    }

    async fn reload(&self, _: Request<proto::ReloadRequest>) -> Result<Response<proto::ReloadResponse>, Status> {
        Err(Status::unimplemented("Reload is not built yet"))
    }
}

async fn dial<S: Switchboard>(switchboard: &S, request: proto::DialRequest) -> Result<String, Status> {
    let order = orders::dial(request).map_err(refused)?;
    let call_id = switchboard.dial(order).await.map_err(refusal)?;
    Ok(call_id.to_string())
}

/// A field that cannot be honoured.
fn refused(refused: Refused) -> Status {
    let Refused { kind, field, reason } = refused;
    let code = match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::NotBuilt => Code::Unimplemented,
    };
    Status::new(code, format!("{field}: {reason}"))
}

/// What the switchboard says no to.
fn refusal(refusal: Refusal) -> Status {
    let code = match &refusal {
        Refusal::Invalid { .. } => Code::InvalidArgument,
        Refusal::Exhausted { .. }
        | Refusal::Overload(_)
        | Refusal::NumberLimit(_)
        | Refusal::Rate(_)
        | Refusal::Listeners(_) => Code::ResourceExhausted,
        Refusal::NotFound(_) => Code::NotFound,
        Refusal::TooLate | Refusal::WrongState(_) => Code::FailedPrecondition,
        Refusal::Draining | Refusal::Down { .. } => Code::Unavailable,
    };
    Status::new(code, refusal.to_string())
}
