package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func TestLine(t *testing.T) {
	micro := func(t time.Time) metav1.MicroTime { return metav1.NewMicroTime(t.Truncate(time.Microsecond)) }
	for name, tc := range map[string]struct {
		event *Event
		want  func(e *auditv1.Event)
	}{
		"every field has its place": {
			event: fullEvent(),
			want: func(e *auditv1.Event) {
				e.AuditID = "0b3bb1f1-6c3b-4b0e-9d4e-0c1c5ad0cb3f"
				e.Stage = auditv1.StageResponseComplete
				e.RequestURI = "/api/v1/namespaces/team-a/pods/web-0?fieldManager=kubectl&dryRun=All"
				e.Verb = "update"
				e.User.Username, e.User.UID, e.User.Groups = "alice", "1001", []string{"staff"}
				extra(&e.User.Extra, "device", "laptop")
				as := set(&e.ImpersonatedUser)
				as.Username, as.UID, as.Groups = "alice@example.org", "u-1", []string{"dev", "ops"}
				extra(&as.Extra, "scopes", "b", "a")
				extra(&as.Extra, "account", "7")
				e.SourceIPs = []string{"127.0.0.1"}
				e.UserAgent = "kubectl/v1.37.2 (linux/amd64)"
				e.ObjectRef = &auditv1.ObjectReference{
					Resource: "pods", Namespace: "team-a", Name: "web-0", Subresource: "status", APIGroup: "apps", APIVersion: "v1",
				}
				e.ResponseStatus = &metav1.Status{
					Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden, Message: `policy "read-only" does not allow update`,
				}
				e.RequestReceivedTimestamp, e.StageTimestamp = micro(received), micro(finished)
				e.Annotations = map[string]string{"kuberelay/client": "alice", "kuberelay/cluster": "prod"}
			},
		},
		"an unidentified request has an empty user": {
			event: &Event{Stage: StageResponseComplete, RequestURI: "/version", Verb: "get", Code: 401, RequestReceived: received, Timestamp: finished},
			want: func(e *auditv1.Event) {
				e.Stage, e.RequestURI, e.Verb = auditv1.StageResponseComplete, "/version", "get"
				e.ResponseStatus = &metav1.Status{Status: metav1.StatusFailure, Code: 401}
				e.RequestReceivedTimestamp, e.StageTimestamp = micro(received), micro(finished)
			},
		},
		"before the response there is no status": {
			event: &Event{Stage: StageRequestReceived, Reason: "none", Message: "none", Object: &ObjectRef{}, Impersonated: &User{}},
			want: func(e *auditv1.Event) {
				e.Stage, e.ObjectRef = auditv1.StageRequestReceived, &auditv1.ObjectReference{}
				set(&e.ImpersonatedUser)
			},
		},
		"an upgrade that was switched to is a success": {
			event: &Event{Stage: StageResponseStarted, Code: 101},
			want: func(e *auditv1.Event) {
				e.Stage, e.ResponseStatus = auditv1.StageResponseStarted, &metav1.Status{Status: metav1.StatusSuccess, Code: 101}
			},
		},
		"a time that RFC 3339 does not have is none": {
			event: &Event{RequestReceived: time.Unix(1<<40, 0), Timestamp: time.Unix(-1<<40, 0)},
			want:  func(*auditv1.Event) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := auditv1.Event{TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: "audit.k8s.io/v1"}, Level: auditv1.LevelMetadata}
			tc.want(&want)
			if diff := cmp.Diff(want, decode(t, encoded(tc.event))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// set makes *p point to a new T. The names of the types of Kubernetes' users
// are in a module that nothing else here needs.
func set[T any](p **T) *T {
	*p = new(T)
	return *p
}

// extra adds a key to a user's extra.
func extra[V ~[]string](m *map[string]V, key string, values ...string) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = values
}

// Other programs read the log too, and compare bytes: the form of times and the
// order of extra keys are part of it.
func TestBytesOfALine(t *testing.T) {
	const want = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"0b3bb1f1-6c3b-4b0e-9d4e-0c1c5ad0cb3f",` +
		`"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/team-a/pods/web-0?fieldManager=kubectl&dryRun=All","verb":"update",` +
		`"user":{"username":"alice","uid":"1001","groups":["staff"],"extra":{"device":["laptop"]}},` +
		`"impersonatedUser":{"username":"alice@example.org","uid":"u-1","groups":["dev","ops"],"extra":{"account":["7"],"scopes":["b","a"]}},` +
		`"sourceIPs":["127.0.0.1"],"userAgent":"kubectl/v1.37.2 (linux/amd64)",` +
		`"objectRef":{"resource":"pods","namespace":"team-a","name":"web-0","apiGroup":"apps","apiVersion":"v1","subresource":"status"},` +
		`"responseStatus":{"status":"Failure","message":"policy \"read-only\" does not allow update","reason":"Forbidden","code":403},` +
		`"requestReceivedTimestamp":"2026-05-04T01:02:01.123456Z","stageTimestamp":"2026-05-04T01:02:01.124956Z",` +
		`"annotations":{"kuberelay/client":"alice","kuberelay/cluster":"prod"}}` + "\n"
	if diff := cmp.Diff(want, string(encoded(fullEvent()))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestText(t *testing.T) {
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"nothing":                              {"", 20, ``},
		"what is plain stays":                  {"kubectl/v1 <&> 'x'", 40, `kubectl/v1 <&> 'x'`},
		"quotes and backslashes are escaped":   {`a"b\c`, 40, `a\"b\\c`},
		"a line stays one":                     {"a\nb\r\tc", 40, `a\nb\u000d\tc`},
		"control characters are escaped":       {"\x00\x1b[2J\x7f", 40, `\u0000\u001b[2J\u007f`},
		"so are those beyond ASCII":            {"\u009b2J", 40, `\u009b2J`},
		"line and paragraph separators too":    {"\u2028\u2029", 40, `\u2028\u2029`},
		"and marks that turn the direction":    {"a\u202eb\U000e0001", 40, `a\u202eb\udb40\udc01`},
		"letters of all scripts stay":          {"äöß 日本 😀", 40, `äöß 日本 😀`},
		"what is no UTF-8 is replaced":         {"a\xffb\xe4\xbd", 40, `a\ufffdb\ufffd\ufffd`},
		"what fits is not cut":                 {"0123456789", 15, `0123456789`},
		"what does not is":                     {"01234567890", 15, `0123456789[cut]`},
		"an escape is cut off whole":           {"01234567\x00", 15, `01234567[cut]`},
		"a rune is cut off whole":              {"012345678日", 15, `012345678[cut]`},
		"a second run is cut where it has to":  {"01234\"5678901", 15, `01234\"567[cut]`},
		"a limit that has no room holds a cut": {"0123456789", 0, `[cut]`},
	} {
		t.Run(name, func(t *testing.T) {
			var l line
			l.text(tc.in, tc.limit)
			if want := `"` + tc.want + `"`; string(l.b) != want {
				t.Errorf("text(%q) = %s, want %s", tc.in, l.b, want)
			}
		})
	}
}

