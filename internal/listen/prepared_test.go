package listen_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/internal/listen"
)

// named is what a Prepare makes of a connection.
type named struct {
	net.Conn
	name string
}

func TestConnectionsArePreparedAsOfTheirAccept(t *testing.T) {
	var current atomic.Pointer[string]
	l := listen.Prepared(open(t, "127.0.0.1:0", listen.Options{}), func(c net.Conn) net.Conn {
		return named{c, *current.Load()}
	})
	for _, want := range []string{"before the reload", "after it"} {
		current.Store(&want)
		_, server := connect(t, l)
		if got := server.(named).name; got != want {
			t.Errorf("prepared %s, want %s", got, want)
		}
	}
}

func TestRefusedConnectionIsClosedAndTheNextAccepted(t *testing.T) {
	refusals := 3
	// One connection at a time: the refused ones must give their room back.
	l := listen.Prepared(open(t, "127.0.0.1:0", listen.Options{MaxConnections: 1}), func(c net.Conn) net.Conn {
		if refusals > 0 {
			refusals--
			return nil
		}
		return c
	})
	var refused []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		refused = append(refused, c)
	}
	client, server := connect(t, l)
	if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("accepted the connection from %s, want %s", got, want)
	}
	for _, c := range refused {
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a refused connection reads %d bytes, %v; want its end", n, err)
		}
	}
}

func TestPreparedListenerEnds(t *testing.T) {
	l := listen.Prepared(open(t, "127.0.0.1:0", listen.Options{}), func(net.Conn) net.Conn {
		t.Error("there was nothing to prepare")
		return nil
	})
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed", err)
	}
}
