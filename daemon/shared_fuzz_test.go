package daemon_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// FuzzSharedRequest sends any bytes to a shared listener, with bob's token as
// TOKEN. Whatever of them arrives at the API server is bob's, and something
// that his policy allows as kube-apiserver reads it.
func FuzzSharedRequest(f *testing.F) {
	for _, seed := range []string{
		"GET " + pods + " HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\n\n",
		"GET " + pods + "?watch=1 HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nConnection: Upgrade, Impersonate-User\nUpgrade: websocket\nSec-WebSocket-Key: x\n\n",
		"GET " + podExec + "?command=sh HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nConnection: Upgrade\nUpgrade: SPDY/3.1\n\nrest",
		"POST " + pods + " HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nContent-Length: 5\nTransfer-Encoding: chunked\n\n4\nbody\n0\nImpersonate-User: root\n\n",
		"GET " + pods + "/../secrets HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nImpersonate_User: root\n\n",
		"GET " + pods + "/p/proxy/%2e%2e/exec HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\n\n",
		"GET http://localhost/clusters/test" + pods + "/%70/log?follow=1 HTTP/1.1\nHost: evil\nauthorization: bearer TOKEN\nX_Remote_User: root\nCookie: a\n\n",
		"GET /clusters/other" + pods + " HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nImpersonate-User: bob\nImpersonate-Group: ops\n\n",
		"GET " + pods + " HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\n\nGET " + secrets + " HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\n\n",
		"PRI * HTTP/2.0\n\nSM\n\n", "OPTIONS * HTTP/1.1\nHost: localhost\n\n", "CONNECT a:1 HTTP/1.1\n\n", "GET /version HTTP/1.0\n\n",
		"GET /api/v1/watch/namespaces/team-a/pods/p;x HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nExpect: 100-continue\nContent-Length: 1\n\n",
	} {
		f.Add([]byte(seed), true)
	}
	r := startTeam(f, 1)
	allowed := policyOf(f, r.base(), "read-only")
	addr := r.Daemon.Addr("proxy").String()
	f.Fuzz(func(t *testing.T, raw []byte, lineEnds bool) {
		text := strings.ReplaceAll(string(raw), "TOKEN", bobToken)
		if lineEnds {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = io.WriteString(conn, text) // the daemon may have closed it
			if half, ok := conn.(*net.TCPConn); ok {
				_ = half.CloseWrite() // likewise
			}
		}()
		answer, _ := io.ReadAll(conn) // an error is a reset, or that the daemon waits
		conn.Close()
		<-written
		if strings.Contains(string(answer), brokerToken) || strings.Contains(string(answer), testToken) {
			t.Errorf("the answer shows a credential: %q", answer)
		}
		for _, q := range r.Servers[0].Take() {
			if isOwn(q) {
				continue
			}
			checkArrived(t, q, asBob())
			info, err := infoOf(q)
			if err != nil {
				t.Fatalf("%s %s arrived, and cannot be read: %v", q.Method, q.Target, err)
			}
			request := policy.Request{Info: info, Upgrade: q.Header.Get("Upgrade") != ""}
			if !allowed.Decide(&request).Allowed {
				t.Errorf("%s %s arrived, which is %s %s/%s in %q, upgrade %t", q.Method, q.Target, info.Verb, info.Resource, info.Subresource, info.Namespace, request.Upgrade)
			}
		}
		if n := len(slices.DeleteFunc(r.Other.Requests(), isOwn)); n != 0 {
			t.Errorf("%d requests arrived at a cluster that is not granted", n)
		}
	})
}

// isOwn knows the daemon's own requests: for health, identity and discovery,
// with the kubeconfig's credential.
func isOwn(q fakeapi.Request) bool {
	own := []string{"/readyz", "/livez", "/api", "/apis", "/api/v1/namespaces/kube-system", "/apis/apiregistration.k8s.io/v1/apiservices"}
	path, _, _ := strings.Cut(q.Target, "?")
	return slices.Contains(own, path) && q.Header.Get("Authorization") == "Bearer "+testToken && strings.HasPrefix(q.Header.Get("User-Agent"), "kuberelay/")
}
