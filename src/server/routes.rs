//! What a listener accepts: from the unit identifier a client uses to a bus and a unit on its line.
//!
//! Owns the routing table and the decisions about a request before any line is involved. It never uses a socket, never
//! waits, and never changes a byte of what it accepts. Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b,
//! chapter 4.4.2.1 (unit identifiers).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tracing::info;

use crate::audit::{Addressed, Audit};
use crate::endpoint::Endpoint;
use crate::line::{DiagnosticsView, ListenerId, UnitId, diagnostics};
use crate::modbus::pdu::{ExceptionCode, FunctionCode, RequestPdu, is_read, may_be_read};
use crate::serial::{BusHandle, OwnConnections};
use crate::server::listener_metrics::ListenerMetrics;
use crate::server::rules::{Permission, Requester, RuleTable};
use crate::server::settings::{Broadcast, ListenerSettings, Writes};
use crate::traffic::Traffic;

/// The complete settings of a listener; a reload replaces them as a whole, also for open connections.
#[derive(Debug)]
pub struct ListenerState {
    /// The same over all reloads, as long as the address is configured.
    pub id: ListenerId,
    /// Limits and permissions.
    pub settings: ListenerSettings,
    /// The routing table.
    pub routes: Routes,
    /// Who may do what; `None`: as the settings' `writes` says. Made of the settings and the routes.
    pub rules: Option<RuleTable>,
    /// The unit identifier of the diagnostics unit, if there is one.
    pub diagnostics_unit: Option<u8>,
    /// When the gateway started.
    pub started: Instant,
    /// The counters of the clients.
    pub metrics: Arc<ListenerMetrics>,
    /// Where writes are recorded.
    pub audit: Arc<Audit>,
    /// Where traffic is recorded.
    pub traffic: Arc<Traffic>,
    /// The gateway's connections to servers: a client that is one of them is the gateway itself.
    pub own_connections: OwnConnections,
}

/// From the unit identifiers clients use to units on the lines of this listener's buses.
#[derive(Debug)]
pub struct Routes {
    buses: Vec<BusHandle>,
    table: Box<[Option<Route>; 256]>,
    /// Unit identifiers of `table`, and a function declared read only there.
    declared_reads: BTreeSet<(u8, FunctionCode)>,
    /// The printed number of the register at wire address 0, by unit identifier, where a profile has one.
    numbering: BTreeMap<u8, u32>,
}

/// One entry of the table.
#[derive(Clone, Copy, Debug)]
struct Route {
    bus: usize,
    unit: UnitId,
}

/// The decision about one request. A read declared by the configuration is marked as such in its PDU.
#[derive(Debug)]
pub enum Routed<'a> {
    /// Answered at once, without use of a line.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The request, not necessarily within the standard's limits.
        pdu: Bytes,
    },
    /// Goes to one unit.
    Unit {
        /// The bus of the unit.
        bus: &'a BusHandle,
        /// Its identifier on that line.
        unit: UnitId,
        /// The request, within the standard's limits.
        pdu: RequestPdu,
    },
    /// A request about the gateway itself, answered without use of a line.
    Diagnostics(RequestPdu),
    /// Goes to every unit of every bus.
    Broadcast {
        /// At least one.
        buses: &'a [BusHandle],
        /// The request, within the standard's limits.
        pdu: RequestPdu,
        /// Whether the client is answered once the request was sent.
        acknowledge: bool,
    },
}

/// Why a request is refused before the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is configured under the unit identifier.
    NoRoute,
    /// Unit 0 on a listener that refuses broadcasts or has no bus.
    NoBroadcast,
    /// Unit 0 with a function that only makes sense for one unit.
    NotForAll,
    /// The PDU violates the standard; the exception it is answered with.
    Pdu(ExceptionCode),
    /// A write on a listener that denies writes.
    WriteDenied,
    /// A read that no rule allows.
    ReadForbidden,
    /// A write that no rule allows.
    WriteForbidden,
}

