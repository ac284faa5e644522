package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestExitCodesOfUsage(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"an unknown command", []string{"bogus"}, "error: unknown command \"bogus\"\nSee 'kuberelay --help' for usage.\n"},
		{"a misspelt command", []string{"prxy"}, "error: unknown command \"prxy\", did you mean proxy?\nSee 'kuberelay --help' for usage.\n"},
		{"help for an unknown command", []string{"help", "bogus"}, "error: unknown command \"bogus\"\nSee 'kuberelay --help' for usage.\n"},
		{"help for a misspelt command", []string{"help", "prxy"}, "error: unknown command \"prxy\", did you mean proxy?\nSee 'kuberelay --help' for usage.\n"},
		{"an unknown flag", []string{"--bogus"}, "error: unknown flag: --bogus\nSee 'kuberelay --help' for usage.\n"},
		{"a surplus argument", []string{"version", "1"}, "error: unexpected argument \"1\"\nSee 'kuberelay version --help' for usage.\n"},
		{"an unknown output format", []string{"version", "-o", "xml"}, "error: --output \"xml\": want json, or nothing\nSee 'kuberelay version --help' for usage.\n"},
		{"a server without its cluster", []string{"drain", "10.0.0.1:6443"}, "error: UPSTREAM is missing\nSee 'kuberelay drain --help' for usage.\n"},
		{"two clients", []string{"revoke", "a", "b"}, "error: unexpected argument \"b\"\nSee 'kuberelay revoke --help' for usage.\n"},
		{"a revocation that is lifted for a time", []string{"revoke", "a", "--lift", "--for=1h"}, "error: --lift goes with neither --for nor --reason\nSee 'kuberelay revoke --help' for usage.\n"},
		{"a revocation for no time", []string{"revoke", "a", "--for=0s"}, "error: --for 0s: must be more than zero\nSee 'kuberelay revoke --help' for usage.\n"},
		{"a status in another format", []string{"status", "-o", "xml"}, "error: --output \"xml\": want table, wide or json\nSee 'kuberelay status --help' for usage.\n"},
		{"two processes to ask", []string{"status", "--admin=a:1", "--config=c"}, "error: --admin goes with neither --config nor --control-socket\nSee 'kuberelay status --help' for usage.\n"},
		{"an admin address without a port", []string{"status", "--admin=h"}, "error: --admin: \"h\" is no admin address: want HOST:PORT, such as 127.0.0.1:9801\nSee 'kuberelay status --help' for usage.\n"},
		{"no socket", []string{"credential"}, "error: --socket is missing\nSee 'kuberelay credential --help' for usage.\n"},
		{"no listener", []string{"kubeconfig"}, "error: --listener is missing\nSee 'kuberelay kubeconfig --help' for usage.\n"},
		{"a certificate without its key", []string{"kubeconfig", "--listener=l", "--client-certificate=c"}, "error: --client-certificate and --client-key go together\nSee 'kuberelay kubeconfig --help' for usage.\n"},
		{"no shell", []string{"completion"}, "error: want one shell: bash, zsh, fish, powershell\nSee 'kuberelay completion --help' for usage.\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := execute(t, command(t, "kuberelay", tc.args...)); r != (result{exitUsage, "", tc.want}) {
				t.Errorf("%q: %+v, want exit code 2 and %q", tc.args, r, tc.want)
			}
		})
	}
}

func TestPluginNameIsProxy(t *testing.T) {
	r := execute(t, command(t, "/usr/local/bin/kubectl-relay", "--bogus"))
	if want := (result{1, "", "error: unknown flag: --bogus\nSee 'kubectl relay --help' for usage.\n"}); r != want {
		t.Errorf("kubectl relay --bogus: %+v, want %+v", r, want)
	}
	r = execute(t, command(t, "kubectl-relay", "--help"))
	if !strings.Contains(r.stdout, "\n  kubectl relay --port=0") || !strings.Contains(r.stdout, "Usage:\n  kubectl relay [--port=PORT]") {
		t.Errorf("kubectl relay --help does not name itself:\n%s", r.stdout)
	}
	if strings.Contains(r.stdout, "kuberelay proxy") {
		t.Errorf("kubectl relay --help names another command:\n%s", r.stdout)
	}
}

