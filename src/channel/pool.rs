//! The endpoints of one service: which of them are there, and which one the next stream goes to.
//!
//! | what comes | means |
//! |---|---|
//! | an answer to the question that is asked again and again | it is there |
//! | none in time, none at all; a stream that breaks before it said anything | a failure |
//! | "not serving" (gRPC health), or an answer that shows that it cannot do what is configured | it is down at once |
//!
//! So many failures in a row, and an endpoint is down; so many answers in a row, and it is up again. Until it has been asked it counts as up.
//! A new stream goes to the one with the fewest streams of those that are up, in turn if they have equally many; when all are down it is
//! tried all the same, since who asks may know less than who needs. One whose stream has just broken comes after the others.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::connections::NoRoom;
use super::{BadEndpoint, Client, in_words};

/// From an answer or a failure to the next question, while the one after it may change what is thought of the endpoint.
const SOON: Duration = Duration::from_secs(1);

/// The method by which health is asked for.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// How endpoints are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// From one question to the next.
    pub interval: Duration,
    /// Failures in a row after which an endpoint is down.
    pub down_after: u32,
    /// Answers in a row after which it is up again.
    pub up_after: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { interval: Duration::from_secs(5), down_after: 2, up_after: 1 }
    }
}

/// What is known of one endpoint. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Health {
    up: bool,
    /// It has been asked.
    asked: bool,
    failures: u32,
    answers: u32,
    /// What the last failure was.
    reason: String,
}

impl Health {
    fn new() -> Health {
        Health { up: true, asked: false, failures: 0, answers: 0, reason: "has not been asked yet".to_owned() }
    }

    /// Whether that changes whether it is up.
    fn answered(&mut self, plan: &Plan) -> bool {
        self.failures = 0;
        self.answers += 1;
        let turns = !self.up && self.answers >= plan.up_after;
        self.up |= turns;
        turns
    }

    /// The same of a failure. `at_once`: one is enough.
    fn failed(&mut self, reason: String, at_once: bool, plan: &Plan) -> bool {
        self.answers = 0;
        self.failures += 1;
        self.reason = reason;
        let turns = self.up && (at_once || self.failures >= plan.down_after);
        self.up &= !turns;
        turns
    }

    /// Whether the next answer or failure may turn it.
    fn wavers(&self) -> bool {
        if self.up { self.failures > 0 } else { self.answers > 0 }
    }
}

/// A question under way.
pub type Asking = BoxFuture<'static, Result<(), Failed>>;

/// What a question came to, when it was not answered well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// With name and endpoint.
    pub reason: String,
    /// It is there, and says that it is not to be used.
    pub at_once: bool,
}

/// One endpoint and the way to it.
#[derive(Debug)]
pub struct Place<L> {
    /// `http://host:port`.
    pub endpoint: String,
    /// How it is reached.
    pub link: L,
    health: watch::Sender<Health>,
    plan: Plan,
    counted: OfEndpoint,
}

impl<L> Place<L> {
    /// A stream of it begins; it ends with what is returned.
    pub fn enter(&self) -> Stream {
        self.counted.streams.inc();
        Stream(self.counted.streams.clone())
    }

    /// It has answered, a question or a stream.
    pub fn answered(&self) {
        self.health.send_if_modified(|health| {
            let before = health.clone();
            if health.answered(&self.plan) {
                tracing::info!(target: "services", endpoint = self.endpoint, "answers again: it gets streams");
            }
            self.counted.up.set(i64::from(health.up));
            *health != before
        });
    }

    /// A stream of it has broken. `in_use`: it had said something before.
    pub fn broke(&self, reason: &str, in_use: bool) {
        self.counted.failures.inc();
        if !in_use {
            self.failed(Failed { reason: reason.to_owned(), at_once: false });
        }
    }

    fn failed(&self, Failed { reason, at_once }: Failed) {
        self.health.send_if_modified(|health| {
            if health.failed(reason.clone(), at_once, &self.plan) {
                tracing::warn!(target: "services", endpoint = self.endpoint, reason, "is down: it gets no streams while others are up");
            }
            self.counted.up.set(i64::from(health.up));
            true
        });
    }

    /// Asks it again and again. Never ends.
    async fn watch(self: Arc<Self>, asks: impl Fn(Arc<Place<L>>) -> Asking) {
        loop {
            let found = asks(self.clone()).await;
            self.health.send_if_modified(|health| !std::mem::replace(&mut health.asked, true));
            match found {
                Ok(()) => self.answered(),
                Err(failed) => self.failed(failed),
            }
            let wavers = self.health.borrow().wavers();
            tokio::time::sleep(if wavers { SOON.min(self.plan.interval) } else { self.plan.interval }).await;
        }
    }
}

