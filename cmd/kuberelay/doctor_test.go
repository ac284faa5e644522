package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/internal/doctor"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

func TestFindingsTable(t *testing.T) {
	got := findingsTable([]doctor.Finding{
		{Of: "cluster prod", Check: "kubeconfig", Verdict: doctor.OK, Text: "leads to https://a"},
		{Of: "cluster prod", Check: "tls", Verdict: doctor.Warning, Text: "expires\nin\x1b[31m 3d", Do: "renew it"},
		{Of: "process", Check: "process", Verdict: doctor.Failed, Text: "does not answer", Do: "look at its log"},
	})
	want := `cluster prod
  ✓ kubeconfig  leads to https://a
  ! tls         expires in [31m 3d
                → renew it

process
  ✗ process     does not answer
                → look at its log

3 checks: 1 ok, 1 warning, 1 failed
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDoctorOfAKubeconfig(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	kubeconfig := s.Kubeconfig("very-secret")
	r := execute(t, command(t, "kuberelay", "doctor", "--kubeconfig", kubeconfig))
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, "  ✓ readyz      says that it is ready\n") || strings.Contains(r.stdout, "very-secret") {
		t.Errorf("%+v, want that all is well", r)
	}
	r = execute(t, command(t, "kuberelay", "doctor", "--kubeconfig", kubeconfig, "--servers=https://127.0.0.1:1", "-o", "json"))
	var answer struct {
		OK       bool             `json:"ok"`
		Findings []doctor.Finding `json:"findings"`
	}
	err := json.Unmarshal([]byte(r.stdout), &answer)
	failed := 0
	for _, f := range answer.Findings {
		if f.Verdict == doctor.Failed && f.Check == "tcp" && f.Of == "cluster default, 127.0.0.1:1" {
			failed++
		}
	}
	if r.code != 1 || err != nil || answer.OK || failed != 1 || !strings.HasPrefix(r.stderr, "error: 1 check of ") {
		t.Errorf("%+v, %v, want the server that is not there", r, err)
	}
	r = execute(t, command(t, "kuberelay", "doctor", "--kubeconfig=/none"))
	if r.code != 1 || !strings.Contains(r.stdout, "✗ kubeconfig  ") || !strings.Contains(r.stdout, "/none") {
		t.Errorf("%+v, want that there is no such file", r)
	}
}

func TestDoctorOfAConfiguration(t *testing.T) {
	file := t.TempDir() + "/config.yaml"
	if err := os.WriteFile(file, []byte("apiVersion: kuberelay/v1alpha1\nkind: Configuration\nclustres: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := execute(t, command(t, "kuberelay", "doctor", "--config", file))
	if r.code != 1 || !strings.Contains(r.stdout, "✗ configuration  "+file+":3: clustres: ") || !strings.HasPrefix(r.stderr, "error: ") {
		t.Errorf("%+v, want what is wrong, with its line", r)
	}
}

func TestDoctorRefusesWhatMakesNoSense(t *testing.T) {
	for want, args := range map[string][]string{
		"error: --output \"xml\": want table or json\n":          {"-o", "xml"},
		"error: --timeout -1s: want more than zero\n":            {"--timeout=-1s"},
		"error: --config goes with none of the connection optio": {"--config=/a", "--context=b"},
		"error: unexpected argument \"prod\"\n":                  {"prod"},
	} {
		r := execute(t, command(t, "kuberelay", append([]string{"doctor"}, args...)...))
		if r.code != exitUsage || !strings.HasPrefix(r.stderr, want) || r.stdout != "" {
			t.Errorf("%q: %+v, want %q", args, r, want)
		}
	}
}

func TestDoctorCompletes(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	for flag, want := range map[string]string{"--output=": "table\njson\n:4\n", "--context=": "fake\n:4\n", "--user=": "me\n:4\n"} {
		r := execute(t, command(t, "kuberelay", cobra.ShellCompRequestCmd, "doctor", "--kubeconfig", s.Kubeconfig("x"), flag))
		if r.stdout != want {
			t.Errorf("%s: %q, want %q", flag, r.stdout, want)
		}
	}
}
