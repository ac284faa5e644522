package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// within runs a command in this process, under a root that has no other.
func within(t *testing.T, make func(streams) *cobra.Command, args ...string) result {
	t.Helper()
	directory := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	s := streams{out: open("out"), err: open("err")}
	cmd := make(s)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	code := report(s.err, cmd.Execute())
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	return result{code, read("out"), read("err")}
}

const checkedKubeconfig = `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443"}}]
users: [{name: u, user: {token: very-secret}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
`

const checkedConfig = `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: prod, kubeconfig: {path: DIR/kubeconfig}}
credentials:
- {name: broker, tokenFile: DIR/token}
policies:
- {name: p, rules: [{verbs: [get], nonResourceURLs: ["*"]}]}
clients:
- {name: alice, match: [{uid: 1001}], grants: [{cluster: prod, credential: broker, policy: p}]}
- {name: bob, match: [{uid: 1002}]}
listeners:
- {name: local, address: "127.0.0.1:8001", mode: shared, cluster: prod, identify: [uid]}
audit: {file: DIR/audit.log}
`

func checked(t *testing.T, change func(string) string) (result, string) {
	t.Helper()
	directory := t.TempDir()
	file := filepath.Join(directory, "config.yaml")
	for path, content := range map[string]string{
		file: change(strings.ReplaceAll(checkedConfig, "DIR", directory)), directory + "/kubeconfig": checkedKubeconfig, directory + "/token": "very-secret",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return within(t, newCheck, "--config="+file), file
}

func TestCheckOfAGoodFile(t *testing.T) {
	got, file := checked(t, func(s string) string { return s })
	want := result{0, file + ": ok, 1 cluster, 2 clients, 1 listener\n", "warning: clients without a grant, which may do nothing: bob\n"}
	if got != want {
		t.Errorf("check: %+v, want %+v", got, want)
	}
}

func TestCheckOfABadFile(t *testing.T) {
	got, file := checked(t, func(s string) string {
		return strings.NewReplacer("uid: 1002", "uid: one", "policy: p}", "policy: q}", "/token", "/tokens").Replace(s)
	})
	directory := filepath.Dir(file)
	want := result{
		1,
		file + ":6: credentials[0].tokenFile: stat " + directory + "/tokens: no such file or directory\n" +
			file + `:10: clients[0].grants[0].policy: there is no policy "q": did you mean p?` + "\n" +
			file + `:11: clients[1].match[0].uid: want a whole number, found the string "one"` + "\n",
		"error: 3 problems in " + file + "\n",
	}
	if got != want {
		t.Errorf("check: %+v\nwant %+v", got, want)
	}
}

func TestCheckOfNoFile(t *testing.T) {
	want := result{1, "/no/such/file: cannot be read: no such file or directory\n", "error: 1 problem in /no/such/file\n"}
	if got := within(t, newCheck, "--config=/no/such/file"); got != want {
		t.Errorf("check: %+v, want %+v", got, want)
	}
	if got := within(t, newCheck, "extra"); got.code != exitUsage {
		t.Errorf("check extra: %+v, want exit code %d", got, exitUsage)
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	got := within(t, newSchema)
	var schema struct {
		Schema     string `json:"$schema"`
		Properties map[string]any
	}
	if err := json.Unmarshal([]byte(got.stdout), &schema); err != nil || got.code != 0 || got.stderr != "" {
		t.Fatalf("schema: %v, exit code %d, standard error %q", err, got.code, got.stderr)
	}
	if schema.Schema != "https://json-schema.org/draft/2020-12/schema" || schema.Properties["clients"] == nil {
		t.Errorf("schema: %q with %d properties, want a 2020-12 schema with clients", schema.Schema, len(schema.Properties))
	}
}
