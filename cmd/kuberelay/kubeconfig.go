package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kuberelay/kuberelay/config"
)

// defaultConfig is where the packages' unit file has the configuration.
const defaultConfig = "/etc/kuberelay/config.yaml"

const kubeconfigLong = `Prints a kubeconfig with which stock kubectl calls a listener: a context for
each cluster, the listener's own first. It holds no secret.

Where the listener goes by tokens over TLS and another one knows its clients by
their user ID on a Unix socket, kubectl gets a short-lived token there each time
it needs one, by calling kuberelay credential. A listener on a loopback address
that goes by user ID needs nothing in the kubeconfig.`

func newKubeconfig(s streams) *cobra.Command {
	var file string
	var w kubeconfigWishes
	cmd := &cobra.Command{
		Use:   "kubeconfig --listener=NAME [--config=FILE] [options]",
		Short: "Print a kubeconfig for a listener's clients",
		Long:  kubeconfigLong,
		Example: `# For everyone on this machine who has a match of uid or unixUser
COMMAND --listener=team > /etc/kuberelay/client.kubeconfig

# For a client with a certificate, elsewhere
COMMAND --listener=team --server=relay.example.org:8443 \
  --client-certificate=alice.crt --client-key=alice.key`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if w.listener == "" {
				return &usageError{cmd, errors.New("--listener is missing")}
			}
			if (w.certificate == "") != (w.key == "") {
				return &usageError{cmd, errors.New("--client-certificate and --client-key go together")}
			}
			if w.certificate != "" && w.socket != "" {
				return &usageError{cmd, errors.New("--socket is for a token, --client-certificate in place of one: want one of them")}
			}
			c, err := readConfiguration(file)
			if err != nil {
				return err
			}
			k, notes, err := w.kubeconfig(c)
			if err != nil {
				return err
			}
			text, err := clientcmd.Write(*k)
			if err != nil {
				return err
			}
			for _, note := range notes {
				fmt.Fprintln(s.err, "note: "+note)
			}
			_, err = s.out.Write(text)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&file, "config", defaultConfig, "Path of the configuration file.")
	fs.StringVar(&w.listener, "listener", "", "Name of the listener to call.")
	fs.StringSliceVar(&w.clusters, "cluster", nil, "Names of the clusters to write contexts for. Comma-separated; can be repeated. Default: all that the listener serves.")
	fs.StringVar(&w.server, "server", "", "HOST:PORT of the listener as its clients reach it, where its address does not say.")
	fs.StringVar(&w.authority, "certificate-authority", "", "Path of the certificate authority of the listener's certificate, to put into the kubeconfig. Default: the end of the listener's chain, if that is self-signed.")
	fs.StringVar(&w.socket, "socket", "", "Path of the Unix socket where tokens are had. Default: that of a listener which identifies by uid.")
	fs.StringVar(&w.command, "command", "kuberelay", "Path of this program on the clients' machine.")
	fs.StringVar(&w.certificate, "client-certificate", "", "Path of the client's certificate on its machine.")
	fs.StringVar(&w.key, "client-key", "", "Path of the client's key on its machine.")
	complete(cmd, "server")
	completeFromConfiguration(cmd, &file, "listener", func(c *config.Configuration) (names []string) {
		for _, l := range c.Listeners {
			names = append(names, l.Name)
		}
		return names
	})
	completeFromConfiguration(cmd, &file, "cluster", clusterNames)
	return cmd
}

// readConfiguration reads the file alone, and none that it names: their secrets
// do not concern a kubeconfig's writer.
func readConfiguration(path string) (*config.Configuration, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return config.Parse(data, path)
}

func completeFromConfiguration(cmd *cobra.Command, path *string, flag string, names func(*config.Configuration) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, err := readConfiguration(*path)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(c), cobra.ShellCompDirectiveNoFileComp
	})
}

func clusterNames(c *config.Configuration) (names []string) {
	for _, cluster := range c.Clusters {
		names = append(names, cluster.Name)
	}
	return names
}

// served are the clusters to write contexts for, the listener's own first.
func (w *kubeconfigWishes) served(c *config.Configuration, l *config.Listener) ([]string, error) {
	all := []string{l.Cluster}
	if l.Mode == config.Shared {
		for _, name := range clusterNames(c) {
			if name != l.Cluster {
				all = append(all, name)
			}
		}
	}
	if len(w.clusters) == 0 {
		return all, nil
	}
	for _, name := range w.clusters {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("--cluster: listener %s does not serve %q: it serves %s", l.Name, name, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(w.clusters, name) }), nil
}