/// A stream of an endpoint, as it is counted.
#[derive(Debug)]
pub struct Stream(Gauge);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All endpoints of a service.
#[derive(Debug)]
pub struct Pool<L> {
    places: Vec<Arc<Place<L>>>,
    turn: AtomicUsize,
}

impl<L> Pool<L> {
    /// Nothing is connected yet: `link` says how an endpoint is reached.
    pub fn new(
        name: &str,
        endpoints: &[String],
        plan: Plan,
        metrics: &Metrics,
        mut link: impl FnMut(&str) -> Result<L, BadEndpoint>,
    ) -> Result<Pool<L>, BadEndpoint> {
        let place = |endpoint: &String| {
            let (health, _) = watch::channel(Health::new());
            let link = link(endpoint)?;
            Ok(Arc::new(Place { endpoint: endpoint.clone(), link, health, plan, counted: metrics.of(name, endpoint) }))
        };
        let places = endpoints.iter().map(place).collect::<Result<Vec<_>, BadEndpoint>>()?;
        Ok(Pool { places, turn: AtomicUsize::new(0) })
    }

    /// Where the next stream goes; those of `avoid` (their endpoints) only when there is no other. `None`: there is no endpoint at all.
    pub fn pick(&self, avoid: &[String]) -> Option<&Arc<Place<L>>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.places.len().max(1);
        let rank = |(n, place): &(usize, &Arc<Place<L>>)| {
            let avoided = avoid.contains(&place.endpoint);
            let load = place.counted.streams.get();
            (Reverse(place.health.borrow().up), avoided, load, (*n + self.places.len() - turn) % self.places.len())
        };
        self.places.iter().enumerate().min_by_key(rank).map(|(_, place)| place)
    }

    /// Whether a stream that just broke at one of `avoid` has somewhere else to go at once.
    pub fn has_other(&self, avoid: &[String]) -> bool {
        self.places.iter().any(|place| place.health.borrow().up && !avoid.contains(&place.endpoint))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Asks all of them again and again, each at its own pace. Never ends.
    pub fn watch<A>(&self, asks: A) -> impl Future<Output = ()> + use<L, A>
    where
        A: Fn(Arc<Place<L>>) -> Asking + Clone,
    {
        let all: Vec<_> = self.places.iter().map(|place| place.clone().watch(asks.clone())).collect();
        future::join_all(all).map(drop)
    }

    /// Why no stream should be sent here, when none of them is known to be up; a reason for each.
    pub fn troubles(&self) -> Vec<String> {
        let well = |place: &Arc<Place<L>>| {
            let health = place.health.borrow();
            health.up && health.asked
        };
        if self.places.iter().any(well) {
            return Vec::new();
        }
        self.places.iter().map(|place| place.health.borrow().reason.clone()).collect()
    }

    /// The next news of an endpoint, from this moment on.
    pub fn changed(&self) -> BoxFuture<'static, ()> {
        first(self.places.iter().map(|place| {
            let mut news = place.health.subscribe();
            async move {
                if news.changed().await.is_err() {
                    // The pool is gone: there are no news any more.
                    future::pending().await
                }
            }
            .boxed()
        }))
    }
}