impl ListenerState {
    /// Without a diagnostics unit, audit file and shared counters.
    #[must_use]
    pub fn new(settings: ListenerSettings, routes: Routes) -> Self {
        let numbering = |unit| routes.first_register(unit);
        let rules = (!settings.rules.is_empty()).then(|| RuleTable::new(settings.rules.clone(), numbering));
        Self {
            id: ListenerId::default(),
            settings,
            routes,
            rules,
            diagnostics_unit: None,
            started: Instant::now(),
            metrics: Arc::default(),
            audit: Arc::default(),
            traffic: Arc::default(),
            own_connections: OwnConnections::default(),
        }
    }

    /// The addressee of a request to this unit identifier, whether or not the request is allowed.
    pub(crate) fn addressed(&self, unit: u8) -> Addressed<'_> {
        let buses = self.routes.buses.as_slice();
        match self.routes.table[usize::from(unit)] {
            _ if self.diagnostics_unit == Some(unit) => Addressed { unit, on_line: None, buses: &[] },
            Some(Route { bus, unit: on_line }) => {
                Addressed { unit, on_line: Some(on_line), buses: &buses[bus..=bus] }
            }
            None if self.is_broadcast(unit) => Addressed { unit, on_line: None, buses },
            None => Addressed { unit, on_line: None, buses: &[] },
        }
    }

    /// Whether a request to this unit identifier is for all units.
    pub(crate) fn is_broadcast(&self, unit: u8) -> bool {
        unit == BROADCAST_UNIT && self.routes.table[usize::from(unit)].is_none()
    }

    /// Whether a client of Modbus TCP gets no reply to this function of a unit identifier, not even a refusal.
    pub(crate) fn is_silent(&self, unit: u8, function: FunctionCode) -> bool {
        self.settings.broadcast == Broadcast::Silent && self.is_broadcast(unit) && function.may_be_broadcast()
    }

    /// Decides about a request. In this order:
    ///
    /// 1. The unit identifier: an unknown one gets 0x0A, whatever else is wrong.
    /// 2. For unit 0, whether the function may be broadcast: 0x0A.
    /// 3. The function, as in the standard's diagrams before the data: 0x01 if no request of it is allowed here, or the
    ///    diagnostics unit does not have it.
    /// 4. The PDU against the standard: 0x02, 0x03.
    /// 5. Permission for these registers, for the diagnostics unit, too, where there are rules: 0x01.
    #[must_use]
    pub fn route(&self, unit: u8, pdu: Bytes, requester: &Requester<'_>) -> Routed<'_> {
        let refused = |refusal, pdu| Routed::Refused { refusal, pdu };
        let function = function_of(&pdu);
        if self.diagnostics_unit == Some(unit) {
            return match RequestPdu::decode_or_return(pdu) {
                Ok(pdu) => match self.rules.as_ref().and_then(|rules| rules.refusal(unit, &pdu, requester)) {
                    Some(refusal) => refused(refusal, pdu.bytes().clone()),
                    None => Routed::Diagnostics(pdu),
                },
                Err((_, pdu)) if !diagnostics::has_function(function) => {
                    refused(Refusal::Pdu(ExceptionCode::ILLEGAL_FUNCTION), pdu)
                }
                Err((code, pdu)) => refused(self.refusal_of_invalid(unit, &pdu, code, requester), pdu),
            };
        }
        let route = self.routes.table[usize::from(unit)];
        let broadcast = self.is_broadcast(unit);
        if broadcast && (self.settings.broadcast == Broadcast::Refuse || self.routes.buses.is_empty()) {
            return refused(Refusal::NoBroadcast, pdu);
        }
        if !broadcast && route.is_none() {
            return refused(Refusal::NoRoute, pdu);
        }
        if broadcast && function.is_request() && !function.may_be_broadcast() {
            return refused(Refusal::NotForAll, pdu);
        }
        let pdu = match RequestPdu::decode_or_return(pdu) {
            Ok(pdu) if self.routes.only_reads(unit, pdu.function()) => pdu.as_declared_read(),
            Ok(pdu) => pdu,
            Err((code, pdu)) => return refused(self.refusal_of_invalid(unit, &pdu, code, requester), pdu),
        };
        let forbidden = match &self.rules {
            Some(rules) => self.reached(unit).find_map(|unit| rules.refusal(unit, &pdu, requester)),
            None => self.refusal_by_default(pdu.is_read()),
        };
        if let Some(refusal) = forbidden {
            return refused(refusal, pdu.bytes().clone());
        }
        match route {
            Some(Route { bus, unit }) => Routed::Unit { bus: &self.routes.buses[bus], unit, pdu },
            None => Routed::Broadcast {
                buses: &self.routes.buses,
                pdu,
                acknowledge: self.settings.broadcast == Broadcast::Acknowledge,
            },
        }
    }

    /// Why a PDU that violates the standard is refused: with `code`, unless no request of its function is allowed.
    fn refusal_of_invalid(
        &self,
        unit: u8,
        pdu: &[u8],
        code: ExceptionCode,
        requester: &Requester<'_>,
    ) -> Refusal {
        let function = function_of(pdu);
        if !function.is_request() {
            return Refusal::Pdu(code);
        }
        let is_read = may_be_read(pdu) || self.routes.only_reads(unit, function);
        self.refusal_of_function(unit, function, is_read, requester).unwrap_or(Refusal::Pdu(code))
    }

    /// Why no read, or no write, with this function is allowed.
    fn refusal_of_function(
        &self,
        unit: u8,
        function: FunctionCode,
        is_read: bool,
        requester: &Requester<'_>,
    ) -> Option<Refusal> {
        let Some(rules) = &self.rules else { return self.refusal_by_default(is_read) };
        let (wanted, refusal) = forbidden(is_read);
        let is_allowed = |unit| rules.may_allow(unit, function, wanted, requester);
        (!self.reached(unit).all(is_allowed)).then_some(refusal)
    }

    /// Whether some request with a function that the standard does not define is carried out under the unit identifier.
    pub(crate) fn is_served(&self, unit: u8, function: FunctionCode, requester: &Requester<'_>) -> bool {
        let is_read = self.routes.only_reads(unit, function);
        self.routes.table[usize::from(unit)].is_some()
            && self.refusal_of_function(unit, function, is_read, requester).is_none()
    }

    /// Without rules.
    fn refusal_by_default(&self, is_read: bool) -> Option<Refusal> {
        (self.settings.writes == Writes::Deny && !is_read).then_some(Refusal::WriteDenied)
    }

    /// The unit identifiers that rules have to allow a request to `unit`: a broadcast reaches each of them.
    fn reached(&self, unit: u8) -> impl Iterator<Item = u8> {
        let all = self.is_broadcast(unit).then(|| self.routes.identifiers());
        std::iter::once(unit).chain(all.into_iter().flatten())
    }

    /// Closes the connections of clients whose certificate would not be accepted now: it was revoked, has expired, or its
    /// authority is gone. Their requests in flight are answered first.
    pub fn close_unaccepted_clients(&self, now: SystemTime) {
        for (client, failure) in self.metrics.tls.close_unaccepted(self.settings.tls.as_deref(), now) {
            info!(certificate = client.subject, "closing the connection: {failure}");
        }
    }

    /// The present contents of the diagnostics unit.
    #[must_use]
    pub fn diagnostics_view(&self) -> DiagnosticsView {
        let routed = (0..=u8::MAX).zip(self.routes.table.iter());
        DiagnosticsView {
            started: self.started,
            clients: self.metrics.counters(),
            buses: self.routes.buses.iter().map(|bus| bus.view().load_full()).collect(),
            units: routed
                .filter_map(|(id, route)| route.map(|route| (id, (route.bus, route.unit))))
                .collect(),
        }
    }

    /// The unit identifiers that a request is answered under, broadcasts aside.
    pub(crate) fn served_units(&self) -> Box<[bool; 256]> {
        let mut served = Box::new([false; 256]);
        for (unit, route) in served.iter_mut().zip(self.routes.table.iter()) {
            *unit = route.is_some();
        }
        if let Some(unit) = self.diagnostics_unit {
            served[usize::from(unit)] = true;
        }
        served
    }

    /// Whether this client may connect and stay.
    #[must_use]
    pub fn admits(&self, client: &Endpoint) -> bool {
        let allow = &self.settings.allow;
        match client {
            Endpoint::Tcp(peer) => {
                allow.is_empty() || allow.iter().any(|network| network.contains(&peer.ip()))
            }
            Endpoint::Serial(_) => true,
        }
    }
}

