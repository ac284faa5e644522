package gossip

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidate(t *testing.T) {
	valid := func() Config {
		return Config{
			BindAddress: "10.1.0.1:7946", NodeName: "bastion-1", Peers: []string{"10.1.0.2:7946"},
			SecretKeyFiles: []string{"/etc/kuberelay/gossip.key"}, AllowedCIDRs: []string{"10.1.0.0/24"},
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // "": valid
	}{
		"the example of the design":        {func(*Config) {}, ""},
		"nothing at all":                   {func(c *Config) { *c = Config{} }, ""},
		"a key and nothing else":           {func(c *Config) { *c = Config{SecretKeyFiles: []string{"k"}} }, ""},
		"every address":                    {func(c *Config) { c.BindAddress = "0.0.0.0:7946" }, ""},
		"every address, by port alone":     {func(c *Config) { c.BindAddress = ":7946" }, ""},
		"a host without a port":            {func(c *Config) { c.BindAddress = "10.1.0.1" }, ""},
		"IPv6 with a port":                 {func(c *Config) { c.BindAddress = "[fd00::1]:7946" }, ""},
		"IPv6 without a port":              {func(c *Config) { c.BindAddress = "fd00::1" }, ""},
		"a host name to advertise":         {func(c *Config) { c.AdvertiseAddress = "bastion-1.example.org:7946" }, ""},
		"peers of every kind":              {func(c *Config) { c.Peers = []string{"a", "a.b:1", "fd00::2", "_g._tcp.b.c", "exec:list -a"} }, ""},
		"no key":                           {func(c *Config) { c.SecretKeyFiles = nil }, "secretKeyFiles: is missing"},
		"an empty name of a key file":      {func(c *Config) { c.SecretKeyFiles = []string{""} }, `secretKeyFiles: ""`},
		"one key file twice":               {func(c *Config) { c.SecretKeyFiles = []string{"a", "a"} }, "secretKeyFiles: a: is there twice"},
		"nine keys":                        {func(c *Config) { c.SecretKeyFiles = strings.Split("abcdefghi", "") }, "secretKeyFiles: 9"},
		"a port that is none":              {func(c *Config) { c.BindAddress = "10.1.0.1:99999" }, `bindAddress: "10.1.0.1:99999"`},
		"a host that is none":              {func(c *Config) { c.BindAddress = "a b:7946" }, `bindAddress: "a b:7946"`},
		"every address advertised":         {func(c *Config) { c.AdvertiseAddress = "0.0.0.0:7946" }, "advertiseAddress:"},
		"any port advertised":              {func(c *Config) { c.AdvertiseAddress = "10.1.0.1:0" }, "advertiseAddress:"},
		"a name with a space":              {func(c *Config) { c.NodeName = "a b" }, `nodeName: "a b"`},
		"a name that is too long":          {func(c *Config) { c.NodeName = longText(maxName + 1) }, "nodeName:"},
		"a peer that is every address":     {func(c *Config) { c.Peers = []string{"a", "0.0.0.0"} }, `peers[1]: "0.0.0.0"`},
		"a peer on no port":                {func(c *Config) { c.Peers = []string{"10.1.0.2:0"} }, "peers[0]:"},
		"a command that is none":           {func(c *Config) { c.Peers = []string{"exec: "} }, "peers[0]:"},
		"an SRV record without a domain":   {func(c *Config) { c.Peers = []string{"_gossip._tcp"} }, "peers[0]:"},
		"too many peers":                   {func(c *Config) { c.Peers = strings.Split(strings.Repeat("a,", 64)+"a", ",") }, "peers: 65"},
		"a network that is none":           {func(c *Config) { c.AllowedCIDRs = []string{"10.1.0.0"} }, `allowedCIDRs[0]: "10.1.0.0"`},
		"a network with bits of a host":    {func(c *Config) { c.AllowedCIDRs = []string{"10.1.0.7/24"} }, "do you mean 10.1.0.0/24"},
		"a label that is too long":         {func(c *Config) { c.Label = longText(maxLabel + 1) }, "label:"},
		"a label with a space":             {func(c *Config) { c.Label = "a b" }, "label:"},
		"two problems, both of which told": {func(c *Config) { c.NodeName, c.Label = "a b", "a b" }, "nodeName: \"a b\": want letters, digits, dots, dashes and underscores\nlabel:"},
	} {
		t.Run(name, func(t *testing.T) {
			config := valid()
			c.change(&config)
			err := config.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(unordered(err), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// unordered puts the label's problem behind the name's.
func unordered(err error) string {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 2 && strings.HasPrefix(lines[0], "label") {
		lines[0], lines[1] = lines[1], lines[0]
	}
	return strings.Join(lines, "\n")
}

func TestEnabled(t *testing.T) {
	if (Config{}).Enabled() {
		t.Error("an empty section is on")
	}
	for _, c := range []Config{{BindAddress: "a"}, {AdvertiseAddress: "a"}, {NodeName: "a"}, {Label: "a"}, {Peers: []string{"a"}}, {SecretKeyFiles: []string{"a"}}, {AllowedCIDRs: []string{"a"}}} {
		if !c.Enabled() {
			t.Errorf("%+v is off", c)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing":            {},
		"no key":             {NodeName: "a"},
		"a missing key file": {NodeName: "a", SecretKeyFiles: []string{"/does/not/exist"}},
	} {
		if m, err := New(c, Options{}); err == nil {
			t.Errorf("%s: got %v", name, m)
		}
	}
	n := unstarted(t)
	if _, err := New(n.config, n.options); err == nil {
		t.Error("two meshes have their metrics in one registry")
	}
}

func TestAddressesAreChosenOrAskedFor(t *testing.T) {
	ip := netip.MustParseAddr
	one := []candidate{{ip("10.1.0.1"), "eth0", true, false}}
	bridge := append(slices.Clone(one), candidate{ip("172.17.0.1"), "docker0", true, true}, candidate{ip("203.0.113.9"), "eth1", false, false})
	two := append(slices.Clone(one), candidate{ip("192.168.7.1"), "eth1", true, false})
	public := []candidate{{ip("203.0.113.9"), "eth0", false, false}}
	resolver := &names{hosts: map[string][]netip.Addr{
		"one.example": {ip("10.1.0.7")}, "two.example": {ip("10.1.0.9"), ip("10.1.0.8")}, "same.example": {ip("10.1.0.7"), ip("::ffff:10.1.0.7")},
	}}
	for name, c := range map[string]struct {
		bind, advertise string
		host            []candidate
		want            string // "bind advertise", or what the error says
		fails           bool
	}{
		"one address for both":                {bind: "10.1.0.1:7000", want: "10.1.0.1:7000 10.1.0.1:7000"},
		"the default port":                    {bind: "10.1.0.1", want: "10.1.0.1:7946 10.1.0.1:7946"},
		"another address to advertise (NAT)":  {bind: "10.1.0.1:7000", advertise: "203.0.113.9:7001", want: "10.1.0.1:7000 203.0.113.9:7001"},
		"only the advertised one is bound":    {advertise: "10.1.0.1:7000", want: "10.1.0.1:7000 10.1.0.1:7000"},
		"every address, one advertised":       {bind: ":7000", advertise: "10.1.0.1:7000", host: two, want: "0.0.0.0:7000 10.1.0.1:7000"},
		"every address of IPv6":               {bind: "[::]:7000", advertise: "[fd00::1]:7000", want: "[::]:7000 [fd00::1]:7000"},
		"every address, of which there is 1":  {bind: "0.0.0.0:7000", host: one, want: "0.0.0.0:7000 10.1.0.1:7000"},
		"bridges and public ones apart":       {bind: "0.0.0.0:7000", host: bridge, want: "0.0.0.0:7000 10.1.0.1:7000"},
		"nothing is written, and there is 1":  {host: one, want: "10.1.0.1:7946 10.1.0.1:7946"},
		"every address, of which there are 2": {bind: "0.0.0.0:7000", host: two, want: "advertiseAddress: bindAddress 0.0.0.0:7000 is every address of this host, and which of them peers should use is not clear: write one of 10.1.0.1 (eth0), 192.168.1.1", fails: true},
		"nothing is written, and there are 2": {host: two, want: "bindAddress: which of them peers should use is not clear: write one of 10.1.0.1 (eth0), 192.168.7.1 (eth1)", fails: true},
		"only a public one":                   {bind: ":7946", host: public, want: "write one of 203.0.113.9 (eth0)", fails: true},
		"no address at all":                   {bind: ":7946", want: "it has none that another host could reach", fails: true},
		"a name":                              {bind: ":7000", advertise: "one.example:7000", want: "0.0.0.0:7000 10.1.0.7:7000"},
		"a name with one address twice":       {advertise: "same.example:7000", want: "10.1.0.7:7000 10.1.0.7:7000"},
		"a name with two addresses":           {advertise: "two.example:7000", want: "advertiseAddress: two.example has 2 addresses: write one of 10.1.0.8, 10.1.0.9", fails: true},
		"a name that there is not":            {bind: "none.example", want: "bindAddress: none.example: lookup none.example: no such host", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := resolveAddresses(t.Context(), Config{BindAddress: c.bind, AdvertiseAddress: c.advertise}, resolver, func() ([]candidate, error) { return c.host, nil })
			if c.fails {
				want := strings.Replace(c.want, "192.168.1.1", "192.168.7.1", 1)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
				return
			}
			if got := a.bind.String() + " " + a.advertise.String(); err != nil || got != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := resolveAddresses(t.Context(), Config{BindAddress: ":1"}, resolver, func() ([]candidate, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("interfaces that cannot be read: %v", err)
	}
}

func TestCheckFindsWhatStartWould(t *testing.T) {
	file := keyFile(t, NewKey())
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"nothing":             {Config{}, ""},
		"all is well":         {Config{BindAddress: "10.1.0.1", SecretKeyFiles: []string{file}}, ""},
		"what is not valid":   {Config{NodeName: "a"}, "secretKeyFiles: is missing"},
		"a missing key file":  {Config{BindAddress: "10.1.0.1", SecretKeyFiles: []string{file + ".gone"}}, "secretKeyFiles[0]:"},
		"an ambiguous host":   {Config{BindAddress: ":7946", SecretKeyFiles: []string{file}}, "write one of 10.1.0.1 (eth0), 10.2.0.1 (eth1)"},
		"a network elsewhere": {Config{BindAddress: "10.1.0.1", SecretKeyFiles: []string{file}, AllowedCIDRs: []string{"10.9.0.0/16"}}, "allowedCIDRs: 10.1.0.1"},
	} {
		err := c.config.check(t.Context(), refusing{}, func() ([]candidate, error) {
			return []candidate{{netip.MustParseAddr("10.1.0.1"), "eth0", true, false}, {netip.MustParseAddr("10.2.0.1"), "eth1", true, false}}, nil
		})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if err := (Config{BindAddress: "127.0.0.1", SecretKeyFiles: []string{file}, NodeName: "a"}).Check(t.Context()); err != nil {
		t.Errorf("on this host: %v", err)
	}
}

func TestTheNodesNameIsTheHostsUnlessItIsWritten(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := unstarted(t, named("")).name; got != host {
		t.Errorf("the node is %q on host %q", got, host)
	}
	if got := unstarted(t, named("bastion-1")).name; got != "bastion-1" {
		t.Errorf("the node is %q", got)
	}
}

func TestThisHostsCandidates(t *testing.T) {
	all, err := hostCandidates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if !c.ip.IsGlobalUnicast() || c.nic == "" || c.ip.Is4In6() {
			t.Errorf("candidate %v", c)
		}
	}
}

func TestIdentitiesOfUpstreams(t *testing.T) {
	const certA = "-----BEGIN CERTIFICATE-----\nMTIz\n-----END CERTIFICATE-----\n"
	const certB = "-----BEGIN CERTIFICATE-----\nNDU2\n-----END CERTIFICATE-----\n"
	id := UpstreamID("https://api.example.org:6443", []byte(certA+certB))
	for name, same := range map[string]string{
		"letter case":                    UpstreamID("HTTPS://API.example.org:6443", []byte(certA+certB)),
		"a slash at the end":             UpstreamID("https://api.example.org:6443/", []byte(certA+certB)),
		"a dot at the end":               UpstreamID("https://api.example.org.:6443", []byte(certA+certB)),
		"the order of the certificates":  UpstreamID("https://api.example.org:6443", []byte(certB+certA)),
		"text between them":              UpstreamID("https://api.example.org:6443", []byte("# A\n"+certA+"\n# B\n"+certB)),
		"a certificate that comes twice": UpstreamID("https://api.example.org:6443", []byte(certA+certB+certA)),
	} {
		if same != id {
			t.Errorf("%s makes another upstream", name)
		}
	}
	seen := map[string]string{id: "the first"}
	for name, other := range map[string]string{
		"another host":      UpstreamID("https://api2.example.org:6443", []byte(certA+certB)),
		"another port":      UpstreamID("https://api.example.org", []byte(certA+certB)),
		"another path":      UpstreamID("https://api.example.org:6443/k8s/clusters/c-1", []byte(certA+certB)),
		"another authority": UpstreamID("https://api.example.org:6443", []byte(certA)),
		"no authority":      UpstreamID("https://api.example.org:6443", nil),
		"no certificate":    UpstreamID("https://api.example.org:6443", []byte("garbage")),
		"no URL":            UpstreamID("::", nil),
		"a client":          ClientID("https://api.example.org:6443"),
	} {
		if seen[other] != "" {
			t.Errorf("%s is the same as %s", name, seen[other])
		}
		seen[other] = name
		if !validID(other) {
			t.Errorf("%s has the ID %q", name, other)
		}
	}
	if UpstreamID("https://api.example.org", nil) != UpstreamID("https://api.example.org:443", nil) {
		t.Error("the default port makes another upstream")
	}
	for _, bad := range []string{"", "0123", "0123456789ABCDEF", "0123456789abcdeg", "0123456789abcdef00"} {
		if validID(bad) {
			t.Errorf("%q is a valid ID", bad)
		}
	}
}

func TestProfilesAreComplete(t *testing.T) {
	if diff := cmp.Diff(LAN(), Profile{}.withDefaults()); diff != "" {
		t.Errorf("the zero profile is not LAN's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(quick(), quick().withDefaults()); diff != "" {
		t.Errorf("Quick leaves something out (-want +got):\n%s", diff)
	}
}

var _ Resolver = (*names)(nil)

// refusing is a resolver that must not be asked.
type refusing struct{ Resolver }

func (refusing) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("asked for an address")
}
