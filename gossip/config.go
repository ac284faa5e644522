package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// DefaultPort is the port of gossip, by UDP and TCP, where none is written. It
// is memberlist's.
const DefaultPort = 7946

// DefaultLabel is the label of a mesh where none is written.
const DefaultLabel = "kuberelay"

// Bounds on what a configuration may hold.
const (
	maxPeers   = 64 // entries; each may stand for several addresses
	maxCIDRs   = 256
	maxKeys    = 8
	maxLabel   = 32  // It is in every packet.
	maxName    = 128 // So are names.
	maxCommand = 4096
)

// Config is the gossip section. It is off as long as it is empty.
type Config struct {
	// BindAddress is host:port or host, where packets (UDP) and connections
	// (TCP) of peers are received. Default port 7946. Default host that of
	// AdvertiseAddress; an empty host with a port, 0.0.0.0 or [::] is every
	// address. With both addresses empty it is the host's private address, if
	// it has exactly one.
	BindAddress string `yaml:"bindAddress"`

	// AdvertiseAddress is host:port or host, where peers reach this node: an
	// address, or a name that stands for exactly one. Default BindAddress. It
	// must be written where that is every address, unless the host has exactly
	// one private address.
	AdvertiseAddress string `yaml:"advertiseAddress"`

	// NodeName is this node's name among its peers: at most 128 letters,
	// digits, dots, dashes and underscores. It must differ on every node, and
	// stay the same over a restart. Default the host's name.
	NodeName string `yaml:"nodeName"`

	// Peers are where others are found: host:port or host, where a host name
	// stands for all its addresses; the name of an SRV record, which begins
	// with an underscore (_gossip._tcp.example.org); or exec:COMMAND ARG…, a
	// program that is run without a shell and prints such addresses. One peer
	// that is there is enough, and the node itself may be among them. All but
	// addresses are looked up anew every ten seconds while a peer is missing,
	// and every five minutes otherwise. Without any, this node waits for
	// others.
	Peers []string `yaml:"peers"`

	// SecretKeyFiles hold one key each: 32 bytes, raw or in base64 (as
	// kuberelay gossip-key prints them). There must be at least one. The first
	// one encrypts what is sent; all of them decrypt what is received. Refused
	// are 32 printable characters, which are a passphrase, and a file
	// that group or others can read. To change the key without
	// losing a peer, add the new one as the last on every node, then make it
	// the first on every node, then remove the old one, with a reload each
	// time.
	SecretKeyFiles []string `yaml:"secretKeyFiles"`

	// AllowedCIDRs are the networks (10.1.0.0/24, fd00::/8) from which packets
	// and connections are accepted, and in which peers may be. Default all.
	AllowedCIDRs []string `yaml:"allowedCIDRs"`

	// Label keeps meshes apart that can reach each other: at most 32
	// characters, sent in the clear with every packet. Default kuberelay.
	Label string `yaml:"label"`
}

// Enabled reports whether there is a gossip section.
func (c Config) Enabled() bool {
	return c.BindAddress != "" || c.AdvertiseAddress != "" || c.NodeName != "" || c.Label != "" ||
		len(c.Peers) > 0 || len(c.SecretKeyFiles) > 0 || len(c.AllowedCIDRs) > 0
}

