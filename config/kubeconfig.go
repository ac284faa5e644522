package config

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/kuberelay/kuberelay/auth"
)

// KubeconfigConnection returns the connection of a context of a kubeconfig
// file, by which alone it is found: see [auth.KubeconfigRef.Load].
func KubeconfigConnection(ref auth.KubeconfigRef) Connection {
	return Connection{
		Load:  ref.Load,
		Files: func() []string { return []string{ref.Path} },
	}
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
