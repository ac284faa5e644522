package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/runtime/schema"
	execauth "k8s.io/client-go/plugin/pkg/client/auth/exec"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kuberelay/kuberelay/internal/program"
)

const (
	// execTimeout bounds one run of a plugin, interactiveTimeout one that may
	// ask a person something.
	execTimeout        = 60 * time.Second
	interactiveTimeout = 5 * time.Minute
	// daemonExecTimeout bounds one run in a daemon, where many wait.
	daemonExecTimeout = 20 * time.Second
	// execWaitDelay is how long the output of a plugin that has ended may stay
	// open: a daemon it left behind may hold it for ever.
	execWaitDelay = 2 * time.Second
	// maxExecOutput bounds a plugin's standard output.
	maxExecOutput = 1 << 20
	// maxInstallHint bounds what an error quotes of the kubeconfig's installHint.
	maxInstallHint = 500
)

// execPlugin runs a client-go credential plugin, see
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
// and KEP-541. client-go's own runner has no timeout and no context, and lets
// one slow plugin hold every request (kubernetes/kubernetes#108849).
type execPlugin struct {
	config *clientcmdapi.ExecConfig
	group  schema.GroupVersion
	info   map[bool]string // KUBERNETES_EXEC_INFO by whether it is interactive
	tty    terminal
	// environment is what the plugin gets besides the variables that are
	// configured; nil: all of our own.
	environment func() []string
}

// terminal is what a plugin may see of the process's own: a seam for tests.
type terminal struct {
	stdin, stderr       *os.File
	stdinTTY, stderrTTY bool
}

func processTerminal() terminal {
	return terminal{
		stdin: os.Stdin, stdinTTY: term.IsTerminal(int(os.Stdin.Fd())),
		stderr: os.Stderr, stderrTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// execSource is the plugin of an interactive process.
func execSource(c *rest.Config) (*source, error) {
	p, err := newExecPlugin(c)
	if err != nil {
		return nil, err
	}
	p.tty = processTerminal()
	timeout := execTimeout
	if interactive, err := p.interactive(); err == nil && interactive {
		timeout = interactiveTimeout
	}
	return p.source(timeout), nil
}

// newExecPlugin checks the plugin's settings, in client-go's words, and runs
// nothing. It has no terminal.
func newExecPlugin(c *rest.Config) (*execPlugin, error) {
	config := c.ExecProvider
	group, err := execGroup(config.APIVersion)
	if err != nil {
		return nil, err
	}
	if config.Command == "" {
		return nil, errors.New("exec plugin: the command is missing")
	}
	if err := execauth.ValidatePluginPolicy(config.PluginPolicy); err != nil {
		return nil, fmt.Errorf("invalid plugin policy: %w", err)
	}
	switch config.InteractiveMode {
	case clientcmdapi.NeverExecInteractiveMode, clientcmdapi.IfAvailableExecInteractiveMode, clientcmdapi.AlwaysExecInteractiveMode:
	default:
		return nil, fmt.Errorf("exec plugin %s: unknown interactiveMode: %q", config.Command, config.InteractiveMode)
	}
	p := &execPlugin{config: config, group: group}
	if p.info, err = execInfo(c, group); err != nil {
		return nil, fmt.Errorf("exec plugin %s: %w", config.Command, err)
	}
	return p, nil
}

func (p *execPlugin) source(timeout time.Duration) *source {
	return &source{kind: "exec plugin " + p.config.Command, identity: p.identity(), fetch: p.fetch, timeout: timeout}
}

// identity covers all that decides what the plugin answers, so that a
// kubeconfig edited elsewhere does not run it again.
func (p *execPlugin) identity() identity {
	parts := append([]string{"exec", p.config.Command, p.group.String(), p.info[false], string(p.config.InteractiveMode), "args"}, p.config.Args...)
	parts = append(parts, "env")
	for _, e := range p.config.Env {
		parts = append(parts, e.Name, e.Value)
	}
	parts = append(parts, "policy", string(p.config.PluginPolicy.PolicyType))
	for _, entry := range p.config.PluginPolicy.Allowlist {
		parts = append(parts, entry.Command)
	}
	return identify(parts...)
}

// interactive decides whether the plugin gets our standard input.
func (p *execPlugin) interactive() (bool, error) {
	switch p.config.InteractiveMode {
	case clientcmdapi.AlwaysExecInteractiveMode:
		if !p.tty.stdinTTY {
			return false, errors.New("it needs a terminal (interactiveMode: Always) and standard input is not one: log in with it by hand first, or use another user of the kubeconfig")
		}
		if p.config.StdinUnavailable {
			return false, errors.New("it needs standard input (interactiveMode: Always), which is in use")
		}
		return true, nil
	case clientcmdapi.IfAvailableExecInteractiveMode:
		return p.tty.stdinTTY && !p.config.StdinUnavailable, nil
	default:
		return false, nil
	}
}

// fetch runs the plugin once. Its errors hold nothing of the plugin's output.
func (p *execPlugin) fetch(ctx context.Context) (*credential, error) {
	interactive, err := p.interactive()
	if err != nil {
		return nil, err
	}
	stdout, err := p.run(ctx, interactive)
	if err != nil {
		return nil, err
	}
	status, err := decodeExecCredential(stdout, p.group)
	if err != nil {
		return nil, err
	}
	return execCredential(status, time.Now())
}

func (p *execPlugin) run(ctx context.Context, interactive bool) ([]byte, error) {
	stdout := &program.Output{Limit: maxExecOutput}
	cmd := exec.CommandContext(ctx, filepath.Clean(p.config.Command), p.config.Args...)
	cmd.Env = os.Environ()
	if p.environment != nil {
		cmd.Env = p.environment()
	}
	for _, e := range p.config.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+p.info[interactive])
	cmd.Stdout = stdout
	cmd.WaitDelay = execWaitDelay
	if p.tty.stderrTTY {
		// A person watches: prompts and the plugin's own explanation are for
		// them. Otherwise standard error may be a log, and a plugin's may hold
		// a token, so it goes nowhere.
		cmd.Stderr = p.tty.stderr
	}
	if interactive {
		// In a process group of its own it could not read from the terminal.
		cmd.Stdin = p.tty.stdin
	} else {
		program.OwnGroup(cmd)
	}
	if err := permitted(cmd, p.config.PluginPolicy); err != nil {
		return nil, err
	}
	err := cmd.Run()
	switch exit := (*exec.ExitError)(nil); {
	case stdout.Exceeded():
		return nil, fmt.Errorf("its output is larger than %d bytes", maxExecOutput)
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it was stopped: %w", context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("it is not installed" + p.installHint())
	case errors.As(err, &exit):
		return nil, fmt.Errorf("exit code %d: run it by hand to see why", exit.ExitCode())
	default:
		return nil, fmt.Errorf("it cannot be run: %w", err)
	}
}

// installHint is the kubeconfig's, on one line.
func (p *execPlugin) installHint() string {
	hint := strings.Join(strings.Fields(p.config.InstallHint), " ")
	if hint == "" {
		return ", or its directory is not in PATH"
	}
	return ": " + hint[:min(len(hint), maxInstallHint)]
}

// errKeyPair is the error of files of which one is being replaced, and of wrong
// ones.
var errKeyPair = errors.New("certificate and key are not a valid pair")

// keyPair parses a PEM certificate and key, in an error that quotes neither.
func keyPair(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errKeyPair, err.Error())
	}
	return &pair, nil
}
