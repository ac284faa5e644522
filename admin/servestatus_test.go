package admin

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestStatusOfServe(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	one := time.Date(2026, 1, 2, 4, 0, 0, 0, berlin)
	s := Status{
		Listeners: []ListenerStatus{{Name: "team", Address: "127.0.0.1:8443", Mode: "shared", Cluster: "prod", Identify: []string{"bearer"}, TLS: true}},
		Config:    &ConfigStatus{File: "/etc/k.yaml", Hash: "abc", LoadedAt: one, LastReload: &ReloadStatus{At: one, Error: "k.yaml:3: bad"}},
		Clients: []ClientStatus{
			{Name: "away"},
			{Name: "revoked", Revoked: true, RevokedUntil: one},
			{Name: "early", LastSeen: one, Requests: 1},
			{Name: "late", LastSeen: one.Add(time.Second), Requests: 1},
			{Name: "busy", Watches: 1, Requests: 7},
			{Name: "absent"},
		},
		Credentials: []CredentialStatus{{Name: "kc", ExpiresAt: one}, {Name: "eks", Error: "exec plugin: exit code 1"}},
		Audit:       &AuditStatus{Blocks: true, Error: "audit log /a: no space left on device"},
		AdminError:  "admin server on 127.0.0.1:9801: gone",
	}
	body, err := json.Marshal(s.tidy())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":"","uptimeSeconds":0,"clusters":[],"listeners":[{"name":"team","address":"127.0.0.1:8443","mode":"shared","cluster":"prod","identify":["bearer"],"tls":true}],` +
		`"inFlight":{"requests":0,"watches":0,"logs":0,"upgrades":0},"adminError":"admin server on 127.0.0.1:9801: gone",` +
		`"config":{"file":"/etc/k.yaml","hash":"abc","loadedAt":"2026-01-02T03:00:00Z","lastReload":{"at":"2026-01-02T03:00:00Z","ok":false,"error":"k.yaml:3: bad"}},` +
		`"clients":[{"name":"busy","inFlight":0,"watches":1,"upgrades":0,"requests":7},` +
		`{"name":"revoked","inFlight":0,"watches":0,"upgrades":0,"requests":0,"revoked":true,"revokedUntil":"2026-01-02T03:00:00Z"},` +
		`{"name":"late","inFlight":0,"watches":0,"upgrades":0,"requests":1,"lastSeen":"2026-01-02T03:00:01Z"},` +
		`{"name":"early","inFlight":0,"watches":0,"upgrades":0,"requests":1,"lastSeen":"2026-01-02T03:00:00Z"},` +
		`{"name":"absent","inFlight":0,"watches":0,"upgrades":0,"requests":0},{"name":"away","inFlight":0,"watches":0,"upgrades":0,"requests":0}],"clientsTotal":6,` +
		`"credentials":[{"name":"kc","expiresAt":"2026-01-02T03:00:00Z"},{"name":"eks","error":"exec plugin: exit code 1"}],"audit":{"blocks":true,"error":"audit log /a: no space left on device"},"peers":[],"events":[]}`
	if d := cmp.Diff(want, string(body)); d != "" {
		t.Error(d)
	}
	if s.Clients[0].Name != "away" || s.Config.LoadedAt.Location() != berlin {
		t.Error("the status that was given has changed")
	}
}

func TestStatusListsAThousandClients(t *testing.T) {
	var s Status
	for i := range 10000 {
		s.Clients = append(s.Clients, ClientStatus{Name: fmt.Sprintf("c%05d", i)})
	}
	s.Clients[9999].InFlight = 1
	tidied := s.tidy()
	if len(tidied.Clients) != maxClients || tidied.ClientsTotal != 10000 || tidied.Clients[0].Name != "c09999" {
		t.Errorf("%d clients of %d, the first %s, want 1000 of 10000, the first the one that does something",
			len(tidied.Clients), tidied.ClientsTotal, tidied.Clients[0].Name)
	}
}

func TestReloadMetricsAreAbsentWithoutAReload(t *testing.T) {
	m := NewMetrics(Build{})
	names := []string{"kuberelay_config_last_reload_successful", "kuberelay_config_last_reload_success_timestamp_seconds"}
	for _, step := range []struct {
		does func()
		want string
	}{
		{func() {}, ""},
		{func() { m.Reload(false, time.Unix(1, 0)) }, "kuberelay_config_last_reload_successful 0\n"},
		{func() { m.Reload(true, time.Unix(1700000000, 5e8)) }, "kuberelay_config_last_reload_success_timestamp_seconds 1.7000000005e+09\nkuberelay_config_last_reload_successful 1\n"},
		{func() { m.Reload(false, time.Unix(1800000000, 0)) }, "kuberelay_config_last_reload_success_timestamp_seconds 1.7000000005e+09\nkuberelay_config_last_reload_successful 0\n"},
	} {
		step.does()
		families, err := m.Registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, f := range families {
			for _, name := range names {
				if f.GetName() == name {
					fmt.Fprintf(&got, "%s %v\n", name, f.GetMetric()[0].GetGauge().GetValue())
				}
			}
		}
		if d := cmp.Diff(step.want, got.String()); d != "" {
			t.Error(d)
		}
	}
}

func TestEventsOfServeAreCounted(t *testing.T) {
	m := NewMetrics(Build{})
	m.Revoked(2)
	m.StreamCut(CutRevoked)
	m.StreamCut("whim")
	m.AuditEvent(AuditResponseComplete)
	m.AuditEvent(AuditResponseComplete)
	m.AuditEvent("Nonsense")
	m.AuditError()
	err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
# HELP kuberelay_audit_errors_total Audit events that could not be written.
# TYPE kuberelay_audit_errors_total counter
kuberelay_audit_errors_total 1
# HELP kuberelay_audit_events_total Audit events written, by stage.
# TYPE kuberelay_audit_events_total counter
kuberelay_audit_events_total{stage="Panic"} 0
kuberelay_audit_events_total{stage="RequestReceived"} 0
kuberelay_audit_events_total{stage="ResponseComplete"} 2
kuberelay_audit_events_total{stage="ResponseStarted"} 0
kuberelay_audit_events_total{stage="other"} 1
# HELP kuberelay_revoked_clients Configured clients that are revoked at the moment.
# TYPE kuberelay_revoked_clients gauge
kuberelay_revoked_clients 2
`), "kuberelay_audit_errors_total", "kuberelay_audit_events_total", "kuberelay_revoked_clients")
	if err != nil {
		t.Error(err)
	}
	for reason, want := range map[string]float64{CutRevoked: 1, CutOther: 1, CutExpired: 0} {
		if got := testutil.ToFloat64(m.serve.cutVec.WithLabelValues(reason)); got != want {
			t.Errorf("%s was counted %v times, want %v", reason, got, want)
		}
	}
}
