package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/listen"
)

// kubeconfigUser is the name of the user in the kubeconfigs that are written.
const kubeconfigUser = "kuberelay"

// kubeconfigWishes are what the command line says of a kubeconfig.
type kubeconfigWishes struct {
	listener, server, authority, socket, command string
	clusters                                     []string
	certificate, key                             string
}

// kubeconfig makes the kubeconfig, and notes for the person who asked.
func (w *kubeconfigWishes) kubeconfig(c *config.Configuration) (*api.Config, []string, error) {
	l, err := listenerOf(c, w.listener)
	if err != nil {
		return nil, nil, err
	}
	base, err := w.url(l)
	if err != nil {
		return nil, nil, err
	}
	names, err := w.served(c, l)
	if err != nil {
		return nil, nil, err
	}
	user, notes, err := w.user(c, l)
	if err != nil {
		return nil, nil, err
	}
	var v verification
	if l.TLS != nil {
		var more []string
		if v, more, err = w.verification(l, base.Hostname()); err != nil {
			return nil, nil, err
		}
		notes = append(notes, more...)
	}
	k := api.NewConfig()
	if user != nil {
		k.AuthInfos[kubeconfigUser] = user
	}
	for _, name := range names {
		server := *base
		if name != l.Cluster {
			server.Path = "/clusters/" + name
		}
		cluster, context := api.NewCluster(), api.NewContext()
		cluster.Server, cluster.CertificateAuthorityData, cluster.TLSServerName = server.String(), v.authority, v.serverName
		context.Cluster = name
		if user != nil {
			context.AuthInfo = kubeconfigUser
		}
		k.Clusters[name], k.Contexts[name] = cluster, context
	}
	k.CurrentContext = names[0]
	return k, notes, nil
}

func listenerOf(c *config.Configuration, name string) (*config.Listener, error) {
	var names []string
	for i := range c.Listeners {
		if c.Listeners[i].Name == name {
			return &c.Listeners[i], nil
		}
		names = append(names, c.Listeners[i].Name)
	}
	return nil, fmt.Errorf("--listener: there is no %q: the configuration has %s", name, strings.Join(names, ", "))
}

// url is where clients reach a listener.
func (w *kubeconfigWishes) url(l *config.Listener) (*url.URL, error) {
	u := &url.URL{Scheme: "http", Host: w.server}
	if l.TLS != nil {
		u.Scheme = "https"
	}
	if w.server != "" {
		if _, _, err := splitHostPort(w.server); err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
		return u, nil
	}
	if strings.HasPrefix(l.Address, "unix:") {
		return nil, fmt.Errorf("listener %s is a Unix socket, which kubectl cannot dial: name one with a TCP address, for instance one on 127.0.0.1 that identifies by uid, or one with TLS that identifies by bearer, whose tokens kuberelay credential gets through this socket", l.Name)
	}
	host, port, err := splitHostPort(l.Address)
	if err != nil {
		return nil, fmt.Errorf("the address of listener %s, %s, does not tell where clients reach it: say so with --server=HOST:PORT", l.Name, l.Address)
	}
	if net.ParseIP(host) == nil && len(l.Hosts) > 0 && !slices.Contains(l.Hosts, host) {
		host = l.Hosts[0] // it answers 421 to a name that it does not have
	}
	u.Host = net.JoinHostPort(host, port)
	return u, nil
}

// splitHostPort splits what one can dial.
func splitHostPort(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	ip := net.ParseIP(host)
	if err != nil || host == "" || port == "" || port == "0" || ip != nil && ip.IsUnspecified() || strings.HasPrefix(address, "systemd:") {
		return "", "", fmt.Errorf("%q: want HOST:PORT that clients can dial", address)
	}
	if u, err := url.Parse("https://" + address); err != nil || u.Host != address {
		return "", "", fmt.Errorf("%q: want HOST:PORT and nothing else", address)
	}
	return host, port, nil
}

// user is by what the listener knows its client; nil where nothing of the
// kubeconfig's is needed.
func (w *kubeconfigWishes) user(c *config.Configuration, l *config.Listener) (*api.AuthInfo, []string, error) {
	goesBy := func(m identify.Method) bool { return slices.Contains(l.Identify, m) }
	user := api.NewAuthInfo()
	switch {
	case w.certificate != "":
		if l.TLS == nil || !goesBy(identify.Certificate) {
			return nil, nil, fmt.Errorf("--client-certificate: listener %s does not identify by certificate", l.Name)
		}
		user.ClientCertificate, user.ClientKey = w.certificate, w.key
		return user, nil, nil
	case w.socket != "":
		if l.TLS == nil || !goesBy(identify.Bearer) {
			return nil, nil, fmt.Errorf("--socket: listener %s does not identify by bearer over TLS, so kubectl would not send it a token", l.Name)
		}
		user.Exec = w.plugin(w.socket)
		return user, nil, nil
	case l.TLS == nil && (l.Mode == config.Single || goesBy(identify.UID) && isLoopback(l.Address)):
		return nil, nil, nil // over TLS kubectl would ask for a user name and a password
	case l.TLS == nil:
		return nil, nil, fmt.Errorf("listener %s has no TLS, so kubectl sends it neither token nor certificate: want a listener with TLS, or one on 127.0.0.1 that identifies by uid", l.Name)
	case goesBy(identify.Bearer):
		if socket := uidSocket(c); socket != "" {
			user.Exec = w.plugin(socket)
			return user, nil, nil
		}
		return user, []string{"no listener of the configuration is a Unix socket that identifies by uid, so kubectl cannot get tokens by itself. " +
			"Put the client's own token into the kubeconfig: kubectl config set-credentials " + kubeconfigUser + " --token=…"}, nil
	case goesBy(identify.Certificate):
		return nil, nil, fmt.Errorf("listener %s identifies by certificate: name the client's with --client-certificate and --client-key", l.Name)
	}
	if !goesBy(identify.OIDC) {
		return nil, nil, fmt.Errorf("listener %s identifies by uid alone, over TLS, where kubectl asks for a user name and a password: let it identify by bearer, too, for the tokens of kuberelay credential, or name one on 127.0.0.1 that identifies by uid and has no TLS", l.Name)
	}
	return user, []string{"listener " + l.Name + " identifies by OpenID Connect: add a plugin that gets ID tokens to the user " + kubeconfigUser + " of the kubeconfig"}, nil
}

// plugin makes kubectl call kuberelay credential.
func (w *kubeconfigWishes) plugin(socket string) *api.ExecConfig {
	return &api.ExecConfig{
		APIVersion:      clientauthentication.SchemeGroupVersion.String(),
		Command:         w.command,
		Args:            []string{"credential", "--socket", socket},
		InteractiveMode: api.NeverExecInteractiveMode,
		InstallHint:     "kuberelay is needed on this machine, in the PATH or where the kubeconfig says, to get tokens for the cluster.",
	}
}

// uidSocket is the path of a shared Unix socket that goes by uid; empty if
// there is none.
func uidSocket(c *config.Configuration) string {
	for _, l := range c.Listeners {
		if l.Mode != config.Shared || !slices.Contains(l.Identify, identify.UID) {
			continue
		}
		if path, ok := strings.CutPrefix(l.Address, "unix:"); ok {
			return strings.TrimPrefix(path, "//")
		}
	}
	return ""
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return host == "localhost" || listen.Loopback(&net.TCPAddr{IP: net.ParseIP(host)})
}
