package archtest

// imports is the direction of imports: for each package, the packages of this
// module that its code may import. Tests may import more, see
// testImports.
//
//	cmd → daemon → config → {proxy → {balancer, auth, auth/…, audit}, health, gossip, admin}
//
// The leaves know nothing of each other: what ties them are func values and
// channels, set in daemon. A new package needs a line here; so does a new edge,
// and that line is what a review looks at.
var imports = map[string][]string{
	"cmd/kuberelay": {
		"daemon", "config", "admin", "auth/identify", "gossip", "health", "proxy", "proxy/filter",
		"internal/doctor", "internal/joined", "internal/listen", "internal/logging", "internal/notify", "internal/tracing",
	},
	"daemon": {
		"config", "proxy", "proxy/filter", "proxy/static", "balancer", "health", "audit", "gossip", "admin",
		"auth", "auth/identify", "auth/limit", "auth/policy",
		"internal/apigroups", "internal/endpoints", "internal/filestate", "internal/h1", "internal/listen", "internal/logging", "internal/peer",
	},
	"config": {
		"proxy", "proxy/filter", "balancer", "health", "audit", "gossip", "admin",
		"auth", "auth/identify", "auth/limit", "auth/policy",
		"internal/joined", "internal/listen", "internal/secretfile", "internal/strict",
	},
	"proxy": {
		"proxy/filter", "proxy/static", "balancer", "audit", "auth", "auth/identify", "auth/limit", "auth/policy",
		"internal/apigroups", "internal/h1",
	},

	"proxy/filter":  {},
	"proxy/static":  {},
	"balancer":      {},
	"health":        {},
	"auth":          {"internal/filestate", "internal/headers", "internal/program"},
	"auth/identify": {"internal/headers"},
	"auth/limit":    {},
	"auth/policy":   {},
	"audit":         {},
	"gossip":        {"internal/program", "internal/secretfile"},
	"admin":         {"internal/joined"},

	"internal/apigroups":     {},
	"internal/archtest":      {},
	"internal/cmd/schemagen": {"config", "internal/strict", "audit", "auth", "auth/identify", "auth/policy"},
	"internal/cmd/testcount": {},
	"internal/doctor": {
		"config", "auth", "auth/identify", "admin", "internal/endpoints", "internal/listen", "internal/secretfile",
	},
	"internal/endpoints":   {},
	"internal/filestate":   {},
	"internal/program":     {},
	"internal/fakeapi":     {},
	"internal/fakemanager": {},
	"internal/h1":          {},
	"internal/headers":     {},
	"internal/joined":      {},
	"internal/leaktest":    {},
	"internal/listen":      {},
	"internal/logging":     {},
	"internal/notify":      {},
	"internal/peer":        {},
	"internal/secretfile":  {},
	"internal/strict":      {},
	"internal/tracing":     {},
}

// testImports are the packages that any test may import besides those that
// its package may, and its own.
var testImports = []string{"internal/fakeapi", "internal/fakemanager", "internal/leaktest"}

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

// A mark is text that the tree must not have. Marks are spelled in two parts,
// so that this file does not have them either.
type mark struct {
	text string
	// root tells that the text is an absolute path, and may be part of a
	// longer one.
	root bool
	why  string
}

var marks = []mark{
	{text: "TO" + "DO", why: "unfinished"},
	{text: "FIX" + "ME", why: "unfinished"},
	{text: "XX" + "X:", why: "unfinished"},
	{text: "//no" + "lint", why: "the linter's exceptions stand in .golangci.yml, with their reasons"},
	{text: "|| tr" + "ue", why: "a script does not ignore errors"},

	// What belongs to the machine on which somebody worked, or to one
	// registry of many.
	{text: "/wo" + "rk/", root: true, why: "a path of somebody's machine"},
	{text: "/fa" + "rm/", root: true, why: "a path of somebody's machine"},
	{text: "/ro" + "ot/", root: true, why: "a path of somebody's machine"},
	{text: "../sha" + "red", why: "a path of somebody's machine"},
	{text: ".libra" + "ry/", why: "a path of somebody's machine"},
	{text: "proxy.golang.o" + "rg", why: "the registry is the reader's choice"},
	{text: "deb.debian.o" + "rg", why: "the registry is the reader's choice"},
	{text: "registry.npm" + "js", why: "the registry is the reader's choice"},
}