/// The first of several to be done; never, if there is none.
pub fn first(all: impl Iterator<Item = BoxFuture<'static, ()>>) -> BoxFuture<'static, ()> {
    let all: Vec<_> = all.collect();
    match all.is_empty() {
        true => future::pending().boxed(),
        false => future::select_all(all).map(drop).boxed(),
    }
}

/// Asks a server's health service (`grpc.health.v1`) for one of its services. One that has no such service is there all the same; `Ok(true)`:
/// it has, and it serves.
///
/// # Errors
/// Nobody is there, or whoever is there says that it does not serve.
pub async fn health(link: &Client, service: &str, whom: &str, patience: Duration) -> Result<bool, Failed> {
    let question = HealthCheckRequest { service: service.to_owned() };
    let asked = link.ask::<HealthCheckResponse>(HEALTH, &question);
    let failed = |what: String, at_once| Failed { reason: format!("{whom}: {what}"), at_once };
    match tokio::time::timeout(patience, asked).await {
        Err(_) => Err(failed(format!("did not say within {patience:?} whether it serves"), false)),
        Ok(Ok(answer)) => match answer.status() {
            ServingStatus::NotServing => Err(failed("says that it does not serve".to_owned(), true)),
            _ => Ok(true),
        },
        Ok(Err(status)) if nobody(&status) => Err(failed(in_words(&status), false)),
        // It knows neither health nor this service: somebody has said so.
        Ok(Err(_)) => Ok(false),
    }
}

/// Whether a status tells that nobody is there, or is of our own making.
fn nobody(status: &Status) -> bool {
    let no_room = std::error::Error::source(status).is_some_and(|source| source.is::<NoRoom>());
    no_room || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

/// What is counted of the endpoints of one kind of service. Cheap to clone; the clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    up: Family<ByEndpoint, Gauge>,
    streams: Family<ByEndpoint, Gauge>,
    failures: Family<ByEndpoint, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEndpoint {
    service: String,
    endpoint: String,
}

#[derive(Debug)]
struct OfEndpoint {
    up: Gauge,
    streams: Gauge,
    failures: Counter,
}

impl Metrics {
    /// Adds all to a registry; `kind` is `speech` or `dialogue`.
    pub fn register(&self, kind: &str, registry: &mut Registry) {
        registry.register(format!("{kind}_endpoint_up"), "Whether new streams go to it", self.up.clone());
        registry.register(format!("{kind}_endpoint_streams"), "Streams that it has now", self.streams.clone());
        registry.register(format!("{kind}_endpoint_failures"), "Streams of it that broke", self.failures.clone());
    }

    fn of(&self, service: &str, endpoint: &str) -> OfEndpoint {
        let label = ByEndpoint { service: service.to_owned(), endpoint: endpoint.to_owned() };
        let up = self.up.get_or_create(&label).clone();
        up.set(1);
        OfEndpoint {
            up,
            streams: self.streams.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(endpoints: &[&str]) -> Pool<()> {
        let endpoints: Vec<_> = endpoints.iter().map(|e| (*e).to_owned()).collect();
        Pool::new("s", &endpoints, Plan::default(), &Metrics::default(), |_| Ok(())).expect("no endpoint is wrong")
    }

    fn picked(pool: &Pool<()>, avoid: &[&str]) -> String {
        let avoid: Vec<_> = avoid.iter().map(|e| (*e).to_owned()).collect();
        pool.pick(&avoid).expect("there is one").endpoint.clone()
    }

    #[test]
    fn streams_go_in_turn_and_then_to_the_least_loaded() {
        let pool = pool(&["a", "b", "c"]);
        let mut turn: Vec<_> = (0..3).map(|_| picked(&pool, &[])).collect();
        turn.sort();
        assert_eq!(turn, ["a", "b", "c"], "nobody has more than another");
        let (one, two) = (pool.places[0].enter(), pool.places[2].enter());
        assert!((0..6).all(|_| picked(&pool, &[]) == "b"));
        drop((one, two));
        assert!((0..6).any(|_| picked(&pool, &[]) != "b"));
    }

    #[test]
    fn one_that_is_down_is_passed_over_until_it_answers() {
        let pool = pool(&["a", "b"]);
        let broken = || Failed { reason: "refused".into(), at_once: false };
        pool.places[0].failed(broken());
        assert!((0..4).any(|_| picked(&pool, &[]) == "a"), "one failure is not enough");
        pool.places[0].failed(broken());
        assert!((0..4).all(|_| picked(&pool, &["b"]) == "b"), "b is up, though it is better avoided");
        assert_eq!(pool.places[0].counted.up.get(), 0);
        pool.places[0].answered();
        assert!((0..4).all(|_| picked(&pool, &["b"]) == "a"));
        assert!(pool.has_other(&["b".to_owned()]) && !pool.has_other(&["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn when_all_are_down_one_is_tried_all_the_same() {
        let pool = pool(&["a", "b"]);
        for place in &pool.places {
            place.failed(Failed { reason: format!("{} is gone", place.endpoint), at_once: true });
        }
        assert_eq!(picked(&pool, &["a"]), "b");
        assert_eq!(pool.troubles(), ["a is gone", "b is gone"]);
        pool.places[1].answered();
        pool.places[1].health.send_modify(|health| health.asked = true);
        assert_eq!(pool.troubles(), Vec::<String>::new());
    }

    #[test]
    fn a_stream_that_was_in_use_says_nothing_against_its_endpoint() {
        let pool = pool(&["a", "b"]);
        (0..5).for_each(|_| pool.places[0].broke("reset", true));
        assert!(pool.places[0].health.borrow().up);
        (0..2).for_each(|_| pool.places[0].broke("refused", false));
        assert!(!pool.places[0].health.borrow().up);
        assert_eq!(pool.places[0].counted.failures.get(), 7);
    }

    #[test]
    fn so_many_in_a_row() {
        let plan = Plan { down_after: 3, up_after: 2, ..Plan::default() };
        let mut health = Health::new();
        assert!(!health.failed("x".into(), false, &plan) && !health.failed("x".into(), false, &plan));
        health.answered(&plan);
        assert!(!health.failed("x".into(), false, &plan) && !health.failed("x".into(), false, &plan));
        assert!(health.failed("x".into(), false, &plan) && !health.up);
        assert!(!health.answered(&plan) && health.wavers());
        health.failed("x".into(), false, &plan);
        assert!(!health.answered(&plan) && health.answered(&plan) && health.up);
    }
}
