package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kuberelay/kuberelay/auth"
)

// KubeconfigConnection returns the connection of a context of a kubeconfig
// file. Nothing but the file counts: no environment, no service account of the
// pod that the daemon runs in, no default server; a missing file or context is
// an error that names it.
func KubeconfigConnection(ref auth.KubeconfigRef) Connection {
	return Connection{
		Load:  func() (*rest.Config, error) { return loadContext(ref) },
		Files: func() []string { return []string{ref.Path} },
	}
}

func loadContext(ref auth.KubeconfigRef) (*rest.Config, error) {
	// LoadingRules resolve the paths in a kubeconfig against its directory.
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: ref.Path}
	file, err := rules.Load()
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("kubeconfig %s: %w", ref.Path, wrapped.Err)
	}
	if err != nil { // which may quote what is in the file
		return nil, fmt.Errorf("kubeconfig %s is none: check it with kubectl config view --kubeconfig", ref.Path)
	}
	name := ref.Context
	if name == "" {
		name = file.CurrentContext
	}
	if name == "" {
		return nil, fmt.Errorf("kubeconfig %s has no current-context: name the context to use", ref.Path)
	}
	context := file.Contexts[name]
	if context == nil {
		return nil, fmt.Errorf("kubeconfig %s has no context %q", ref.Path, name)
	}
	if user := context.AuthInfo; user != "" && file.AuthInfos[user] == nil { // client-go would be anonymous
		return nil, fmt.Errorf("kubeconfig %s, context %q: there is no user %q", ref.Path, name, user)
	}
	loaded, err := clientcmd.NewNonInteractiveClientConfig(*file, name, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s, context %q: %w", ref.Path, name, err)
	}
	if loaded.Host == "" {
		return nil, fmt.Errorf("kubeconfig %s, context %q: its cluster has no server", ref.Path, name)
	}
	return loaded, nil
}

// Equal reports whether both clusters are configured the same. Connections are
// not compared: they are what their kubeconfigs are.
func (c Cluster) Equal(other Cluster) bool {
	c.Connection, other.Connection = Connection{}, Connection{}
	return reflect.DeepEqual(c, other)
}

// checkConnection loads the connection and everything that it names.
func (c *Cluster) checkConnection(field string, p *problems) {
	if c.Connection.Load == nil {
		return // validate says so
	}
	k, err := auth.OpenKubeconfig(auth.KubeconfigOptions{Load: c.Connection.Load, Files: c.Connection.Files, Name: c.Name})
	if err != nil {
		p.add(field+".kubeconfig", err)
		return
	}
	defer k.Close()
	for i, value := range c.Servers {
		server, err := ParseServer(value)
		if err == nil && k.Endpoint().URL.Scheme == "https" && server.Scheme == "http" {
			p.add(fmt.Sprintf("%s.servers[%d]", field, i), errors.New(
				"is reached over http, the kubeconfig's server over https: its credential is never sent over http"))
		}
	}
}