impl Routes {
    /// For each bus, the units clients reach there by the identifiers they use.
    ///
    /// Identifiers are unique over all buses, which `config` has checked; of duplicates the first counts.
    #[must_use]
    pub fn new(buses: Vec<(BusHandle, BTreeMap<u8, UnitId>)>) -> Self {
        let mut table = Box::new([None; 256]);
        let mut handles = Vec::with_capacity(buses.len());
        for (bus, (handle, units)) in buses.into_iter().enumerate() {
            handles.push(handle);
            for (identifier, unit) in units {
                table[usize::from(identifier)].get_or_insert(Route { bus, unit });
            }
        }
        Self { buses: handles, table, declared_reads: BTreeSet::new(), numbering: BTreeMap::new() }
    }

    /// The same; under the unit identifier `alias`, the register at wire address 0 is printed as `first`.
    #[must_use]
    pub fn with_first_register(mut self, alias: u8, first: u32) -> Self {
        self.numbering.insert(alias, first);
        self
    }

    /// The same; under the unit identifier `alias`, these functions only read (`read_functions`).
    #[must_use]
    pub fn with_read_functions(
        mut self,
        alias: u8,
        functions: impl IntoIterator<Item = FunctionCode>,
    ) -> Self {
        self.declared_reads.extend(functions.into_iter().map(|function| (alias, function)));
        self
    }

