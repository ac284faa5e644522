package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// startNodes starts kwok, creates what the cluster holds from the beginning and
// waits until the nodes are Ready.
func (l *Lab) startNodes(ctx context.Context) error {
	var port int
	var err error
	if port, err = l.ports.take(); err != nil {
		return err
	}
	if l.echo, err = newEchoServer(); err != nil {
		return err
	}
	if l.podLog, err = newPodLog(l.path("pods", "pod.log")); err != nil {
		return err
	}
	config := l.path("kwok", "kwok.yaml")
	if err := l.writeKwokConfig(config); err != nil {
		return err
	}
	args := []string{
		"--kubeconfig=" + l.gatewayKubeconfig(),
		"--manage-all-nodes",
		"--node-ip=127.0.0.1",
		"--node-port=" + strconv.Itoa(port),
		"--server-address=" + loopback(port),
		"--tls-cert-file=" + l.pki.file("kubelet.crt"),
		"--tls-private-key-file=" + l.pki.file("kubelet.key"),
		"--config=" + config,
	}
	for _, stage := range l.Paths.Stages {
		args = append(args, "--config="+stage)
	}
	l.kwok = l.component("kwok", l.Paths.Kwok, func() []string { return args })
	if err := l.kwok.start(); err != nil {
		return err
	}
	if err := l.createObjects(ctx); err != nil {
		return err
	}
	for i := range l.opts.Nodes {
		name := nodeName(i)
		err := l.kwok.until(ctx, name+" to be Ready", func(ctx context.Context) error {
			return l.ready(ctx, "/api/v1/nodes/"+name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writeKwokConfig says how exec, logs, attach and port-forward work in every
// pod: commands run on this machine, logs come from the lab's log file, and
// ports lead to the echo server or to Options.PodPorts.
func (l *Lab) writeKwokConfig(path string) error {
	echoHost, echoPort, err := splitAddress(l.echo.address())
	if err != nil {
		return err
	}
	forwards := []object{{"target": object{"address": echoHost, "port": echoPort}}}
	for pod, address := range l.opts.PodPorts {
		host, port, err := splitAddress(address)
		if err != nil {
			return fmt.Errorf("PodPorts[%d]: %w", pod, err)
		}
		forwards = append(forwards, object{"ports": []int{pod}, "target": object{"address": host, "port": port}})
	}
	specs := []struct {
		kind string
		spec object
	}{
		{"ClusterExec", object{"execs": []object{{"local": object{}}}}},
		{"ClusterLogs", object{"logs": []object{{"logsFile": l.podLog.path}}}},
		{"ClusterAttach", object{"attaches": []object{{"logsFile": l.podLog.path}}}},
		{"ClusterPortForward", object{"forwards": forwards}},
	}
	var documents []string
	for _, s := range specs {
		b, err := json.Marshal(object{
			"apiVersion": "kwok.x-k8s.io/v1alpha1",
			"kind":       s.kind,
			"metadata":   object{"name": "lab"},
			"spec":       s.spec,
		})
		if err != nil {
			return err
		}
		documents = append(documents, string(b))
	}
	return os.WriteFile(path, []byte(strings.Join(documents, "\n---\n")), 0o600)
}

func splitAddress(address string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// Nodes are the names of the lab's nodes.
func (l *Lab) Nodes() []string {
	names := make([]string, l.opts.Nodes)
	for i := range names {
		names[i] = nodeName(i)
	}
	return names
}
