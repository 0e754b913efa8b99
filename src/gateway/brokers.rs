//! The brokers of a gateway: a client and a publisher each, on a thread beside the workers.
//!
//! Owns what survives a reload: the outbox and the counters of a broker, and the connection as long as its settings stay.
//! No line and no client waits for a broker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::join;
use crate::config::{Broker, Config};
use crate::mqtt::client::{self, BrokerClient};
use crate::mqtt::{BrokerMetrics, BrokerSettings, Delivery, Outbox, SparkplugOutbox};
use crate::publisher::{Clocks, Plan, Publisher, StateTracks, devices};
use crate::runtime::{BackgroundRuntime, host_name};
use crate::serial::clock;
use crate::sparkplug::{EdgeNode, Ids, Taken};
use crate::web::{BrokerSource, SharedSources};

/// All brokers.
pub(super) struct Brokers {
    /// `None`: no broker has been configured so far.
    background: Option<BackgroundRuntime>,
    sources: SharedSources,
    states: Arc<StateTracks>,
    running: Vec<RunningBroker>,
    /// Tasks that were stopped by a reload, and have not ended yet.
    stopping: Vec<RunningTask>,
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brokers").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// One broker with its tasks.
struct RunningBroker {
    connection: BrokerSettings,
    publisher: Arc<Mutex<Publisher>>,
    delivery: Delivery,
    /// `None`: it is published as JSON.
    sparkplug: Option<Ids>,
    metrics: Arc<BrokerMetrics>,
    /// `None`: it is to be started.
    client: Option<RunningTask>,
    /// The same.
    sampler: Option<RunningTask>,
}

struct RunningTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Brokers {
    /// Those of `config`; nothing is published before `sources` has the buses.
    pub(super) fn start(config: &Config, sources: SharedSources) -> Self {
        let mut brokers = Self {
            background: None,
            sources,
            states: Arc::default(),
            running: Vec::new(),
            stopping: Vec::new(),
        };
        brokers.running = config.brokers.iter().map(|broker| brokers.new_broker(config, broker)).collect();
        brokers.connect();
        brokers
    }

    /// Applies a new configuration to what is published, and stops the connections that go; a connection whose settings
    /// stay is not disturbed, and what waits for a broker that stays is kept. [`Self::finish_reload`] follows.
    pub(super) fn begin_reload(&mut self, config: &Config) {
        let mut earlier = std::mem::take(&mut self.running);
        let mut take = |is_it: &dyn Fn(&RunningBroker) -> bool| {
            earlier.iter().position(is_it).map(|index| earlier.swap_remove(index))
        };
        // What goes on elsewhere must not be what another entry goes on with where it was.
        let mut kept: Vec<_> =
            config.brokers.iter().map(|wanted| take(&|running| running.stays_as(wanted))).collect();
        for (kept, wanted) in kept.iter_mut().zip(&config.brokers) {
            if kept.is_none() {
                *kept = take(&|running| running.goes_on_as(wanted));
            }
        }
        for (kept, wanted) in kept.into_iter().zip(&config.brokers) {
            let running = match kept {
                Some(mut running) => {
                    self.stopping.extend(running.replace(config, wanted));
                    running
                }
                None => self.new_broker(config, wanted),
            };
            self.running.push(running);
        }
        for gone in earlier {
            let goes_on =
                config.brokers.iter().any(|wanted| is_continued(&gone.connection, &wanted.connection));
            if let Delivery::Json(outbox) = &gone.delivery
                && !goes_on
            {
                outbox.retire();
            }
            self.stopping.extend(gone.into_tasks());
        }
        for task in &self.stopping {
            task.stop.cancel();
        }
    }

    /// Waits for the connections that go, all at once, then connects: `offline` of an old connection must not follow
    /// `online` of a new one with the same topic.
    pub(super) async fn finish_reload(&mut self) {
        for mut stopping in std::mem::take(&mut self.stopping) {
            join(&mut stopping.task, "broker").await;
        }
        self.connect();
    }

