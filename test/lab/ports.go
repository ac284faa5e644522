package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// portPool hands out TCP ports of 127.0.0.1 that stay the lab's own while
// nobody listens on them, as when a killed server waits for its restart: they
// lie below the range that the kernel takes ports for outgoing connections
// from, and a lock file for each keeps other labs away.
type portPool struct {
	dir  string
	low  int
	high int

	mu      sync.Mutex
	unlocks []func() // guarded by mu
}

const (
	lowestPort = 15000
	// The first port for outgoing connections where the kernel does not say:
	// Linux's default (ip-sysctl, ip_local_port_range).
	defaultEphemeral = 32768
)

func newPortPool() (*portPool, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	p := &portPool{
		dir:  filepath.Join(cache, "ports"),
		low:  lowestPort,
		high: firstEphemeralPort(),
	}
	if p.high-p.low < 1000 {
		p.low, p.high = 1024, lowestPort
	}
	return p, os.MkdirAll(p.dir, 0o700)
}

func firstEphemeralPort() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return defaultEphemeral
	}
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return defaultEphemeral
	}
	first, err := strconv.Atoi(fields[0])
	if err != nil {
		return defaultEphemeral
	}
	return first
}

// take returns a port on which nobody listens.
func (p *portPool) take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var last error
	for range 200 {
		port := p.low + rand.IntN(p.high-p.low)
		unlock, held, err := tryLock(filepath.Join(p.dir, strconv.Itoa(port)))
		if err != nil {
			return 0, err
		}
		if !held {
			continue
		}
		// All addresses, so that a port which another program has on one of them
		// is left alone.
		ln, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			unlock()
			last = err
			continue
		}
		if err := ln.Close(); err != nil {
			unlock()
			return 0, err
		}
		p.unlocks = append(p.unlocks, unlock)
		return port, nil
	}
	return 0, errors.Join(fmt.Errorf("no free TCP port between %d and %d", p.low, p.high), last)
}

func (p *portPool) takeAll(ports ...*int) error {
	for _, port := range ports {
		var err error
		if *port, err = p.take(); err != nil {
			return err
		}
	}
	return nil
}

func (p *portPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, unlock := range p.unlocks {
		unlock()
	}
	p.unlocks = nil
}