// Validate reports the fields that cannot be meant, joined. It reads no file,
// resolves no name and looks at no interface; [Config.Check] does. An empty
// Config is valid.
func (c Config) Validate() error {
	if !c.Enabled() {
		return nil
	}
	problems := []error{
		field("bindAddress", validateAddress(c.BindAddress, true)),
		field("advertiseAddress", validateAddress(c.AdvertiseAddress, false)),
		field("secretKeyFiles", validateKeyFiles(c.SecretKeyFiles)),
		field("label", validateLabel(c.Label)),
	}
	if c.NodeName != "" {
		problems = append(problems, field("nodeName", validateName(c.NodeName)))
	}
	if len(c.Peers) > maxPeers {
		problems = append(problems, fmt.Errorf("peers: %d: want at most %d; a host name or exec: can stand for many", len(c.Peers), maxPeers))
	}
	for i, peer := range c.Peers {
		_, err := parseSeed(peer)
		problems = append(problems, field(fmt.Sprintf("peers[%d]", i), err))
	}
	if len(c.AllowedCIDRs) > maxCIDRs {
		problems = append(problems, fmt.Errorf("allowedCIDRs: %d: want at most %d", len(c.AllowedCIDRs), maxCIDRs))
	}
	for i, cidr := range c.AllowedCIDRs {
		_, err := parseCIDR(cidr)
		problems = append(problems, field(fmt.Sprintf("allowedCIDRs[%d]", i), err))
	}
	return errors.Join(problems...)
}

func (c Config) label() string {
	if c.Label == "" {
		return DefaultLabel
	}
	return c.Label
}

func (c Config) nodeName() (string, error) {
	if c.NodeName != "" {
		return c.NodeName, nil
	}
	name, err := os.Hostname()
	if err == nil {
		err = validateName(name)
	}
	if err != nil {
		return "", fmt.Errorf("nodeName: the host's name cannot be used (%w): write one", err)
	}
	return name, nil
}

func field(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

func validateName(name string) error {
	if len(name) == 0 || len(name) > maxName {
		return fmt.Errorf("%q: want 1 to %d characters", name, maxName)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return !isNameCharacter(c) }) {
		return fmt.Errorf("%q: want letters, digits, dots, dashes and underscores", name)
	}
	return nil
}

func isNameCharacter(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

func validateLabel(label string) error {
	if len(label) > maxLabel {
		return fmt.Errorf("%q: want at most %d characters", label, maxLabel)
	}
	for _, c := range label {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%q: want visible ASCII characters", label)
		}
	}
	return nil
}

func validateKeyFiles(files []string) error {
	switch {
	case len(files) == 0:
		return errors.New("is missing: want a file with the output of kuberelay gossip-key, the same on every node")
	case len(files) > maxKeys:
		return fmt.Errorf("%d: want at most %d", len(files), maxKeys)
	}
	seen := map[string]bool{}
	for _, file := range files {
		if file == "" {
			return errors.New(`"": want the path of a file`)
		}
		if seen[file] {
			return fmt.Errorf("%s: is there twice", file)
		}
		seen[file] = true
	}
	return nil
}

// validateAddress checks the form of host:port or host. Only an address to
// listen on may be every address or any port.
func validateAddress(address string, listen bool) error {
	if address == "" {
		return nil
	}
	host, port, err := splitAddress(address)
	if err != nil {
		return err
	}
	if !listen && (port == 0 || unspecified(host)) {
		return fmt.Errorf("%q: want the one address at which peers reach this node", address)
	}
	return nil
}

// splitAddress splits host:port or host, IPv6 with or without brackets.
func splitAddress(address string) (host string, port uint16, err error) {
	if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		return ip.String(), DefaultPort, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		host, text = address, strconv.Itoa(DefaultPort)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q: want host:port, with a port from 0 to 65535", address)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !isHostName(host) {
		return "", 0, fmt.Errorf("%q: want host:port, with an IP address or a host name", address)
	}
	return host, uint16(number), nil
}

func isHostName(host string) bool {
	return host != "" && len(host) <= 253 && !strings.ContainsFunc(host, func(c rune) bool { return !isNameCharacter(c) })
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func parseCIDR(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want a network such as 10.1.0.0/24 or fd00::/8", text)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("%q: has bits beyond the prefix; do you mean %v?", text, prefix.Masked())
	}
	return prefix, nil
}

func (c Config) prefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(c.AllowedCIDRs))
	for _, text := range c.AllowedCIDRs {
		if p, err := parseCIDR(text); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}