    /// Publishes `offline` where that is possible, and disconnects.
    pub(super) async fn stop(mut self) {
        let running = std::mem::take(&mut self.running);
        self.stopping.extend(running.into_iter().flat_map(RunningBroker::into_tasks));
        for task in &self.stopping {
            task.stop.cancel();
        }
        for mut stopping in self.stopping {
            join(&mut stopping.task, "broker").await;
        }
    }

    /// What the pages show, in the order of the configuration.
    pub(super) fn sources(&self) -> Vec<BrokerSource> {
        let source = |broker: &RunningBroker| BrokerSource {
            settings: broker.connection.clone(),
            delivery: broker.delivery.clone(),
            metrics: Arc::clone(&broker.metrics),
        };
        self.running.iter().map(source).collect()
    }

    /// A broker that is not connected yet.
    fn new_broker(&self, config: &Config, broker: &Broker) -> RunningBroker {
        let plan = plan(config, broker);
        let limit = broker.publication.buffer;
        let delivery = match &broker.publication.sparkplug {
            None => Delivery::Json(Arc::new(Outbox::new(limit))),
            Some(ids) => {
                let began = Taken::new(Instant::now(), SystemTime::now());
                let node = EdgeNode::new(ids.clone(), limit, began);
                Delivery::Sparkplug(Arc::new(SparkplugOutbox::new(node)))
            }
        };
        define(&delivery, &plan);
        let metrics = Arc::<BrokerMetrics>::default();
        metrics.set_interval(broker.publication.every);
        RunningBroker {
            connection: broker.connection.clone(),
            publisher: Arc::new(Mutex::new(Publisher::new(plan, Arc::clone(&self.states)))),
            delivery,
            sparkplug: broker.publication.sparkplug.clone(),
            metrics,
            client: None,
            sampler: None,
        }
    }

    /// Starts the tasks that do not run yet.
    fn connect(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let mut running = std::mem::take(&mut self.running);
        let sources = Arc::clone(&self.sources);
        if let Some(background) = self.background() {
            for broker in &mut running {
                broker.start(background, &sources);
            }
        }
        self.running = running;
    }

    /// The thread of all brokers, started with the first.
    fn background(&mut self) -> Option<&BackgroundRuntime> {
        if self.background.is_none() {
            match BackgroundRuntime::start("mqtt") {
                Ok(background) => self.background = Some(background),
                Err(error) => warn!("nothing is published over MQTT: cannot start its thread: {error}"),
            }
        }
        self.background.as_ref()
    }
}

impl RunningBroker {
    /// Starts what does not run yet.
    fn start(&mut self, background: &BackgroundRuntime, sources: &SharedSources) {
        if self.client.is_none() {
            // The states of an earlier run are replaced before the broker is told that the gateway is there.
            publish(&self.publisher, &self.delivery, sources);
            let client = BrokerClient {
                settings: self.connection.clone(),
                delivery: self.delivery.clone(),
                metrics: Arc::clone(&self.metrics),
            };
            self.client = Some(RunningTask::start(background, |stop| client::run(client, stop)));
        }
        if self.sampler.is_none() {
            let (publisher, delivery) = (Arc::clone(&self.publisher), self.delivery.clone());
            let sources = Arc::clone(sources);
            self.sampler =
                Some(RunningTask::start(background, |stop| sample(publisher, delivery, sources, stop)));
        }
    }

    /// Whether the entry publishes the same to the same broker, also under another client identifier.
    fn stays_as(&self, wanted: &Broker) -> bool {
        self.connection.address == wanted.connection.address && self.publishes_as(wanted)
    }

    /// Whether the entry publishes the same elsewhere, so that what waits is not lost: at the same broker over TLS, or, with its
    /// bdSeq, as the same node at any.
    fn goes_on_as(&self, wanted: &Broker) -> bool {
        let is_there = self.sparkplug.is_some() || is_continued(&self.connection, &wanted.connection);
        is_there && self.publishes_as(wanted)
    }

