package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kuberelay/kuberelay/internal/program"
)

// Resolver looks names up, as [net.Resolver] does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Bounds on resolving seeds.
const (
	maxSeedAddresses = 256
	maxSeedOutput    = 64 << 10
	seedTimeout      = 10 * time.Second
)

// seed is one entry of Config.Peers: text as it is written there, and exactly
// one of the other fields.
type seed struct {
	text    string
	address netip.AddrPort
	host    string // with port
	port    uint16
	srv     string
	command []string
}

func parseSeed(text string) (seed, error) {
	if command, ok := strings.CutPrefix(text, "exec:"); ok {
		words := strings.Fields(command)
		if len(words) == 0 || len(command) > maxCommand {
			return seed{}, fmt.Errorf("%q: want exec:COMMAND ARG…, which prints addresses", text)
		}
		return seed{command: words}, nil
	}
	if strings.HasPrefix(text, "_") {
		if len(text) > 253 || strings.Count(text, ".") < 2 {
			return seed{}, fmt.Errorf("%q: want the name of an SRV record, such as _gossip._tcp.example.org", text)
		}
		return seed{srv: text}, nil
	}
	host, port, err := splitAddress(text)
	if err != nil {
		return seed{}, err
	}
	if unspecified(host) || port == 0 {
		return seed{}, fmt.Errorf("%q: want the address of a peer", text)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return seed{address: netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	return seed{host: host, port: port}, nil
}

func (c Config) seeds() []seed {
	seeds := make([]seed, 0, len(c.Peers))
	for _, text := range c.Peers {
		if s, err := parseSeed(text); err == nil { // Validate has seen to it.
			s.text = text
			seeds = append(seeds, s)
		}
	}
	return seeds
}

// String returns s as it is written, without the arguments of a command, which
// are nobody's business.
func (s seed) String() string {
	if s.command != nil {
		return "exec:" + s.command[0]
	}
	return s.text
}

// resolve returns the addresses that s stands for now.
func (s seed) resolve(ctx context.Context, r Resolver) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	switch {
	case s.address.IsValid():
		return []netip.AddrPort{s.address}, nil
	case s.host != "":
		return lookupHost(ctx, r, s.host, s.port)
	case s.srv != "":
		_, records, err := r.LookupSRV(ctx, "", "", s.srv)
		if err != nil {
			return nil, err
		}
		return lookupTargets(ctx, r, records[:min(len(records), maxSeedAddresses)])
	default:
		return s.run(ctx, r)
	}
}

// lookupTargets looks up all targets side by side, so that one that is slow does
// not use up the others' time. What it returns is in the records' order.
func lookupTargets(ctx context.Context, r Resolver, records []*net.SRV) ([]netip.AddrPort, error) {
	found, problems := make([][]netip.AddrPort, len(records)), make([]error, len(records))
	var lookups sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, record := range records {
		lookups.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], problems[i] = lookupHost(ctx, r, strings.TrimSuffix(record.Target, "."), record.Port)
		})
	}
	lookups.Wait()
	return slices.Concat(found...), errors.Join(problems...)
}

func lookupHost(ctx context.Context, r Resolver, host string, port uint16) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), port)}, nil
	}
	ips, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	all := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		all[i] = netip.AddrPortFrom(ip.Unmap(), port)
	}
	return all, nil
}

// run runs the command, which prints addresses separated by white space. An exec:
// among them is not run.
func (s seed) run(ctx context.Context, r Resolver) ([]netip.AddrPort, error) {
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	program.OwnGroup(cmd)
	cmd.WaitDelay = time.Second
	out, complaint := program.Output{Limit: maxSeedOutput}, program.Output{Limit: maxSeedOutput, Discard: true}
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if out.Exceeded() {
		return nil, fmt.Errorf("%s printed more than %d bytes", s.command[0], maxSeedOutput)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %.200q", s.command[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	var all []netip.AddrPort
	var problems []error
	for word := range strings.FieldsSeq(string(out.Bytes())) {
		printed, err := parseSeed(word)
		if err == nil && printed.command != nil {
			err = fmt.Errorf("%q: a command's output is not run", word)
		}
		if err == nil {
			var found []netip.AddrPort
			found, err = printed.resolve(ctx, r)
			all = append(all, found...)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s printed %w", s.command[0], err))
		}
	}
	return all, errors.Join(problems[:min(len(problems), 8)]...)
}
