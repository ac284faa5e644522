package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// addresses are where a node listens, and where its peers reach it.
type addresses struct {
	bind, advertise netip.AddrPort
}

// candidate is an address of this host that peers might reach.
type candidate struct {
	ip        netip.Addr
	nic       string
	private   bool
	container bool // of a bridge or a virtual interface, as container runtimes make them
}

func (c candidate) String() string { return fmt.Sprintf("%v (%s)", c.ip, c.nic) }

// Check does what [Config.Validate] does, and also reads the key files and looks
// up the addresses of this host. An empty Config passes.
func (c Config) Check(ctx context.Context) error {
	return c.check(ctx, net.DefaultResolver, hostCandidates)
}

func (c Config) check(ctx context.Context, resolve Resolver, host func() ([]candidate, error)) error {
	if err := c.Validate(); err != nil || !c.Enabled() {
		return err
	}
	_, nameErr := c.nodeName()
	_, keysErr := loadKeys(c.SecretKeyFiles)
	a, err := resolveAddresses(ctx, c, resolve, host)
	if err == nil {
		allowed := &allowList{}
		allowed.set(c.prefixes())
		err = allowed.fits(a.advertise)
	}
	return errors.Join(nameErr, keysErr, err)
}

// resolveAddresses decides where to listen and what to advertise. Whatever is
// ambiguous is an error that lists the choices: a wrong guess makes a node that
// others hear of and cannot reach (alertmanager#1434, consul#1959).
func resolveAddresses(ctx context.Context, c Config, resolve Resolver, host func() ([]candidate, error)) (addresses, error) {
	var a addresses
	var err error
	if c.AdvertiseAddress != "" {
		if a.advertise, err = resolveOne(ctx, c.AdvertiseAddress, resolve); err != nil {
			return a, field("advertiseAddress", err)
		}
	}
	if c.BindAddress == "" {
		if !a.advertise.IsValid() {
			ip, err := only(host)
			if err != nil {
				return a, field("bindAddress", err)
			}
			a.advertise = netip.AddrPortFrom(ip, DefaultPort)
		}
		a.bind = a.advertise
		return a, nil
	}
	name, port, err := splitAddress(c.BindAddress)
	if err != nil {
		return a, field("bindAddress", err)
	}
	if !unspecified(name) {
		if a.bind, err = resolveOne(ctx, c.BindAddress, resolve); err != nil {
			return a, field("bindAddress", err)
		}
		if !a.advertise.IsValid() {
			a.advertise = a.bind
		}
		return a, nil
	}
	everything := netip.IPv4Unspecified()
	if strings.Contains(name, ":") {
		everything = netip.IPv6Unspecified()
	}
	a.bind = netip.AddrPortFrom(everything, port)
	if !a.advertise.IsValid() {
		ip, err := only(host)
		if err != nil {
			return a, field("advertiseAddress", fmt.Errorf("bindAddress %s is every address of this host, and %w", c.BindAddress, err))
		}
		a.advertise = netip.AddrPortFrom(ip, port)
	}
	return a, nil
}

// resolveOne returns the one address that text stands for.
func resolveOne(ctx context.Context, text string, resolve Resolver) (netip.AddrPort, error) {
	host, port, err := splitAddress(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), port), nil
	}
	found, err := resolve.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%s: %w", host, err)
	}
	var ips []string
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	if len(found) == 1 {
		return netip.AddrPortFrom(found[0], port), nil
	}
	for _, ip := range found {
		ips = append(ips, ip.String())
	}
	return netip.AddrPort{}, fmt.Errorf("%s has %d addresses: write one of %s", host, len(found), strings.Join(ips, ", "))
}

// only returns the host's one private address, not counting bridges.
func only(host func() ([]candidate, error)) (netip.Addr, error) {
	all, err := host()
	if err != nil {
		return netip.Addr{}, err
	}
	var fit []candidate
	for _, c := range all {
		if c.private && !c.container {
			fit = append(fit, c)
		}
	}
	if len(fit) == 1 {
		return fit[0].ip, nil
	}
	if len(all) == 0 {
		return netip.Addr{}, errNoAddress
	}
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.String()
	}
	return netip.Addr{}, fmt.Errorf("which of them peers should use is not clear: write one of %s", strings.Join(names, ", "))
}

// containerInterfaces are what the names of interfaces begin with that container
// runtimes and hypervisors make. Other hosts cannot reach their addresses.
var containerInterfaces = []string{"docker", "br-", "virbr", "cni", "flannel", "cali", "veth", "podman", "lxc", "lxd", "cilium", "kube-", "weave"}

// hostCandidates lists the addresses of the interfaces that are up, without
// loopback and link-local ones.
func hostCandidates() ([]candidate, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		list, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", i.Name, err)
		}
		container := slices.ContainsFunc(containerInterfaces, func(p string) bool { return strings.HasPrefix(i.Name, p) })
		for _, address := range list {
			network, ok := address.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(network.IP)
			if ip = ip.Unmap(); ip.IsGlobalUnicast() {
				all = append(all, candidate{ip, i.Name, ip.IsPrivate(), container})
			}
		}
	}
	return all, nil
}
