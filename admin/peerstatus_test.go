package admin

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatusOfPeers(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	one := time.Date(2026, 1, 2, 4, 0, 0, 0, berlin)
	s := Status{
		Node:     "bastion-1",
		Isolated: true, IsolatedReason: "2 of 2 peers reach 10.0.0.11:6443",
		Peers: []PeerStatus{
			{Name: "bastion-1", Address: "10.1.0.1:7946", Self: true, State: PeerAlive, KeyIDs: []string{"ab12"}, UDP: UDPOK},
			{Name: "bastion-2", Address: "10.1.0.2:7946", NameConflict: "10.1.0.9:7946", State: PeerDead, Version: "v1", ConfigHash: "abc", AdminAddress: "10.1.0.2:9801",
				LastHeard: one, Observations: []ObservationStatus{{Cluster: "prod", Upstream: "10.0.0.11:6443", State: "READY", Since: one}}},
		},
		Events: []Event{{At: one, Kind: EventPeer, Text: "bastion-2 does not answer"}},
	}
	body, err := json.Marshal(s.tidy())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"","node":"bastion-1","uptimeSeconds":0,"clusters":[],"listeners":[],"inFlight":{"requests":0,"watches":0,"logs":0,"upgrades":0},"clients":[],"credentials":[],` +
		`"peers":[{"name":"bastion-1","address":"10.1.0.1:7946","self":true,"state":"alive","keyIDs":["ab12"],"udp":"ok","observations":[]},` +
		`{"name":"bastion-2","address":"10.1.0.2:7946","nameConflict":"10.1.0.9:7946","state":"dead","version":"v1","configHash":"abc","keyIDs":[],"adminAddress":"10.1.0.2:9801",` +
		`"lastHeard":"2026-01-02T03:00:00Z","udp":"unknown","observations":[{"cluster":"prod","upstream":"10.0.0.11:6443","state":"READY","since":"2026-01-02T03:00:00Z"}]}],` +
		`"isolated":true,"isolatedReason":"2 of 2 peers reach 10.0.0.11:6443",` +
		`"events":[{"at":"2026-01-02T03:00:00Z","kind":"peer","text":"bastion-2 does not answer"}]}`
	if d := cmp.Diff(want, string(body)); d != "" {
		t.Error(d)
	}
	if s.Peers[1].UDP != "" || s.Peers[1].LastHeard.Location() != berlin || s.Events[0].At.Location() != berlin || s.Peers[1].Observations[0].Since.Location() != berlin {
		t.Error("the status that was given has changed")
	}
}