// Whatever strangers send, a line stays bounded, and what identifies a request
// is not crowded out of it.
func TestLinesAreBounded(t *testing.T) {
	for name, unit := range map[string]string{"plain": "a", "quotes": `"`, "control characters": "\x00", "wide": "日", "no UTF-8": "\xff"} {
		t.Run(name, func(t *testing.T) {
			long := strings.Repeat(unit, 100_000)
			user := User{Username: long, UID: long, Extra: map[string][]string{}}
			var annotations []Annotation
			for i := range 10_000 {
				word := fmt.Sprintf("%d%.900s", i, long)
				user.Groups = append(user.Groups, word)
				user.Extra[word] = []string{word, word}
				annotations = append(annotations, Annotation{word, word})
			}
			text := encoded(&Event{
				Stage: Stage(long), AuditID: long, RequestURI: "/" + long + "?" + long + "=" + long, Verb: long,
				User: user, Impersonated: &user, SourceIP: long, UserAgent: long,
				Object: &ObjectRef{long, long, long, long, long, long},
				Code:   500, Reason: long, Message: long,
				RequestReceived: received, Timestamp: finished, Annotations: annotations,
			})
			if len(text) > maxLine {
				t.Errorf("the line has %d bytes, want at most %d", len(text), maxLine)
			}
			got := decode(t, text)
			if !strings.HasSuffix(got.UserAgent, cut) || got.User.Groups[len(got.User.Groups)-1] != cut {
				t.Errorf("what was cut does not end in %q", cut)
			}
			if got.StageTimestamp.IsZero() || got.ResponseStatus.Code != 500 {
				t.Error("the time or the code is missing")
			}
		})
	}
}

