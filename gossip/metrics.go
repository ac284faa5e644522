package gossip

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why something from the network is ignored: the values of the label reason of
// kuberelay_gossip_ignored_total.
const (
	ignoredKey       = "key"              // no key of ours decrypts it
	ignoredPlain     = "plaintext"        // it is not encrypted
	ignoredLabel     = "label"            // it belongs to another mesh
	ignoredCIDR      = "cidr"             // it is from, or about a node in, a network that is not allowed
	ignoredOversize  = "oversize"         // it is longer than anything a peer sends
	ignoredMalformed = "malformed"        // it cannot be read
	ignoredVersion   = "version"          // its version is not known
	ignoredStreams   = "streams"          // too many connections are open
	ignoredFull      = "full"             // there is no room for it
	ignoredExpired   = "expired"          // a decision that has long ended
	ignoredUpstream  = "unknown_upstream" // an observation of an upstream that is not configured here
	ignoredKind      = "unknown_kind"     // a fact that only newer nodes know
	ignoredOwnName   = "own_name"         // a fact of this node's that this node did not say
)

var ignoredReasons = []string{
	ignoredKey, ignoredPlain, ignoredLabel, ignoredCIDR, ignoredOversize, ignoredMalformed, ignoredVersion,
	ignoredStreams, ignoredFull, ignoredExpired, ignoredUpstream, ignoredKind, ignoredOwnName,
}

// Values of the other labels.
const (
	sentUpdate    = "update"     // one fact, by a packet
	sentFullState = "full_state" // the whole map
	sentIntent    = "intent"     // one intent, by a connection

	receivedNew   = "new"
	receivedKnown = "known" // again; so are replayed ones
	receivedOlder = "older"

	eventJoined = "joined"
	eventFailed = "failed"
	eventLeft   = "left"

	protocolUDP = "udp"
	protocolTCP = "tcp"
)

// metrics of a mesh; all series exist from the start.
type metrics struct {
	sent, sentBytes, received, receivedBytes *prometheus.CounterVec // by type
	entries                                  *prometheus.CounterVec // by result
	ignored                                  *prometheus.CounterVec // by reason
	peerEvents                               *prometheus.CounterVec // by event
	network                                  *prometheus.CounterVec // by direction and protocol
	joins                                    *prometheus.CounterVec // by result
	seedErrors, pruned, dropped, conflicts   prometheus.Counter
	propagation                              prometheus.Histogram
	unheard                                  prometheus.Counter
	gauges                                   []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{
		sent:          counters("messages_sent_total", "Messages handed to memberlist, by type; news goes out several times, each counted.", "type"),
		sentBytes:     counters("messages_sent_bytes_total", "Bytes of these messages.", "type"),
		received:      counters("messages_received_total", "Messages received, by type; an intent by a connection is an update.", "type"),
		receivedBytes: counters("messages_received_bytes_total", "Bytes of these messages.", "type"),
		entries:       counters("entries_received_total", "Facts and intents received, by whether they were new.", "result"),
		ignored:       counters("ignored_total", "What came from the network and was not taken, by reason.", "reason"),
		peerEvents:    counters("peer_events_total", "Peers that joined, failed or left.", "event"),
		network:       counters("network_bytes_total", "Bytes on the wire without IP's own, by direction and protocol.", "direction", "protocol"),
		joins:         counters("joins_total", "Attempts to join a peer that was not there.", "result"),
		seedErrors:    count("seed_errors_total", "Configured peers that could not be looked up."),
		pruned:        count("messages_pruned_total", "News dropped because too much was queued; the exchange of the whole map brings it."),
		dropped:       count("oversize_dropped_total", "What was not sent because it is too long."),
		conflicts:     count("name_conflicts_total", "Times that two nodes were seen to have one name."),
		unheard:       count("propagation_lost_total", "News that no peer was heard to pass on within ten seconds."),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "kuberelay", Subsystem: "gossip", Name: "propagation_seconds",
			Help:    "Time from the publication of a fact until it comes back through a peer that passed it on.",
			Buckets: []float64{.01, .025, .05, .1, .2, .3, .4, .6, .8, 1, 1.5, 2.5, 5, 10},
		}),
	}
	for _, kind := range []string{sentUpdate, sentFullState, sentIntent} {
		m.sent.WithLabelValues(kind)
		m.sentBytes.WithLabelValues(kind)
	}
	for _, kind := range []string{sentUpdate, sentFullState} {
		m.received.WithLabelValues(kind)
		m.receivedBytes.WithLabelValues(kind)
	}
	for vec, values := range map[*prometheus.CounterVec][]string{
		m.entries:    {receivedNew, receivedKnown, receivedOlder},
		m.ignored:    ignoredReasons,
		m.peerEvents: {eventJoined, eventFailed, eventLeft},
		m.joins:      {"ok", "error"},
	} {
		for _, value := range values {
			vec.WithLabelValues(value)
		}
	}
	for _, protocol := range []string{protocolUDP, protocolTCP} {
		m.network.WithLabelValues("sent", protocol)
		m.network.WithLabelValues("received", protocol)
	}
	return m
}