func TestVersion(t *testing.T) {
	line := execute(t, command(t, "kuberelay", "version"))
	if line.code != 0 || !strings.HasPrefix(line.stdout, "kuberelay ") || strings.Count(line.stdout, "\n") != 1 {
		t.Errorf("version: %+v, want one line", line)
	}
	if flag := execute(t, command(t, "kuberelay", "--version")); flag != line {
		t.Errorf("--version: %+v, want %+v", flag, line)
	}
	var v struct{ Version, GoVersion, Platform string }
	r := execute(t, command(t, "kuberelay", "version", "-o", "json"))
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v.Version == "" || v.GoVersion == "" || v.Platform == "" {
		t.Errorf("version -o json: %q, %v, want version, goVersion and platform", r.stdout, err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{
		{}, {"proxy"}, {"version"}, {"completion"},
		{"status"}, {"reload"}, {"drain"}, {"undrain"}, {"revoke"}, {"kubeconfig"}, {"credential"}, {"token"}, {"gossip-key"},
	} {
		r := execute(t, command(t, "kuberelay", append(args, "--help")...))
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%q --help: exit code %d, standard error %q", args, r.code, r.stderr)
		}
		for line := range strings.Lines(r.stdout) {
			if utf8.RuneCountInString(line) > defaultWidth+1 || strings.HasSuffix(line, " \n") || strings.Contains(line, "COMMAND bash") {
				t.Errorf("%q --help: line %q", args, line)
			}
		}
	}
	if help, bare := execute(t, command(t, "kuberelay", "--help")), execute(t, command(t, "kuberelay")); help != bare {
		t.Errorf("kuberelay: %+v, want what --help prints", bare)
	}
	for name, args := range map[string][]string{"kuberelay": {"help"}, "proxy": {"help", "proxy"}} {
		if r := execute(t, command(t, "kuberelay", args...)); r.code != 0 || !strings.Contains(r.stdout, "Usage:\n  kuberelay") {
			t.Errorf("%q: %+v, want the help of %s", args, r, name)
		}
	}
}

// The flags of kubectl proxy v1.37 with their shorthands and defaults.
var kubectlProxyFlags = map[string][2]string{
	"accept-hosts":       {"", `^localhost$,^127\.0\.0\.1$,^\[::1\]$`},
	"accept-paths":       {"", "^.*"},
	"address":            {"", "127.0.0.1"},
	"api-prefix":         {"", "/"},
	"append-server-path": {"", "false"},
	"disable-filter":     {"", "false"},
	"keepalive":          {"", "0s"},
	"port":               {"p", "8001"},
	"reject-methods":     {"", "^$"},
	"reject-paths":       {"", "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach"},
	"unix-socket":        {"u", ""},
	"www":                {"w", ""},
	"www-prefix":         {"P", "/static/"},
	// Global ones that matter to a proxy.
	"as":                       {"", ""},
	"as-group":                 {"", "[]"},
	"as-uid":                   {"", ""},
	"as-user-extra":            {"", "[]"},
	"certificate-authority":    {"", ""},
	"client-certificate":       {"", ""},
	"client-key":               {"", ""},
	"cluster":                  {"", ""},
	"context":                  {"", ""},
	"insecure-skip-tls-verify": {"", "false"},
	"kubeconfig":               {"", ""},
	"password":                 {"", ""},
	"proxy-url":                {"", ""},
	"server":                   {"s", ""},
	"tls-server-name":          {"", ""},
	"token":                    {"", ""},
	"user":                     {"", ""},
	"username":                 {"", ""},
	"v":                        {"v", "0"},
}

func proxyCommand(t *testing.T) *cobra.Command {
	t.Helper()
	cmd, _, err := newCommand("kuberelay", streams{os.Stdout, os.Stderr}).Find([]string{"proxy"})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestKubectlProxyFlagsAreThere(t *testing.T) {
	cmd := proxyCommand(t)
	help := execute(t, command(t, "kuberelay", "proxy", "--help")).stdout
	for name, want := range kubectlProxyFlags {
		f := cmd.Flags().Lookup(name)
		if f == nil {
			t.Errorf("--%s is missing", name)
			continue
		}
		if f.Shorthand != want[0] || f.DefValue != want[1] {
			t.Errorf("--%s: shorthand %q, default %q, want %q", name, f.Shorthand, f.DefValue, want)
		}
		if !strings.Contains(help, "--"+name+"=") {
			t.Errorf("--%s is not in the help", name)
		}
	}
}

// Each flag that takes a value either completes to something or is known to
// take file names: none is forgotten, and no completion is for a misspelt name.
func TestFlagsComplete(t *testing.T) {
	files := []string{"unix-socket", "kubeconfig", "certificate-authority", "client-certificate", "client-key", "www"}
	free := []string{"server", "tls-server-name", "proxy-url", "token", "username", "password", "as", "as-uid", "as-group", "as-user-extra"}
	cmd := proxyCommand(t)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		_, completes := cmd.GetFlagCompletionFunc(f.Name)
		isFile, isFree := slices.Contains(files, f.Name), slices.Contains(free, f.Name)
		listed := len(f.Annotations[groupOf]) > 0
		if f.Value.Type() != "bool" && listed && !completes && !isFile && !isFree {
			t.Errorf("--%s completes to file names", f.Name)
		}
	})
	if f := cmd.Flags().Lookup("www"); f.Annotations[cobra.BashCompSubdirsInDir] == nil {
		t.Errorf("--www does not complete to directories: %v", f.Annotations)
	}
}

func TestCompletionKnowsTheKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write(t, path, `{contexts: [{name: prod, context: {}}, {name: dev, context: {}}], clusters: [{name: c1, cluster: {}}], users: [{name: alice, user: {}}]}`)
	for _, tc := range []struct{ flag, want string }{
		{"--context", "dev\nprod\n:4\n"},
		{"--cluster", "c1\n:4\n"},
		{"--user", "alice\n:4\n"},
		{"--policy", "sticky\nleast-request\nround-robin\nrandom\n:4\n"},
		{"--log-level", "debug\ninfo\nwarn\nerror\n:4\n"},
		{"--log-format", "auto\nconsole\njson\n:4\n"},
		{"--port", ":4\n"},
	} {
		if r := execute(t, command(t, "kuberelay", cobra.ShellCompRequestCmd, "proxy", "--kubeconfig", path, tc.flag, "")); r.stdout != tc.want {
			t.Errorf("%s: %q, want %q", tc.flag, r.stdout, tc.want)
		}
	}
}

func TestCompletionCode(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o default", "zsh": "#compdef kuberelay", "fish": "complete -c kuberelay", "powershell": "Register-ArgumentCompleter",
	} {
		if r := execute(t, command(t, "kuberelay", "completion", shell)); r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("completion %s: exit code %d, want 0 and %q in the output", shell, r.code, want)
		}
	}
}
