package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// probe is a request that net/http's server refuses by itself, because it names
// no host: it needs a connection that is accepted and served, and leaves nothing
// in audit logs and metrics. To a TLS listener it is refused as well.
const probe = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"

// Answers returns nil if a server of HTTP or HTTPS answers at an address of
// this machine before ctx ends, whatever it answers.
func Answers(ctx context.Context, a net.Addr) error {
	// An address that stands for all of the machine's is dialled on loopback.
	c, err := (&net.Dialer{}).DialContext(ctx, a.Network(), a.String())
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err = io.WriteString(c, probe); err != nil {
		return unanswered(ctx, a, err)
	}
	first := make([]byte, len("HTTP/1."))
	if _, err := io.ReadFull(bufio.NewReader(c), first); err != nil {
		return unanswered(ctx, a, err)
	}
	if !strings.HasPrefix(string(first), "HTTP/1.") {
		return fmt.Errorf("%s answers with %q, which is not HTTP", a, first)
	}
	return nil
}

// unanswered prefers the time that is up to the error which closing the
// connection for it has made.
func unanswered(ctx context.Context, a net.Addr, err error) error {
	if ctx.Err() != nil {
		err = errors.New("no answer in time")
	}
	return fmt.Errorf("%s: %w", a, err)
}