    /// The same units under other identifiers: those of the map, each for the unit of that alias, and no others
    /// (`unit_map`). With 0 in it, unit 0 is no broadcast.
    #[must_use]
    pub fn with_unit_map(self, map: &BTreeMap<u8, u8>) -> Self {
        let Self { buses, table, declared_reads, numbering } = self;
        let mut mapped = Self {
            buses,
            table: Box::new([None; 256]),
            declared_reads: BTreeSet::new(),
            numbering: BTreeMap::new(),
        };
        for (&identifier, &alias) in map {
            mapped.table[usize::from(identifier)] = table[usize::from(alias)];
            let functions = declared_reads.iter().filter(|(unit, _)| *unit == alias);
            mapped.declared_reads.extend(functions.map(|&(_, function)| (identifier, function)));
            mapped.numbering.extend(numbering.get(&alias).map(|first| (identifier, *first)));
        }
        mapped
    }

    /// The number printed for wire address 0 under a unit identifier. A broadcast is for all units, so that it has one
    /// only if they agree.
    fn first_register(&self, identifier: u8) -> Option<u32> {
        let of_unit = |unit: u8| self.numbering.get(&unit).copied().unwrap_or_default();
        if identifier != BROADCAST_UNIT || self.table[usize::from(identifier)].is_some() {
            return Some(of_unit(identifier));
        }
        let numbers: BTreeSet<u32> = self.identifiers().map(of_unit).collect();
        numbers.first().copied().filter(|_| numbers.len() == 1)
    }

    /// The identifiers that lead to a unit.
    fn identifiers(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|unit| self.table[usize::from(*unit)].is_some())
    }

    fn only_reads(&self, identifier: u8, function: FunctionCode) -> bool {
        self.declared_reads.contains(&(identifier, function))
    }
}

