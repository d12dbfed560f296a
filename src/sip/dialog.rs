//! RFC 3261 §12: dialogs. Who the two sides are, how they are reached, and how their requests count.

use super::message::{
    Fault, HeaderName, Headers, Method, NameAddr, Request, RequestLine, Response, Target, Uri, Writer,
};
use super::{Local, token};
use rand::rngs::StdRng;

/// Our side of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: Vec<u8>,
    remote: Vec<u8>,
    local_tag: String,
    remote_tag: String,
    local_seq: u32,
    remote_seq: Option<u32>,
    routes: Vec<Uri>,
    remote_target: Uri,
    /// Where a request goes when neither route nor remote target names a host.
    fallback: Target,
}

/// How a request within a dialog stands to the ones before it (§12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Its CSeq is higher than every one before.
    Next,
    /// It came too late: 500.
    Old,
}

impl Dialog {
    /// The caller's side, from its INVITE and a response with a To tag (§12.1.2).
    ///
    /// # Errors
    /// The defect of a response whose From, To, Contact or Record-Route does not read.
    pub fn caller(invite: &Request, response: &Response, sent_to: Target) -> Result<Dialog, Fault> {
        let mut routes = routes(response)?;
        routes.reverse();
        Ok(Dialog {
            call_id: invite.call_id()?.to_owned(),
            local: raw(invite, HeaderName::From)?,
            remote: raw(response, HeaderName::To)?,
            local_tag: invite.from()?.tag().unwrap_or_default().into_owned(),
            remote_tag: response.to()?.tag().unwrap_or_default().into_owned(),
            local_seq: invite.cseq()?.number,
            remote_seq: None,
            routes,
            // A 2xx without Contact breaks §12.1.1; the URI that was dialled is the next best.
            remote_target: response.contact()?.map_or_else(|| invite.uri().clone(), |contact| contact.uri),
            fallback: sent_to,
        })
    }

    /// The 2xx of a dialog that was early until now: its route set and target count from here on (§13.2.2.4).
    ///
    /// # Errors
    /// The defect of a response whose Contact or Record-Route does not read.
    pub fn confirm(&mut self, response: &Response) -> Result<(), Fault> {
        let mut routes = routes(response)?;
        routes.reverse();
        self.routes = routes;
        self.refresh(response.contact()?);
        Ok(())
    }

    /// The callee's side, from the INVITE and our tag (§12.1.1).
    ///
    /// # Errors
    /// The defect of an INVITE whose From, To, Contact, CSeq or Record-Route does not read.
    pub fn callee(invite: &Request, tag: &str, source: Target, rng: &mut StdRng) -> Result<Dialog, Fault> {
        let contact = invite.contact()?.ok_or(Fault::bad("Missing Contact"))?;
        Ok(Dialog {
            call_id: invite.call_id()?.to_owned(),
            local: [&raw(invite, HeaderName::To)?, b";tag=".as_slice(), tag.as_bytes()].concat(),
            remote: raw(invite, HeaderName::From)?,
            local_tag: tag.to_owned(),
            remote_tag: invite.from()?.tag().unwrap_or_default().into_owned(),
            local_seq: token::first_cseq(rng),
            remote_seq: Some(invite.cseq()?.number),
            routes: routes(invite)?,
            remote_target: contact.uri,
            fallback: source,
        })
    }

    /// The far side's tag; empty when it is an RFC 2543 one that gave none.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The number of our last request.
    pub fn local_seq(&self) -> u32 {
        self.local_seq
    }

    /// Where the far side wants its requests.
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// Whether a request that we got belongs here: To is us and From is them.
    pub fn owns(&self, request: &Request) -> bool {
        let to = request.to().ok().and_then(|to| to.tag().map(|t| t.into_owned()));
        let from = request.from().ok().and_then(|from| from.tag().map(|t| t.into_owned()));
        to.as_deref() == Some(&self.local_tag) && from.as_deref().unwrap_or("") == self.remote_tag
    }

    /// Takes in the CSeq of a request that is new to us. An equal number is old too: the far side has used it.
    pub fn order(&mut self, number: u32) -> Order {
        if self.remote_seq.is_some_and(|last| number <= last) {
            return Order::Old;
        }
        self.remote_seq = Some(number);
        Order::Next
    }

    /// Target refresh (§12.2): the Contact of a re-INVITE or UPDATE, or of our own one's 2xx.
    pub fn refresh(&mut self, contact: Option<NameAddr>) {
        if let Some(contact) = contact {
            self.remote_target = contact.uri;
        }
    }

    /// The beginning of the next request in this dialog, up to CSeq, and where it goes (§12.2.1.1).
    pub fn request(&mut self, method: Method, local: &Local, branch: &str) -> (Writer<RequestLine>, Target) {
        self.local_seq += 1;
        self.write(method, self.local_seq, local, branch)
    }

    /// The beginning of the ACK to a 2xx (§13.2.2.4), which counts as the INVITE does.
    pub fn ack(&self, number: u32, local: &Local, branch: &str) -> (Writer<RequestLine>, Target) {
        self.write(Method::Ack, number, local, branch)
    }

    fn write(&self, method: Method, number: u32, local: &Local, branch: &str) -> (Writer<RequestLine>, Target) {
        let mut routes: Vec<&Uri> = self.routes.iter().collect();
        let mut uri = &self.remote_target;
        // §12.2.1.1: a first router without `lr` is a strict one. It gets itself as Request-URI, and the
        // remote target goes to the end of the list.
        if routes.first().is_some_and(|first| !first.is_loose()) {
            routes.push(uri);
            uri = routes.remove(0);
        }
        let strict = self.routes.first().is_some_and(|first| !first.is_loose());
        let hop = if strict { uri } else { routes.first().copied().unwrap_or(uri) };
        let transport = local.transport_to(hop);
        let to = hop.target_by(transport).unwrap_or_else(|| self.fallback.clone());
        let cseq = format!("{number} {method}");
        let mut out = local.begin(Writer::request(method, uri), transport, branch);
        for route in routes {
            out = out.header(HeaderName::Route, &format!("<{route}>"));
        }
        let out = out
            .header(HeaderName::MaxForwards, "70")
            .raw(HeaderName::From, &self.local)
            .raw(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, &cseq);
        (out, to)
    }
}

fn routes(message: &Headers) -> Result<Vec<Uri>, Fault> {
    Ok(message.record_routes()?.into_iter().map(|route| route.uri).collect())
}

fn raw(message: &Headers, name: HeaderName) -> Result<Vec<u8>, Fault> {
    message.all(name).next().map(<[u8]>::to_vec).ok_or(Fault::bad("Missing From or To"))
}