func TestManyShortItemsAreCut(t *testing.T) {
	user := User{Extra: map[string][]string{}}
	var annotations []Annotation
	for i := range 10_000 {
		key := fmt.Sprintf("%04d", i)
		user.Groups = append(user.Groups, "g")
		user.Extra[key] = nil
		annotations = append(annotations, Annotation{key, "v"})
	}
	text := encoded(&Event{AuditID: "1", User: user, Annotations: annotations})
	got := decode(t, text)
	if len(text) > maxLine {
		t.Errorf("the line has %d bytes, want at most %d", len(text), maxLine)
	}
	if _, marked := got.User.Extra[cut]; !marked || got.Annotations[cut] == "" {
		t.Error("extra or annotations do not say that they were cut")
	}
	if n := len(got.User.Groups); n < 1000 || got.User.Groups[n-1] != cut {
		t.Errorf("%d groups are left, the last one %q", n, got.User.Groups[n-1])
	}
}

func FuzzLine(f *testing.F) {
	f.Add("/api/v1/pods?watch=true", "kubectl/v1", "alice", "dev", "scopes", "no", "web-0", int32(200), int64(1_800_000_000))
	f.Add("/a\nb", "\x1b]0;\xff", "\u2028", `"`, `\`, "\r\n{}", "\x00", int32(-1), int64(-1<<40))
	f.Fuzz(func(t *testing.T, uri, agent, user, group, key, message, name string, code int32, unix int64) {
		event := &Event{
			Stage: StageResponseComplete, AuditID: key, RequestURI: uri, Verb: name,
			User:         User{Username: user, Groups: []string{group, group}},
			Impersonated: &User{UID: user, Extra: map[string][]string{key: {group, message}}},
			SourceIP:     name, UserAgent: agent, Object: &ObjectRef{Name: name, Namespace: key},
			Code: code, Reason: key, Message: message,
			RequestReceived: time.Unix(unix, 0), Timestamp: received,
			Annotations: []Annotation{{key, message}},
		}
		text := encoded(event)
		if len(text) > maxLine {
			t.Errorf("the line has %d bytes, want at most %d", len(text), maxLine)
		}
		got := decode(t, text)
		same := func(field, got, want string, limit int) {
			t.Helper()
			want = string([]rune(want)) // Each byte that is no UTF-8 is U+FFFD.
			if got == want {
				return
			}
			kept, wasCut := strings.CutSuffix(got, cut)
			if !wasCut || !strings.HasPrefix(want, kept) || 6*len(want) < limit-len(cut) {
				t.Errorf("%s = %q, want %q", field, got, want)
			}
		}
		same("user", got.User.Username, user, maxText)
		same("uid", got.ImpersonatedUser.UID, user, maxWord)
		same("user agent", got.UserAgent, agent, maxText)
		same("audit ID", string(got.AuditID), key, maxWord)
		same("verb", got.Verb, name, maxWord)
		same("name", got.ObjectRef.Name, name, maxWord)
		same("namespace", got.ObjectRef.Namespace, key, maxWord)
		for _, g := range got.User.Groups {
			same("group", g, group, maxText)
		}
		for k, values := range got.ImpersonatedUser.Extra {
			same("key", k, key, maxWord)
			same("value", values[1], message, maxText)
		}
		for k, v := range got.Annotations {
			same("annotation", k, key, maxWord)
			same("its value", v, message, maxText)
		}
		if s := got.ResponseStatus; s != nil {
			same("message", s.Message, message, maxText)
			if s.Code != code {
				t.Errorf("code = %d, want %d", s.Code, code)
			}
		}
		if !got.StageTimestamp.Time.Equal(received.Truncate(time.Microsecond)) {
			t.Errorf("time = %v, want %v", got.StageTimestamp, received)
		}
	})
}