impl fmt::Display for Routes {
    /// The routed identifiers, as `1-8, 11`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routed: Vec<usize> = (0..self.table.len()).filter(|&unit| self.table[unit].is_some()).collect();
        if routed.is_empty() {
            return f.write_str("none");
        }
        for (index, run) in routed.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match run {
                [] => {}
                [unit] => write!(f, "{comma}{unit}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl Refusal {
    /// The exception of the reply (contract, section 3).
    #[must_use]
    pub fn code(self) -> ExceptionCode {
        match self {
            Self::NoRoute | Self::NoBroadcast | Self::NotForAll => ExceptionCode::GATEWAY_PATH_UNAVAILABLE,
            Self::Pdu(code) => code,
            Self::WriteDenied | Self::ReadForbidden | Self::WriteForbidden => ExceptionCode::ILLEGAL_FUNCTION,
        }
    }

    /// A hint for integrators about an unknown unit identifier; `None` if the refusal is not about the unit identifier.
    #[must_use]
    pub fn hint(self, unit: u8) -> Option<&'static str> {
        match self {
            Self::NoRoute if unit == UNIT_NOT_SET => {
                Some("255 is what many clients send when no unit is set: set the meter's unit identifier")
            }
            Self::NoRoute => Some("no meter is configured under this unit identifier here"),
            Self::NoBroadcast => Some("unit 0 is broadcast, which this listener refuses (key `broadcast`)"),
            Self::NotForAll => Some("unit 0 is broadcast, and only functions 05, 06, 0F and 10 may be"),
            Self::Pdu(_) | Self::WriteDenied | Self::ReadForbidden | Self::WriteForbidden => None,
        }
    }

    /// Whether the request is audited: a write is, even one that violates the standard.
    pub(crate) fn is_of_a_write(self, pdu: &[u8]) -> bool {
        match self {
            // It may be of a function that only reads by the configuration.
            Self::ReadForbidden => false,
            Self::WriteDenied | Self::WriteForbidden => true,
            Self::NoRoute | Self::NoBroadcast | Self::NotForAll | Self::Pdu(_) => !is_read(pdu),
        }
    }
}

impl RuleTable {
    fn refusal(&self, unit: u8, pdu: &RequestPdu, requester: &Requester<'_>) -> Option<Refusal> {
        let (_, refusal) = forbidden(pdu.is_read());
        (!self.allows(unit, pdu, requester)).then_some(refusal)
    }
}

/// What a request needs of the rules, and why it is refused without.
fn forbidden(is_read: bool) -> (Permission, Refusal) {
    match is_read {
        true => (Permission::Read, Refusal::ReadForbidden),
        false => (Permission::Write, Refusal::WriteForbidden),
    }
}

/// The function code of a PDU; 0, which is none, if it has no byte.
fn function_of(pdu: &[u8]) -> FunctionCode {
    FunctionCode(pdu.first().copied().unwrap_or_default())
}

/// The unit identifier of a broadcast.
pub(crate) const BROADCAST_UNIT: u8 = 0;

/// The messaging guide's recommendation for a server that is not a gateway.
const UNIT_NOT_SET: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::BusId;
    use crate::modbus::AduFraming;
    use crate::server::settings::ListenAt;

    fn routes(identifiers: &[(u8, u8)]) -> (Routes, BusHandle) {
        let (bus, _requests) = BusHandle::new(BusId(0), "riser-a");
        let units = identifiers.iter().map(|&(from, to)| (from, UnitId::new(to).unwrap())).collect();
        (Routes::new(vec![(bus.clone(), units)]), bus)
    }

    #[test]
    fn identifiers_are_listed_as_ranges() {
        for (identifiers, expected) in [
            (&[][..], "none"),
            (&[7], "7"),
            (&[1, 2], "1-2"),
            (&[1, 2, 3, 11, 20, 21, 247], "1-3, 11, 20-21, 247"),
        ] {
            let pairs: Vec<_> = identifiers.iter().map(|&identifier| (identifier, 1)).collect();
            assert_eq!(routes(&pairs).0.to_string(), expected);
        }
    }

    fn state(writes: Writes, broadcast: Broadcast, routes: Routes) -> ListenerState {
        let settings = ListenerSettings {
            at: ListenAt::Tcp(([127, 0, 0, 1], 502).into()),
            framing: AduFraming::Tcp,
            max_age: std::time::Duration::ZERO,
            writes,
            rules: Vec::new(),
            tls: None,
            broadcast,
            request_deadline: std::time::Duration::from_secs(3),
            answer_within: None,
            max_in_flight: 16,
            max_connections: 1,
            max_connections_per_ip: 1,
            idle_timeout: std::time::Duration::from_secs(600),
            allow: Vec::new(),
        };
        ListenerState::new(settings, routes)
    }

    const UNKNOWN: Requester<'_> = Requester { address: None, role: None };

