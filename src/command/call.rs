//! `trunkline call`: has a server dial somebody, and shows the conversation.

use tonic::Status;

use super::screen::Screen;
use super::{Done, ended};
use crate::proto::control::v1::control_client::ControlClient;
use crate::proto::control::v1::event::Event as What;
use crate::proto::control::v1::send_request::Command;
use crate::proto::control::v1::{DialRequest, SendRequest, WatchRequest};
use crate::proto::dialogue::v1::Hangup;

/// Whom to dial, and by which server.
#[derive(Debug, Clone, clap::Args)]
pub struct Order {
    /// Number, user, or a whole sip: URI.
    callee: String,
    /// The profile to dial over; needed when there are several.
    #[arg(long, default_value = "")]
    trunk: String,
    /// The number that is shown; the trunk's own if none is given.
    #[arg(long, default_value = "")]
    caller: String,
    /// The configured name of a dialogue; the default one if none is given.
    #[arg(long, default_value = "")]
    dialogue: String,
    /// A variable for the dialogue, as name=value; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The server's control address.
    #[arg(long, default_value = "http://127.0.0.1:7070", value_name = "URL")]
    control: String,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not name=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Dials, shows what happens until the call is over; asked to end, it hangs up first.
///
/// # Errors
/// The server cannot be reached, or it refuses, with its own words; a call that was not answered.
pub async fn call(order: Order) -> Done {
    let refused = |status: Status| format!("{:?}: {}", status.code(), status.message());
    let away = |error| format!("{}: {error}; is `trunkline serve` running there?", order.control);
    let mut control = ControlClient::connect(order.control.clone()).await.map_err(away)?;
    // Watched first, so that nothing of the call is missed.
    let watch = WatchRequest { partials: true, ..WatchRequest::default() };
    let mut events = control.watch(watch).await.map_err(refused)?.into_inner();
    let request = DialRequest {
        request_id: format!("call-{:032x}", rand::random::<u128>()),
        callee: order.callee,
        caller: order.caller,
        trunk: order.trunk,
        dialogue: order.dialogue,
        variables: order.variables.into_iter().collect(),
        ..DialRequest::default()
    };
    let call_id = control.dial(request).await.map_err(refused)?.into_inner().call_id;
    let screen = Screen::new();
    let mut asked = std::pin::pin!(ended());
    let mut hanging_up = false;
    loop {
        let event = tokio::select! {
            event = events.message() => event.map_err(refused)?.ok_or("the server ended the watch")?,
            () = &mut asked => {
                if std::mem::replace(&mut hanging_up, true) {
                    return Err("left before the call was over".into());
                }
                asked.set(ended());
                let hangup = Hangup { now: true, reason: "hung up at the terminal".to_owned(), ..Default::default() };
                let command = Some(Command::Hangup(hangup));
                control.send(SendRequest { call_id: call_id.clone(), command, ..Default::default() }).await.map_err(refused)?;
                continue;
            }
        };
        // What is of no call may tell why this one comes to nothing.
        if !event.call_id.is_empty() && event.call_id != call_id {
            continue;
        }
        screen.show(&event);
        if let Some(What::Ended(ended)) = event.event {
            let record = ended.record.unwrap_or_default();
            return match record.answered_at {
                Some(_) => Ok(()),
                None => Err(format!("not answered: {}", record.end_reason).into()),
            };
        }
    }
}
