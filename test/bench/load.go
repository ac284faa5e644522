package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// client is one keep-alive connection of the load generator. It parses no more
// of a response than it needs to know that the response is right.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	size    int // of a right response's body

	latencies []time.Duration
	errors    int64
	first     error
}

// runLoad is the load generator. It prints two JSON values: "begin" when the
// warm-up is over, and a load when the time is.
func runLoad(args []string) error {
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	address := fs.String("address", "", "host:port of the proxy")
	path := fs.String("path", "/", "request-target")
	size := fs.Int("size", 0, "bytes in a response's body")
	connections := fs.Int("connections", 1, "connections")
	warmUp := fs.Duration("warm-up", 0, "time before counting begins")
	duration := fs.Duration("duration", time.Second, "time of counting")
	if err := fs.Parse(args); err != nil {
		return err
	}
	clients := make([]*client, *connections)
	for i := range clients {
		c, err := dialClient(*address, *path, *size)
		if err != nil {
			return err
		}
		defer func() { _ = c.conn.Close() }()
		clients[i] = c
	}
	begin := time.Now().Add(*warmUp)
	end := begin.Add(*duration)
	out := json.NewEncoder(os.Stdout)
	announced := make(chan error, 1)
	timer := time.AfterFunc(*warmUp, func() { announced <- out.Encode("begin") })
	defer timer.Stop()

	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { c.work(begin, end) })
	}
	wg.Wait()
	if err := <-announced; err != nil {
		return err
	}
	return out.Encode(sum(clients, time.Since(begin)))
}

func dialClient(address, path string, size int) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + address +
		"\r\nAccept: application/json\r\nUser-Agent: kubectl/v1.37.2 (linux/amd64) bench\r\n\r\n"
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), request: []byte(request), size: size}, nil
}

// work sends one request after the other. A request counts when its response
// ends between begin and end. An error ends the connection's work.
func (c *client) work(begin, end time.Time) {
	_ = c.conn.SetDeadline(end.Add(10 * time.Second))
	for {
		start := time.Now()
		if start.After(end) {
			return
		}
		if err := c.exchange(); err != nil {
			c.errors++
			c.first = err
			return
		}
		if now := time.Now(); now.After(begin) {
			c.latencies = append(c.latencies, now.Sub(start))
		}
	}
}

func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("status line %q", line)
	}
	length, chunked := -1, false
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = string(value) == "chunked"
		}
	}
	switch {
	case chunked:
		length, err = c.skipChunks()
	case length < 0:
		err = errors.New("a response without length")
	default:
		_, err = c.in.Discard(length)
	}
	if err == nil && length != c.size {
		err = fmt.Errorf("a body of %d bytes, want %d", length, c.size)
	}
	return err
}

func (c *client) skipChunks() (total int, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return total, err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return total, err
		}
		total += int(n)
		if _, err := c.in.Discard(int(n)); err != nil {
			return total, err
		}
		if line, err = c.line(); err != nil {
			return total, err
		}
		if len(line) != 0 {
			return total, fmt.Errorf("a chunk ends with %q", line)
		}
		if n == 0 {
			return total, nil
		}
	}
}

// line returns the next line without its CRLF, valid until the next read.
func (c *client) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return bytes.TrimSuffix(line, []byte("\r\n")), err
}

// sum merges what the clients saw in the time since counting began.
func sum(clients []*client, took time.Duration) load {
	l := load{Seconds: took.Seconds()}
	var all []time.Duration
	for _, c := range clients {
		all = append(all, c.latencies...)
		l.Errors += c.errors
		if c.first != nil && l.First == "" {
			l.First = c.first.Error()
		}
	}
	l.Requests = int64(len(all))
	if len(all) == 0 {
		return l
	}
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	l.P50, l.P99, l.Max = at(0.50), at(0.99), at(1)
	return l
}