    fn publishes_as(&self, wanted: &Broker) -> bool {
        match (&self.sparkplug, &wanted.publication.sparkplug) {
            (None, None) => self.connection.status_topic == wanted.connection.status_topic,
            (Some(before), Some(now)) => before.is_same_node(now),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Goes on with new settings of the same broker. Returns the client if it has to be stopped for them.
    fn replace(&mut self, config: &Config, wanted: &Broker) -> Option<RunningTask> {
        let plan = plan(config, wanted);
        self.delivery.set_limit(wanted.publication.buffer);
        self.metrics.set_interval(wanted.publication.every);
        {
            // Nothing is published in between: what is due at once would be for a device that is not defined yet.
            let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
            publisher.replace_plan(Arc::clone(&plan));
            define(&self.delivery, &plan);
        }
        if self.connection == wanted.connection && self.sparkplug == wanted.publication.sparkplug {
            return None;
        }
        if let (Delivery::Sparkplug(outbox), Some(ids)) = (&self.delivery, &wanted.publication.sparkplug) {
            outbox.set_primary_host(ids.primary_host.clone());
        }
        self.connection = wanted.connection.clone();
        self.sparkplug = wanted.publication.sparkplug.clone();
        self.client.take()
    }

    fn into_tasks(self) -> impl Iterator<Item = RunningTask> {
        self.client.into_iter().chain(self.sampler)
    }
}

impl RunningTask {
    fn start<F>(background: &BackgroundRuntime, task: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = background.spawn(task(stop.clone()));
        Self { stop, task }
    }
}

/// Whether a new connection publishes the same again at once, so that nothing has to be removed: to the same port, or to the
/// same host with TLS instead of without it.
fn is_continued(gone: &BrokerSettings, wanted: &BrokerSettings) -> bool {
    let (before, now) = (&gone.address, &wanted.address);
    gone.status_topic == wanted.status_topic
        && before.server().host() == now.server().host()
        && (before.server() == now.server() || before.scheme() != now.scheme())
}

/// Hands over what the plan has of topics, entities and devices.
fn define(delivery: &Delivery, plan: &Arc<Plan>) {
    delivery.set_pace(plan.pace());
    match delivery {
        Delivery::Json(outbox) => {
            outbox.forget_states(|topic| !plan.has_state(topic));
            outbox.announce(Arc::clone(plan) as _);
        }
        Delivery::Sparkplug(outbox) => outbox.define(devices(plan)),
    }
}

fn plan(config: &Config, broker: &Broker) -> Arc<Plan> {
    let site = config.site.clone().or_else(host_name).unwrap_or_else(|| "metergate".to_owned());
    Arc::new(Plan::new(config, broker, site, Instant::now()))
}

/// Looks at what the buses have published, several times a second.
async fn sample(
    publisher: Arc<Mutex<Publisher>>,
    delivery: Delivery,
    sources: SharedSources,
    stop: CancellationToken,
) {
    let mut due = interval(SAMPLE_PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = due.tick() => publish(&publisher, &delivery, &sources),
        }
    }
}

fn publish(publisher: &Mutex<Publisher>, delivery: &Delivery, sources: &SharedSources) {
    let published = sources.load().published();
    let (now, wall) = clock::both();
    let clocks = Clocks { now, wall };
    let mut publisher = publisher.lock().unwrap_or_else(PoisonError::into_inner);
    match delivery {
        Delivery::Json(outbox) => publisher.publish(&published, &clocks, outbox),
        Delivery::Sparkplug(outbox) => publisher.publish_sparkplug(&published, &clocks, outbox),
    }
}

/// Time between two looks: an outage is told, and a due reading published, at most so much later.
const SAMPLE_PERIOD: Duration = Duration::from_millis(250);
