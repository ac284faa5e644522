package health

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// event is something that happens at a time after the start.
type event struct {
	at     time.Duration
	happen func(*bench)
}

// becomes has a target's server behave so from now on. When is a time and the
// target, such as "1.5s a".
func becomes(when string, server behaviour) event {
	at, id := parseWhen(when)
	return event{at, func(b *bench) { b.prober.set(id, server) }}
}

// saw is what the data path sees of a target.
func saw(when string, o Observation) event {
	at, id := parseWhen(when)
	return event{at, func(b *bench) { b.group.Observe(id, o) }}
}

// asked is a call of ProbeNow.
func asked(when string) event {
	at, id := parseWhen(when)
	return event{at, func(b *bench) { b.group.ProbeNow(id) }}
}

func parseWhen(when string) (at time.Duration, id string) {
	text, id, _ := strings.Cut(when, " ")
	at, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return at, id
}

const ms = time.Millisecond

func TestTimeline(t *testing.T) {
	for _, test := range []struct {
		name    string
		config  Config
		targets []Target
		events  []event
		until   time.Duration
		want    []string
	}{{
		name:    "the kubeconfig's server is SUSPECT until its first probe passes",
		targets: []Target{target("a", Suspect)},
		until:   10 * time.Second,
		want:    []string{"0s a SUSPECT→READY pass"},
	}, {
		name:    "a discovered server is DOWN until one probe passes",
		targets: []Target{target("a", Ready), target("b", Down)},
		events:  []event{becomes("0s b", frozen), becomes("1s b", up)},
		until:   10 * time.Second,
		want:    []string{"2.45s b DOWN→READY pass"},
	}, {
		name:    "a discovered server that never answers stays DOWN without a word",
		targets: []Target{target("a", Ready), target("b", Down)},
		events:  []event{becomes("0s b", unreachable)},
		until:   60 * time.Second,
	}, {
		name:    "an unprobed server that refuses is DOWN after two samples",
		targets: []Target{target("a", Suspect)},
		events:  []event{becomes("0s a", refuses)},
		until:   1 * time.Second,
		want:    []string{"250ms a SUSPECT→DOWN refused"},
	}, {
		name:    "refused probes 250ms apart make DOWN, two passes 500ms apart READY",
		targets: targets("a b"),
		events:  []event{becomes("1s a", refuses), becomes("3s a", up)},
		until:   10 * time.Second,
		want: []string{
			"2s a READY→SUSPECT refused",
			"2.25s a SUSPECT→DOWN refused",
			"4.1s a DOWN→READY pass", // back-off 0.45s, 0.9s, then 0.5s for the second pass
		},
	}, {
		name:    "a refused request and the refused probe after it make DOWN at once",
		targets: targets("a b"),
		events:  []event{becomes("1s a", refuses), saw("1s a", Refused)},
		until:   2 * time.Second,
		want:    []string{"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused"},
	}, {
		name:    "a reset request alone costs two passing probes",
		targets: targets("a b"),
		events:  []event{saw("1s a", Reset)},
		until:   10 * time.Second,
		want:    []string{"1s a READY→SUSPECT reset", "1.5s a SUSPECT→READY pass"},
	}, {
		name:    "requests that are reset together are one sample",
		targets: targets("a b"),
		events: []event{
			// Just after a probe, so that the next one has to wait.
			saw("2.01s a", Reset),
			saw("2.02s a", Reset),
			saw("2.03s a", Refused),
			saw("2.04s a", Timeout),
		},
		until: 10 * time.Second,
		want:  []string{"2.01s a READY→SUSPECT reset", "2.6s a SUSPECT→READY pass"},
	}, {
		name:    "an unreachable server is DOWN after two samples",
		targets: targets("a b"),
		events:  []event{becomes("1s a", unreachable)},
		until:   4 * time.Second,
		want:    []string{"2s a READY→SUSPECT unreachable", "2.25s a SUSPECT→DOWN unreachable"},
	}, {
		name:    "resets need three samples",
		targets: targets("a b"),
		events:  []event{becomes("1s a", resets)},
		until:   4 * time.Second,
		want:    []string{"2s a READY→SUSPECT reset", "3s a SUSPECT→DOWN reset"},
	}, {
		name:    "a hung server is SUSPECT when its probe times out and DOWN after three",
		targets: targets("a b"),
		// Just after a probe: the longest way, 2s of interval and 3 timeouts.
		events: []event{becomes("1ms a", frozen)},
		until:  9 * time.Second,
		want:   []string{"4s a READY→SUSPECT timeout", "8s a SUSPECT→DOWN timeout"},
	}, {
		name:    "a request that waits for a hung server starts the count",
		targets: targets("a b"),
		events:  []event{becomes("100ms a", frozen), asked("850ms a")},
		until:   9 * time.Second,
		want:    []string{"2.85s a READY→SUSPECT timeout", "6.85s a SUSPECT→DOWN timeout"},
	}, {
		name:    "SIGCONT brings a hung server back by two passes",
		targets: targets("a b"),
		events:  []event{becomes("1ms a", frozen), becomes("11s a", up)},
		until:   20 * time.Second,
		want: []string{
			"4s a READY→SUSPECT timeout", "8s a SUSPECT→DOWN timeout",
			"11.85s a DOWN→READY pass", // 8.45s: asked in vain till 10.45s, 11.35s
		},
	}, {
		name:    "one timed-out probe is forgiven by two passing ones",
		targets: targets("a b"),
		events:  []event{becomes("1s a", frozen), becomes("3s a", up)},
		until:   10 * time.Second,
		want:    []string{"4s a READY→SUSPECT timeout", "4.5s a SUSPECT→READY pass"},
	}, {
		name:    "a proxied success within a second stands in for a probe that times out",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", frozen),
			saw("3.1s a", Pass), // probe from 2s to 4s
			saw("3.2s a", Timeout),
			becomes("5s a", up),
		},
		until: 10 * time.Second,
		// The observed timeout asks for another probe, whose end has no success near.
		want: []string{"6s a READY→SUSPECT timeout", "6.5s a SUSPECT→READY pass"},
	}, {
		name:    "a proxied success does not outweigh a refusal",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", refuses),
			saw("1.9s a", Pass),
			saw("2.1s a", Pass),
		},
		until: 3 * time.Second,
		want:  []string{"2s a READY→SUSPECT refused", "2.25s a SUSPECT→DOWN refused"},
	}, {
		name:    "a red readyz with a live livez is DEGRADED after one sample and never DOWN",
		targets: targets("a b"),
		events:  []event{becomes("1s a", red(true, "shutdown")), becomes("50s a", up)},
		until:   60 * time.Second,
		want:    []string{"2s a READY→DEGRADED not-ready", "52.5s a DEGRADED→READY pass"},
	}, {
		name:    "a server whose livez fails too is DOWN after three samples",
		targets: targets("a b"),
		events:  []event{becomes("1s a", red(false, "etcd"))},
		until:   30 * time.Second,
		want:    []string{"2s a READY→DEGRADED not-ready", "3s a DEGRADED→DOWN not-ready"},
	}, {
		name:    "the only server that loses etcd stays DEGRADED",
		targets: targets("a"),
		events:  []event{becomes("1s a", red(false, "etcd"))},
		until:   30 * time.Second,
		want:    []string{"2s a READY→DEGRADED not-ready", `2s trouble: "the only API server fails readyz check [etcd]"`},
	}, {
		name:    "servers that fail different checks have nothing in common",
		targets: []Target{target("a", Ready), target("b", Down)},
		events: []event{
			becomes("0s b", refuses),
			becomes("1s a", red(false, "etcd")),
			becomes("20s b", red(true, "log")),
		},
		until: 24 * time.Second,
		want: []string{
			"2s a READY→DEGRADED not-ready",
			`21.8s trouble: "all API servers fail readyz"`,
			"21.8s a DEGRADED→DOWN not-ready",
			"22.4s b DOWN→DEGRADED not-ready",
		},
	}, {
		name:    "etcd that hangs makes probes silent, but not the server DOWN",
		targets: targets("a"),
		events:  []event{becomes("1s a", hangs("/readyz", "/livez"))},
		until:   60 * time.Second,
		want: []string{
			"4s a READY→SUSPECT timeout",
			"6s a SUSPECT→DEGRADED not-ready",
			`6s trouble: "the only API server fails readyz"`,
		},
	}, {
		name:    "a process that thaws into a red readyz is judged by its livez",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", frozen),
			becomes("3.5s a", red(false, "etcd")),
		},
		until: 10 * time.Second,
		want: []string{
			"4s a READY→SUSPECT timeout",
			"4s a SUSPECT→DEGRADED not-ready",
			"5s a DEGRADED→DOWN not-ready",
		},
	}, {
		name:    "a restarted server is not used while it starts",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", refuses), saw("1s a", Refused),
			becomes("5s a", red(false, "poststarthook/rbac/bootstrap-roles")),
			becomes("7.5s a", up),
		},
		until: 20 * time.Second,
		want: []string{
			"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused",
			"8.45s a DOWN→READY pass",
		},
	}, {
		name:    "the only server is not used while it starts, unless that takes too long",
		targets: targets("a"),
		events: []event{
			becomes("1s a", refuses), saw("1s a", Refused),
			becomes("5s a", red(true, "poststarthook/rbac/bootstrap-roles", "informer-sync")),
		},
		until: 60 * time.Second,
		want: []string{
			"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused",
			`5.95s trouble: "the only API server fails readyz check [poststarthook/rbac/bootstrap-roles informer-sync]"`,
			"35.95s a DOWN→DEGRADED not-ready",
		},
	}, {
		name:    "the only server that comes back without etcd is used",
		targets: targets("a"),
		events: []event{
			becomes("1s a", refuses), saw("1s a", Refused),
			becomes("5s a", red(false, "etcd")),
		},
		until: 60 * time.Second,
		want: []string{
			"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused",
			`5.95s trouble: "the only API server fails readyz check [etcd]"`,
			"6.95s a DOWN→DEGRADED not-ready",
		},
	}, {
		name:    "a certificate that does not verify is MISCONFIGURED at once",
		targets: targets("a b"),
		events:  []event{becomes("1s a", badCert), becomes("8s a", up)},
		until:   20 * time.Second,
		want:    []string{"2s a READY→MISCONFIGURED certificate", "9.25s a MISCONFIGURED→READY pass"},
	}, {
		name:    "a certificate refused by the data path counts at once, two probes lift it",
		targets: targets("a b"),
		events:  []event{saw("1s a", Certificate)},
		until:   20 * time.Second,
		want:    []string{"1s a READY→MISCONFIGURED certificate", "1.5s a MISCONFIGURED→READY pass"},
	}, {
		name:    "a refused credential is MISCONFIGURED at once",
		targets: targets("a b"),
		events:  []event{becomes("1s a", refuses401)},
		until:   20 * time.Second,
		want:    []string{"2s a READY→MISCONFIGURED credential"},
	}, {
		name:    "a server of another cluster, says its probe, is MISCONFIGURED at once",
		targets: []Target{target("a", Ready), target("b", Down)},
		events:  []event{becomes("0s b", answers(Result{Kind: WrongCluster, Err: errors.New("another cluster")}))},
		until:   20 * time.Second,
		want:    []string{"0s b DOWN→MISCONFIGURED wrong-cluster"},
	}, {
		name:    "a MISCONFIGURED server that stops is DOWN by its own samples",
		targets: targets("a b"),
		events:  []event{becomes("1s a", badCert), becomes("8s a", resets)},
		until:   20 * time.Second,
		// 2s, 2.45s, 3.35s, 5.15s, 6.95s, then resets at 8.75s, 10.55s, 12.35s.
		want: []string{"2s a READY→MISCONFIGURED certificate", "12.35s a MISCONFIGURED→DOWN reset"},
	}, {
		name:    "an answer that says shutting down is DEGRADED at once",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", red(true, "shutdown")), saw("1s a", ShuttingDown),
			becomes("1.3s a", refuses),
		},
		until: 3 * time.Second,
		want:  []string{"1s a READY→DEGRADED shutting-down", "1.75s a DEGRADED→DOWN refused"},
	}, {
		name:    "what this host lacks says nothing about a server",
		targets: targets("a b"),
		events:  []event{becomes("1s a", noFiles)},
		until:   30 * time.Second,
	}, {
		name:    "with nothing else left one passing probe is enough",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", refuses), saw("1s a", Refused),
			becomes("1.2s b", refuses), saw("1.2s b", Refused),
			becomes("5s a", up),
			asked("5.5s a"),
		},
		until: 6 * time.Second,
		want: []string{
			"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused",
			"1.2s b READY→SUSPECT refused", "1.2s b SUSPECT→DOWN refused",
			"5.5s a DOWN→READY pass",
		},
	}, {
		name:    "the last server's end has the others asked at once",
		targets: targets("a b"),
		events: []event{
			becomes("1s a", refuses), saw("1s a", Refused),
			becomes("21s a", up),
			becomes("21s b", refuses), saw("21s b", Refused),
		},
		until: 22 * time.Second,
		want: []string{
			"1s a READY→SUSPECT refused", "1s a SUSPECT→DOWN refused",
			"21s b READY→SUSPECT refused", "21s b SUSPECT→DOWN refused",
			"21s a DOWN→READY pass",
		},
	}, {
		name:    "thresholds of one decide by one sample",
		config:  Config{UnhealthyThreshold: 1, HealthyThreshold: 1},
		targets: targets("a b"),
		events:  []event{becomes("1s a", refuses), becomes("2.1s a", up)},
		until:   5 * time.Second,
		want:    []string{"2s a READY→DOWN refused", "2.45s a DOWN→READY pass"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, test.config, test.targets...)
				events := test.events
				for len(events) > 0 && events[0].at == 0 { // before the first probe
					events[0].happen(b)
					events = events[1:]
				}
				b.run()
				for _, e := range events {
					b.until(e.at)
					e.happen(b)
				}
				b.until(test.until)
				b.expect(test.want...)
			})
		})
	}
}
