package archtest

// imports is the direction of imports: for each package, the packages of this
// module that its code may import. Tests may import more, see
// testImports.
//
//	cmd → daemon → config → {proxy → {balancer, auth, audit}, health, gossip, admin}
//
// The leaves know nothing of each other: what ties them are func values and
// channels, set in daemon. A new package needs a line here; so does a new edge,
// and that line is what a review looks at.
var imports = map[string][]string{
	"cmd/kuberelay": {"daemon", "config", "admin", "proxy/filter", "internal/listen", "internal/logging"},
	"daemon": {
		"config", "proxy", "proxy/filter", "proxy/static", "balancer", "health", "auth", "audit", "gossip", "admin",
		"internal/apigroups", "internal/endpoints", "internal/h1", "internal/listen", "internal/logging",
	},
	"config": {"proxy", "proxy/filter", "balancer", "health", "auth", "audit", "gossip", "admin", "internal/listen"},
	"proxy": {
		"proxy/filter", "proxy/static", "balancer", "auth", "audit",
		"internal/apigroups", "internal/h1",
	},

	"proxy/filter": {},
	"proxy/static": {},
	"balancer":     {},
	"health":       {},
	"auth":         {},
	"audit":        {},
	"gossip":       {},
	"admin":        {},

	"internal/apigroups":     {},
	"internal/archtest":      {},
	"internal/cmd/testcount": {},
	"internal/endpoints":     {},
	"internal/fakeapi":       {},
	"internal/h1":            {},
	"internal/listen":        {},
	"internal/logging":       {},
}

// testImports are the packages that any test may import besides those that
// its package may, and its own.
var testImports = []string{"internal/fakeapi"}

// A ban keeps an import out of packages that have a reason to live without it.
type ban struct {
	path   string   // what it is a prefix of, if it ends in a slash
	in     []string // packages; "..." for all
	except []string
	tests  bool // whether tests have the same reason
	why    string
}

var bans = []ban{
	{path: "net/http", in: []string{"balancer"}, why: "it is testable with a string as an upstream because it knows no HTTP"},
	{path: "net/http/httputil", in: []string{"..."}, why: "docs/adr/0002: the forward loop is our own"},
	{path: "os/signal", in: []string{"..."}, except: []string{"cmd/kuberelay"}, why: "what is below cmd can be embedded in another program"},
	{path: "github.com/stretchr/testify/", in: []string{"..."}, tests: true, why: "tests use the standard library and go-cmp"},
}

// Lines that a Go file may have. Longer ones hold two nouns.
const (
	maxLines     = 500
	maxTestLines = 800
)

// unfinished are marks that a finished tree does not have. They are spelled in
// two parts, so that this file does not have them either.
var unfinished = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "no" + "lint:"}

// foreign is a pattern of what belongs to the machine on which somebody
// worked, or to one registry of many, and not to the repository.
const foreign = `(^|[^a-zA-Z0-9._-])/(wo` + `rk|fa` + `rm)/|\.\./sha` + `red|\.libra` + `ry/|/ro` + `ot/|/tmp/k` + `r/|` +
	`proxy\.golang\.o` + `rg|deb\.debian\.o` + `rg|registry\.npmjs`
