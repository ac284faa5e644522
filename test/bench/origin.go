package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	smallPath = "/api/v1/namespaces/default/configmaps/small"
	smallSize = 1 << 10
	listPath  = "/api/v1/configmaps?limit=500"
	listSize  = 1 << 20
	// token is what the kubeconfig carries; the origins insist on it.
	token = "bench-token-0123456789abcdef0123456789abcdef"
)

// origins is the process that plays the API servers.
type origins struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addrs []string // host:port
	ca    []byte   // PEM
}

func (o *origins) stop() {
	_ = o.stdin.Close() // it ends with its standard input
	_ = o.cmd.Wait()
}

func startOrigins(ctx context.Context, dir string, n int) (*origins, error) {
	certFile := filepath.Join(dir, "origin.pem")
	ca, err := writeCertificate(certFile)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "origin", certFile, strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	o := &origins{cmd: cmd, stdin: stdin, ca: ca}
	for lines := bufio.NewScanner(out); len(o.addrs) < n; {
		if !lines.Scan() {
			o.stop()
			return nil, errors.New("the origins did not start")
		}
		o.addrs = append(o.addrs, lines.Text())
	}
	return o, nil
}

// runOrigin serves until its standard input ends, and prints its addresses.
func runOrigin(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: bench origin CERTIFICATE NUMBER")
	}
	cert, err := tls.LoadX509KeyPair(args[0], args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           originHandler(),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}},
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second, // kube-apiserver's
	}
	failed := make(chan error, n+1)
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { failed <- server.ServeTLS(l, "", "") }()
		fmt.Println(l.Addr())
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- errors.Join(err, server.Close())
	}()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// originHandler answers like an API server, with its headers.
func originHandler() http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, body []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Audit-Id", "6b1a6a3c-0f4b-4f0e-9f0a-0e6e5b1a7c1d")
			h.Set("Cache-Control", "no-cache, private")
			h.Set("Content-Type", "application/json")
			h.Set("X-Kubernetes-Pf-Flowschema-Uid", "3c5b9d3e-1fd0-4c77-9d38-5d8f3f6a4b10")
			h.Set("X-Kubernetes-Pf-Prioritylevel-Uid", "77b4bd0c-a1ab-4d7b-9a3f-9b1f0e2f6d52")
			if r.Header.Get("Authorization") != "Bearer "+token {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = w.Write(body)
		})
	}
	serve("/readyz", []byte("ok"))
	serve("/livez", []byte("ok"))
	serve("/version", []byte(`{"major":"1","minor":"37","gitVersion":"v1.37.2"}`))
	serve("/api/v1/namespaces/kube-system", []byte(
		`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"0b7ed1d5-6a0c-4f2b-9d0e-6f2f3c3f9a11"}}`))
	serve(smallPath, object("ConfigMap", smallSize))
	serve(strings.TrimSuffix(listPath, "?limit=500"), object("ConfigMapList", listSize))
	return mux
}

// object is JSON of exactly size bytes.
func object(kind string, size int) []byte {
	head := `{"kind":"` + kind + `","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"data":"`
	const tail = `"}}}`
	b := []byte(head + strings.Repeat("x", size-len(head)-len(tail)) + tail)
	if !json.Valid(b) {
		return nil // the load generator will miss the bytes
	}
	return b
}

// writeCertificate writes a fresh key and its self-signed certificate for
// 127.0.0.1, and returns the certificate.
func writeCertificate(file string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "bench"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	all := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), cert...)
	return cert, os.WriteFile(file, all, 0o600)
}