    /// The unit on the line that a request goes to.
    fn unit_of(state: &ListenerState, identifier: u8, pdu: &'static [u8]) -> Option<u8> {
        match state.route(identifier, Bytes::from_static(pdu), &UNKNOWN) {
            Routed::Unit { unit, .. } => Some(unit.get()),
            Routed::Refused { .. } | Routed::Diagnostics(_) | Routed::Broadcast { .. } => None,
        }
    }

    const READ: &[u8] = &[3, 0, 0, 0, 1];

    #[test]
    fn with_a_unit_map_its_identifiers_are_served_and_no_others() {
        let (routes, _bus) = routes(&[(3, 3), (5, 1)]);
        let routes = routes.with_unit_map(&BTreeMap::from([(0, 3), (1, 5), (255, 5)]));
        let mut state = state(Writes::Allow, Broadcast::Refuse, routes);
        state.diagnostics_unit = Some(200);
        let reached: Vec<_> = (0..=255).filter_map(|id| Some((id, unit_of(&state, id, READ)?))).collect();
        assert_eq!(reached, [(0, 3), (1, 1), (255, 1)]);
        assert!(matches!(state.route(200, Bytes::from_static(READ), &UNKNOWN), Routed::Diagnostics(_)));
        // Unit 0 is no broadcast, not even for what may be one.
        assert_eq!(unit_of(&state, 0, &[6, 0, 1, 0, 2]), Some(3));
        assert_eq!(state.diagnostics_view().units.keys().copied().collect::<Vec<_>>(), [0, 1, 255]);
    }

    #[test]
    fn a_unit_map_without_zero_leaves_broadcasts_as_they_are() {
        let (routes, _bus) = routes(&[(5, 1)]);
        let routes = routes.with_unit_map(&BTreeMap::from([(1, 5)]));
        let state = state(Writes::Allow, Broadcast::Silent, routes);
        let write = Bytes::from_static(&[6, 0, 1, 0, 2]);
        assert!(matches!(state.route(0, write, &UNKNOWN), Routed::Broadcast { .. }));
    }

    #[test]
    fn a_declared_function_only_reads_and_only_on_its_unit() {
        let declared = || {
            let (routes, bus) = routes(&[(1, 1), (2, 2)]);
            (routes.with_read_functions(1, [FunctionCode(0x41)]), bus)
        };
        let vendor: &[u8] = &[0x41, 5, 3];
        let mut state = state(Writes::Deny, Broadcast::Refuse, declared().0);
        for (identifier, pdu, expected) in
            [(1, vendor, Some(1)), (2, vendor, None), (1, &[0x42, 5], None), (1, &[6, 0, 1, 0, 2], None)]
        {
            assert_eq!(unit_of(&state, identifier, pdu), expected, "{identifier} {pdu:02X?}");
        }
        match state.route(1, Bytes::from_static(vendor), &UNKNOWN) {
            Routed::Unit { pdu, .. } => assert!(pdu.is_read(), "the line may repeat it"),
            other @ (Routed::Refused { .. } | Routed::Diagnostics(_) | Routed::Broadcast { .. }) => {
                panic!("{other:?}");
            }
        }
        // Under another identifier it is the same unit.
        state.routes = declared().0.with_unit_map(&BTreeMap::from([(9, 1), (8, 2)]));
        assert_eq!((unit_of(&state, 9, vendor), unit_of(&state, 8, vendor)), (Some(1), None));
    }

    #[test]
    fn a_unit_is_reached_by_the_identifier_clients_use_and_no_other() {
        let (routes, bus) = routes(&[(11, 1)]);
        let state = state(Writes::Deny, Broadcast::Refuse, routes);
        for identifier in 0..=255 {
            match state.route(identifier, Bytes::from_static(&[3, 0, 0, 0, 1]), &UNKNOWN) {
                Routed::Unit { bus: to, unit, .. } => {
                    assert_eq!((identifier, to.name(), unit.get()), (11, bus.name(), 1));
                }
                Routed::Refused { refusal, .. } => {
                    assert_eq!(refusal.code(), ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
                    assert!(refusal.hint(identifier).is_some());
                    assert_ne!(identifier, 11);
                }
                other @ (Routed::Broadcast { .. } | Routed::Diagnostics(_)) => panic!("{other:?}"),
            }
        }
    }
}
