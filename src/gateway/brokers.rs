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
use crate::mqtt::{BrokerMetrics, BrokerSettings, Outbox};
use crate::publisher::{Clocks, Plan, Publisher};
use crate::runtime::{BackgroundRuntime, host_name};
use crate::serial::clock;
use crate::web::{BrokerSource, SharedSources};

/// All brokers.
pub(super) struct Brokers {
    /// `None`: no broker has been configured so far.
    background: Option<BackgroundRuntime>,
    sources: SharedSources,
    running: Vec<RunningBroker>,
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brokers").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// One broker with its tasks.
struct RunningBroker {
    connection: BrokerSettings,
    plan: Arc<Plan>,
    publisher: Arc<Mutex<Publisher>>,
    outbox: Arc<Outbox>,
    metrics: Arc<BrokerMetrics>,
    client: RunningTask,
    sampler: RunningTask,
}

struct RunningTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Brokers {
    /// Those of `config`; nothing is published before `sources` has the buses.
    pub(super) fn start(config: &Config, sources: SharedSources) -> Self {
        let mut brokers = Self { background: None, sources, running: Vec::new() };
        for broker in &config.brokers {
            brokers.add(config, broker);
        }
        brokers
    }

    /// Applies a new configuration. A connection whose settings stay is not disturbed, and what waits for a broker that
    /// stays is kept.
    pub(super) async fn reload(&mut self, config: &Config) {
        let mut earlier = std::mem::take(&mut self.running);
        for wanted in &config.brokers {
            let is_same = |running: &RunningBroker| {
                running.connection.address == wanted.connection.address
                    && running.connection.client_id == wanted.connection.client_id
            };
            match earlier.iter().position(is_same) {
                Some(index) => {
                    let running = earlier.swap_remove(index);
                    let kept = self.replace(running, config, wanted).await;
                    self.running.extend(kept);
                }
                None => self.add(config, wanted),
            }
        }
        for gone in earlier {
            gone.stop().await;
        }
    }

    /// Publishes `offline` where that is possible, and disconnects.
    pub(super) async fn stop(self) {
        for broker in &self.running {
            broker.client.stop.cancel();
        }
        for broker in self.running {
            broker.stop().await;
        }
    }

    /// What the pages show, in the order of the configuration.
    pub(super) fn sources(&self) -> Vec<BrokerSource> {
        let source = |broker: &RunningBroker| BrokerSource {
            settings: broker.connection.clone(),
            outbox: Arc::clone(&broker.outbox),
            metrics: Arc::clone(&broker.metrics),
        };
        self.running.iter().map(source).collect()
    }

    fn add(&mut self, config: &Config, broker: &Broker) {
        let plan = plan(config, broker, None);
        let outbox = Arc::new(Outbox::new(broker.publication.buffer));
        outbox.announce(Arc::clone(&plan) as _);
        let publisher = Arc::new(Mutex::new(Publisher::new(Arc::clone(&plan))));
        let sources = Arc::clone(&self.sources);
        // The states of an earlier run are replaced before the broker is told that the gateway is there.
        publish(&publisher, &outbox, &sources);
        let Some(background) = self.background() else { return };
        let sampler = RunningTask::start(background, |stop| {
            sample(Arc::clone(&publisher), Arc::clone(&outbox), sources, stop)
        });
        let metrics = Arc::<BrokerMetrics>::default();
        let connection = broker.connection.clone();
        let client = connect(background, &connection, &plan, &outbox, &metrics);
        self.running.push(RunningBroker { connection, plan, publisher, outbox, metrics, client, sampler });
    }

    /// The same broker with new settings; `None`: it cannot be connected to any more.
    async fn replace(
        &mut self,
        running: RunningBroker,
        config: &Config,
        wanted: &Broker,
    ) -> Option<RunningBroker> {
        let plan = plan(config, wanted, Some(&running.plan));
        let RunningBroker { connection, publisher, outbox, metrics, mut client, sampler, .. } = running;
        let is_connected_alike = connection == wanted.connection;
        if !is_connected_alike {
            client.stop().await;
        }
        outbox.set_limit(wanted.publication.buffer);
        publisher.lock().unwrap_or_else(PoisonError::into_inner).replace_plan(Arc::clone(&plan));
        outbox.forget_states(|topic| !plan.has_state(topic));
        outbox.announce(Arc::clone(&plan) as _);
        let connection = wanted.connection.clone();
        if !is_connected_alike {
            client = connect(self.background()?, &connection, &plan, &outbox, &metrics);
        }
        Some(RunningBroker { connection, plan, publisher, outbox, metrics, client, sampler })
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
    async fn stop(mut self) {
        self.client.stop().await;
        self.sampler.stop().await;
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

    async fn stop(&mut self) {
        self.stop.cancel();
        join(&mut self.task, "broker").await;
    }
}

fn connect(
    background: &BackgroundRuntime,
    connection: &BrokerSettings,
    plan: &Plan,
    outbox: &Arc<Outbox>,
    metrics: &Arc<BrokerMetrics>,
) -> RunningTask {
    let client = BrokerClient {
        settings: connection.clone(),
        outbox: Arc::clone(outbox),
        metrics: Arc::clone(metrics),
        pace: plan.pace(),
    };
    RunningTask::start(background, |stop| client::run(client, stop))
}

fn plan(config: &Config, broker: &Broker, former: Option<&Plan>) -> Arc<Plan> {
    let site = config.site.clone().or_else(host_name).unwrap_or_else(|| "metergate".to_owned());
    Arc::new(Plan::new(config, broker, site, former, Instant::now()))
}

/// Looks at what the buses have published, several times a second.
async fn sample(
    publisher: Arc<Mutex<Publisher>>,
    outbox: Arc<Outbox>,
    sources: SharedSources,
    stop: CancellationToken,
) {
    let mut due = interval(SAMPLE_PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = due.tick() => publish(&publisher, &outbox, &sources),
        }
    }
}

fn publish(publisher: &Mutex<Publisher>, outbox: &Outbox, sources: &SharedSources) {
    let published = sources.load().published();
    let clocks = Clocks { now: clock::now(), wall: SystemTime::now() };
    publisher.lock().unwrap_or_else(PoisonError::into_inner).publish(&published, &clocks, outbox);
}

/// Time between two looks: an outage is told, and a due reading published, at most so much later.
const SAMPLE_PERIOD: Duration = Duration::from_millis(250);
