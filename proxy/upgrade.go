package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// forwardUpgrade connects the client with a server that speaks WebSocket or
// SPDY/3.1. It is sent again only where provably nothing of it was processed,
// and the two connections are joined after 101 alone (CVE-2018-1002105,
// CVE-2020-8559).
func (x *exchange) forwardUpgrade() {
	// An answer other than 101 is the last on its connection (serve sets
	// Connection: close): what the client has sent after its request may be of
	// the protocol it asked for.
	if x.r.ContentLength != 0 {
		x.fail(answerBadRequest("an upgrade request cannot have a body"), nil)
		return
	}
	x.try()
}

// attemptUpgrade makes an attempt of an upgrade.
func (x *exchange) attemptUpgrade(ctx context.Context, a balancer.Attempt[*Upstream]) (next choice, more bool) {
	u := a.Value()
	sent := time.Now()
	resp, conn, err := x.connections(u).http1.Upgrade(ctx, &x.request)
	v := x.judge(ctx, u, resp, err, sent)
	if next, more = x.again(a, v, resp, err); more {
		return next, true
	}
	a.Report(v.breaker)
	switch {
	case conn != nil && x.caller != nil && !strings.EqualFold(resp.Header.Get("Upgrade"), upgradeProtocol(x.r)):
		conn.Close() // it speaks a protocol that nobody asked for
		x.fail(answerNoUpgrade(resp.StatusCode), nil)
	case conn != nil:
		x.tunnel(ctx, conn)
	case err != nil, x.hides(v):
		discard(resp)
		x.failAttempt(v, err)
	case resp.StatusCode < 400 && x.caller != nil:
		discard(resp)
		x.fail(answerNoUpgrade(resp.StatusCode), nil)
	case resp.StatusCode < 400:
		// Not followed, not passed on: a redirect here would take the
		// credential elsewhere.
		discard(resp)
		x.code = http.StatusInternalServerError
		http.Error(x.w, fmt.Sprintf("invalid upgrade response: status code %d", resp.StatusCode), x.code)
	default:
		_ = x.stream(ctx, resp) // who breaks it off may stand beyond the API server
	}
	return choice{}, false
}

// tunnel joins the two connections until either side ends.
func (x *exchange) tunnel(ctx context.Context, upstream h1.Upgraded) {
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.fail(answerBadGateway("the client's connection cannot be upgraded"), err)
		return
	}
	defer client.Close()
	x.code, x.streamed = http.StatusSwitchingProtocols, true
	x.auditStarted()
	setKeepAlive(upstream, x.h.o.KeepAlive)

	// Whoever ends the attempt ends the tunnel: the API server's side first, so
	// that sayWhy knows what the client has got.
	stop := context.AfterFunc(ctx, func() {
		_ = client.SetWriteDeadline(time.Now().Add(farewell)) // on error it is closed already
		upstream.Close()
	})
	defer stop()
	x.flight.streaming(true, nil)
	if _, err := client.Write(upstream.Head()); err != nil {
		x.err = err
		return
	}
	var down wsFrames
	var directions sync.WaitGroup
	fromUpstream, fromClient := make(chan error, 1), make(chan error, 1)
	directions.Go(func() { fromUpstream <- x.pass(client, upstream, &x.bytes, &down) })
	directions.Go(func() { fromClient <- x.pass(upstream, buffered.Reader, nil, nil) })
	var first error
	select {
	case first = <-fromUpstream:
		x.closedBy = CloseUpstream
		fromUpstream <- first // for farewell
	case first = <-fromClient:
		x.closedBy = CloseClient
	}
	if first != io.EOF {
		x.err = first
	}
	if cause := context.Cause(ctx); cause != nil {
		x.err = cause
		last := <-fromUpstream
		x.log("tunnel is ended from here", zap.NamedError("last", last))
		x.sayWhy(client, cause, &down)
	}
	client.Close()
	upstream.Close()
	directions.Wait() // the other one ends because of this one
	x.log("tunnel ended", zap.String("upstream", x.upstream), zap.Error(x.err))
}

// farewell is how long the end of a tunnel waits for a client that does not
// read.
const farewell = 250 * time.Millisecond

// sayWhy tells the client of a WebSocket why kuberelay ends it, unless a frame is
// half sent. Other protocols have no message for that.
func (x *exchange) sayWhy(client io.Writer, cause error, down *wsFrames) {
	ended, ok := errors.AsType[*EndedError](cause)
	if !ok || !down.boundary() || !strings.EqualFold(upgradeProtocol(x.r), "websocket") {
		return
	}
	_, _ = client.Write(closeFrame(wsPolicyViolation, ended.Error())) // on error it is gone
}

// pass copies one direction of a tunnel, adds to count and follows frames.
func (x *exchange) pass(dst io.Writer, src io.Reader, count *int64, frames *wsFrames) error {
	buf, _ := tunnelBuffers.Get().(*[]byte)
	defer tunnelBuffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			if _, werr := dst.Write((*buf)[:n]); werr != nil {
				return werr
			}
			if count != nil {
				*count += int64(n)
				frames.advance((*buf)[:n])
			}
		}
		if err != nil {
			return err
		}
	}
}

// setKeepAlive applies --keepalive to the TCP connection under an upgraded one.
func setKeepAlive(c net.Conn, period time.Duration) {
	if period == 0 {
		return
	}
	for {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: period > 0, Idle: period, Interval: period}) // the connection works without
			return
		}
		under, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		c = under.NetConn()
	}
}
