package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/admin"
)

const wideTable = `PEER                   STATE   HEARD   VERSION   CONFIG    UDP       ADDRESS         ADMIN           KEYS                IN-FLIGHT   STREAMS
bastion-1 (this one)   alive   -       -         -         ok        10.1.0.1:7946   -               0badcafe            -           -
bastion-2              alive   1s      v1.2.3    DIFFERS   blocked   10.1.0.2:7946   10.1.0.2:9801   deadbeef,0badcafe   4           5
bastion-3              dead    10m     -         -         unknown   -               -               -                   -           -

CLUSTER   UPSTREAM         OBSERVER    STATE   SINCE
dev       10.9.0.1:6443    bastion-2   READY   -
prod      10.0.0.11:6443   bastion-1   READY   60m
prod      10.0.0.11:6443   bastion-2   DOWN    5s
`

func TestWideStatusShowsWhereThePeersAreAndWhatTheySee(t *testing.T) {
	s := full()
	s.Peers[0].Address, s.Peers[0].KeyIDs = "10.1.0.1:7946", []string{"0badcafe"}
	s.Peers[0].Observations = []admin.ObservationStatus{{Cluster: "prod", Upstream: "10.0.0.11:6443", State: "READY", Since: now.Add(-time.Hour)}}
	s.Peers[1].Address, s.Peers[1].AdminAddress, s.Peers[1].KeyIDs = "10.1.0.2:7946", "10.1.0.2:9801", []string{"deadbeef", "0badcafe"}
	s.Peers[1].Load = &admin.PeerLoad{InFlight: 4, Streams: 5}
	s.Peers[1].Observations = []admin.ObservationStatus{
		{Cluster: "prod", Upstream: "10.0.0.11:6443", State: "DOWN", Since: now.Add(-5 * time.Second)},
		{Cluster: "dev", Upstream: "10.9.0.1:6443", State: "READY"},
	}
	_, after, _ := strings.Cut(statusTable(s, now, true), "\nPEER")
	got, _, _ := strings.Cut("PEER"+after, "\nCREDENTIAL")
	if d := cmp.Diff(wideTable, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestStatusSaysThatGossipDoesNotRun(t *testing.T) {
	s := full()
	s.GossipError = "gossip cannot listen on TCP 10.1.0.1:7946:\naddress already in use"
	want := "\nGOSSIP DOES NOT RUN, AND IS TRIED AGAIN: gossip cannot listen on TCP 10.1.0.1:7946: address already in use\n"
	if got := statusTable(s, now, false); !strings.Contains(got, want) {
		t.Errorf("got %s, want in it %s", got, want)
	}
}
