package docs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What is wrong in a document fails: each of these is one.
func TestReaderNotices(t *testing.T) {
	if inside == nil {
		t.Skip(whyNot)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(404)
		}
		w.Write([]byte("two words\nDOWN\n"))
	}))
	defer server.Close()
	fenced := func(commands string) string { return "```sh\n" + commands + "\n```\n" }
	output := func(lines string) string { return "<!-- output -->\n```\n" + lines + "\n```\n" }
	for name, c := range map[string]struct{ text, want string }{
		"all well":                      {fenced("curl -s URL/ URL/\ncd /\ntest $PWD = /\nsleep 60 &\nX=1") + "\n" + fenced("[ $X = 1 ]"), ""},
		"as another user":               {"<!-- as: alice -->\n" + fenced(`test "$(id -un)" = alice && touch "$HOME/here"`), ""},
		"output":                        {fenced("curl -s URL/") + output("two   words\nDO…"), ""},
		"a part that is not run":        {"<!-- not run (false): it fails -->\n" + fenced("false\ntrue"), ""},
		"a file":                        {"<!-- file: /etc/kuberelay-a -->\n```yaml\na: b\n```\n<!-- append: /etc/kuberelay-a -->\n```yaml\nc: d\n```\n" + fenced(`test "$(cat /etc/kuberelay-a)" = "$(printf 'a: b\nc: d')"`), ""},
		"exit code":                     {fenced("true\nfalse"), "a.md:2: root typed:\n\tfalse\nexit code 1"},
		"no such program":               {fenced("kuberelais status"), "exit code 127"},
		"no such flag":                  {fenced("kuberelay version --wrong"), "exit code 2"},
		"an answer that refuses":        {fenced("curl -s URL/x > there"), "it is answered with HTTP 404"},
		"one of several that refuses":   {fenced("curl -s URL/ URL/x"), "it is answered with HTTP 404"},
		"a curl that is refused":        {fenced("curl -s http://127.0.0.1:1/"), "exit code 7"},
		"a daemon that ends":            {fenced("kuberelay proxy --wrong"), "it has ended, and should go on"},
		"another output":                {fenced("curl -s URL/") + output("two"), `a.md:6: the line "two" was not printed`},
		"a comment that is not kept to": {fenced("echo UP    # it is DOWN"), "there is no DOWN in what it prints"},
		"no such user":                  {"<!-- as: mallory -->\n" + fenced("true"), "there is no user mallory"},
		"an act that is not known":      {fenced("# … dance."), "the tests do not know how"},
		"a file of nobody's":            {"<!-- append: /etc/kuberelay-none -->\n```yaml\na: b\n```\n", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			bs, err := blocks("a.md", strings.ReplaceAll(c.text, "URL", server.URL))
			check(t, err)
			r := &reader{box: inside, terminals: map[string]*shell{}}
			var got error
			for _, b := range bs {
				if err := r.do(t.Context(), t, b); err != nil {
					got = fmt.Errorf("%s: %w", b, err)
					break
				}
			}
			for _, s := range r.terminals {
				check(t, s.close())
			}
			if c.want == "" && got != nil || c.want != "" && (got == nil || !strings.Contains(got.Error(), c.want)) {
				t.Errorf("the reader notices: %v, want %q", got, c.want)
			}
		})
	}
}