// watch adds the gauges of what is asked when metrics are read.
func (m *metrics) watch(mesh *Mesh) {
	counts := func(pick func(totals) int) func() float64 {
		return func() float64 { return float64(pick(mesh.totals())) }
	}
	m.gauges = []prometheus.Collector{
		level("peers", "Peers that are there, this node not among them.", counts(func(t totals) int { return t.alive })),
		level("failed_peers", "Peers that are gone without having left.", counts(func(t totals) int { return t.failed })),
		level("udp_blocked_peers", "Peers that connections reach and packets do not.", counts(func(t totals) int { return t.blocked })),
		level("facts", "Facts of all nodes in the map.", counts(func(t totals) int { return t.facts })),
		level("intents", "Intents in the map, those taken back included.", counts(func(t totals) int { return t.intents })),
		level("messages_queued", "News waiting to be sent.", func() float64 { return float64(mesh.queue.len()) }),
		level("drifted_peers", "Peers that are there and have another configuration.", counts(func(t totals) int { return t.drifted })),
		level("isolated_upstreams", "Upstreams that this node sees DOWN and most nodes see up.", func() float64 { return float64(len(mesh.Isolated())) }),
		level("running", "1 when this node takes part in gossip, 0 while it cannot listen.", func() float64 {
			if mesh.members.Load() == nil {
				return 0
			}
			return 1
		}),
		level("health_score", "memberlist's own judgement of this node: 0 is healthy, 2 the worst.", func() float64 { return float64(mesh.healthScore()) }),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return append([]prometheus.Collector{
		m.sent, m.sentBytes, m.received, m.receivedBytes, m.entries, m.ignored, m.peerEvents, m.network,
		m.joins, m.seedErrors, m.pruned, m.dropped, m.conflicts, m.propagation, m.unheard,
	}, m.gauges...)
}

// register registers all collectors, or none.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			for _, done := range m.collectors()[:i] {
				r.Unregister(done)
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

func (m *metrics) ignore(reason string) { m.ignored.WithLabelValues(reason).Inc() }

// ignoreError counts a message that [decode] refused.
func (m *metrics) ignoreError(err error) {
	switch {
	case errors.Is(err, errVersion):
		m.ignore(ignoredVersion)
	case errors.Is(err, errOversize):
		m.ignore(ignoredOversize)
	default:
		m.ignore(ignoredMalformed)
	}
}

func (m *metrics) countSent(kind string, bytes int) {
	m.sent.WithLabelValues(kind).Inc()
	m.sentBytes.WithLabelValues(kind).Add(float64(bytes))
}

func (m *metrics) countReceived(kind string, bytes int) {
	m.received.WithLabelValues(kind).Inc()
	m.receivedBytes.WithLabelValues(kind).Add(float64(bytes))
}

func (m *metrics) countMerged(result merged) {
	switch result {
	case mergedNew:
		m.entries.WithLabelValues(receivedNew).Inc()
	case mergedKnown:
		m.entries.WithLabelValues(receivedKnown).Inc()
	case mergedOlder:
		m.entries.WithLabelValues(receivedOlder).Inc()
	case mergedFull:
		m.ignore(ignoredFull)
	}
}

func (m *metrics) countBytes(direction, protocol string, bytes int) {
	if bytes > 0 {
		m.network.WithLabelValues(direction, protocol).Add(float64(bytes))
	}
}

func (m *metrics) heardAgain(after time.Duration) { m.propagation.Observe(after.Seconds()) }

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kuberelay", Subsystem: "gossip", Name: name, Help: help}, labels)
}

func count(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kuberelay", Subsystem: "gossip", Name: name, Help: help})
}

func level(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "kuberelay", Subsystem: "gossip", Name: name, Help: help}, value)
}
