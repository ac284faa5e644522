package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// Pauses between attempts of one batch: the first, and the longest.
const (
	firstPause = 500 * time.Millisecond
	maxPause   = 5 * time.Second
)

// uploader sends batches to the collector. It implements otlptrace.Client.
type uploader struct {
	settings  *settings
	client    *http.Client
	transport *http.Transport
	log       *zap.Logger

	life     context.Context // of all requests
	cancel   context.CancelFunc
	stopping chan struct{} // closed: no more retries
	stopped  chan struct{} // closed: nothing is sent any more
	failing  atomic.Bool   // the last batch was lost, which is on record
}

func newUploader(s *settings, log *zap.Logger) (*uploader, error) {
	secure, err := s.tls()
	if err != nil {
		return nil, err
	}
	u := &uploader{settings: s, log: log, stopping: make(chan struct{}), stopped: make(chan struct{})}
	u.life, u.cancel = context.WithCancel(context.Background())
	u.transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure,
		MaxConnsPerHost: 2, IdleConnTimeout: time.Minute, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	u.client = &http.Client{
		Transport: u.transport,
		// A redirect would take the headers' credential elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u, nil
}

// tls reads the files that the environment names.
func (s *settings) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, fmt.Errorf("the collector's certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the collector's certificate authority: %s has no certificate in PEM", s.ca)
		}
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("the client certificate for the collector: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Start implements otlptrace.Client.
func (u *uploader) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client. It comes after the last batch.
func (u *uploader) Stop(context.Context) error {
	u.cancel()
	u.transport.CloseIdleConnections()
	close(u.stopped)
	return nil
}

// UploadTraces implements otlptrace.Client. Its errors end here, in one line
// of the log for however many batches are lost in a row: the SDK would write
// one for each.
func (u *uploader) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	ctx, cancel := context.WithTimeout(ctx, u.settings.timeout)
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	err := u.send(ctx, spans)
	switch collector := zap.String("collector", u.settings.endpoint.Host); {
	case err != nil && !u.failing.Swap(true):
		u.log.Warn("traces are lost: the collector does not take them", collector, zap.Error(err))
	case err == nil && u.failing.Swap(false):
		u.log.Info("the collector takes traces again", collector)
	}
	return nil
}

// send makes attempts until one succeeds, another cannot, or time is up.
func (u *uploader) send(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire TracesData is ExportTraceServiceRequest, whose package
	// imports gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err == nil && u.settings.gzip {
		body, err = compress(body)
	}
	if err != nil {
		return err
	}
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		again, after, err := u.post(ctx, body)
		if err == nil || !again {
			return err
		}
		wait := time.NewTimer(max(after, pause/2+rand.N(pause/2)))
		select {
		case <-wait.C:
		case <-u.stopping:
			wait.Stop()
			return err
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(body)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}

// post makes one attempt. again says that another may succeed where this one
// did not, at the earliest in the time after.
func (u *uploader) post(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.settings.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	maps.Copy(req.Header, *u.settings.headers.fields)
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "kuberelay")
	if u.settings.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := u.client.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		return ctx.Err() == nil, 0, err
	}
	defer resp.Body.Close()
	// Read to its end, so that the connection serves the next batch.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return false, 0, nil
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16)
		return true, time.Duration(seconds) * time.Second, fmt.Errorf("status %d", code)
	default:
		return false, 0, fmt.Errorf("status %d", code)
	}
}
