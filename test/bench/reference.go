package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// The reference proxies run in one process with as many threads as a 2-core
// machine has use for, keep their upstream connections, verify the origin's
// certificate, and inject the same token.

const haproxyConfig = `global
    maxconn 4096
    nbthread 2
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend f
    bind %[1]s
    default_backend b
backend b
    http-request set-header Authorization "Bearer %[2]s"
    server s %[3]s ssl verify required ca-file %[4]s alpn http/1.1
`

const nginxConfig = `worker_processes 1;
master_process off;
daemon off;
error_log stderr error;
pid %[5]s/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path %[5]s;
    proxy_temp_path %[5]s;
    fastcgi_temp_path %[5]s;
    uwsgi_temp_path %[5]s;
    scgi_temp_path %[5]s;
    keepalive_requests 100000000;
    upstream u { server %[3]s; keepalive 128; keepalive_requests 100000000; }
    server {
        listen %[1]s;
        location / {
            proxy_pass https://u;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer %[2]s";
            proxy_ssl_verify on;
            proxy_ssl_name 127.0.0.1;
            proxy_ssl_trusted_certificate %[4]s;
        }
    }
}
`

// reference prepares haproxy or nginx.
func reference(ctx context.Context, name string, env environment) (cmd *exec.Cmd, addr, version string, err error) {
	program, err := exec.LookPath(name)
	if err != nil {
		return nil, "", "", fmt.Errorf("-with %s: it is not installed", name)
	}
	if addr, err = freeAddress(); err != nil {
		return nil, "", "", err
	}
	caFile := filepath.Join(env.dir, "ca.pem")
	if err := os.WriteFile(caFile, env.origins.ca, 0o644); err != nil {
		return nil, "", "", err
	}
	configFile := filepath.Join(env.dir, name+".conf")
	write := func(format string, args ...any) error {
		return os.WriteFile(configFile, fmt.Appendf(nil, format, args...), 0o600)
	}
	switch name {
	case "haproxy":
		err = write(haproxyConfig, addr, token, env.origins.addrs[0], caFile)
		cmd = exec.CommandContext(ctx, program, "-db", "-f", configFile)
		version = versionOf(ctx, program, "-v")
	case "nginx":
		err = write(nginxConfig, addr, token, env.origins.addrs[0], caFile, env.dir)
		cmd = exec.CommandContext(ctx, program, "-p", env.dir, "-e", "stderr", "-c", configFile)
		version = versionOf(ctx, program, "-v")
	default:
		err = fmt.Errorf("-with %s: only haproxy and nginx are known", name)
	}
	return cmd, addr, version, err
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
