package admin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// guard refuses browsers that another site sends here. A page of any site can
// reach a loopback port, but must not read the answer: neither by DNS rebinding
// (the Host is then the attacker's name) nor by a request that the browser labels
// as cross-site. It answers to IP addresses, localhost and names; who has another
// one is told advice.
func guard(names []string, advice string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !hostAllowed(r.Host, names):
			refuse(w, http.StatusMisdirectedRequest, "MisdirectedRequest", "Host",
				"the admin server answers to IP addresses, localhost and its own names only"+advice)
		case crossSite(r) && !followed(r):
			refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "CrossSite",
				"requests made by another site are refused")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// readOnly refuses every method but GET and HEAD.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "Method",
				"only GET and HEAD are served here")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostAllowed reports whether a Host cannot be an attacker's DNS name. HTTP/1.0
// probes send no Host; browsers always do.
func hostAllowed(hostport string, names []string) bool {
	if hostport == "" {
		return true
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]"), ""
	}
	if strings.Trim(port, "0123456789") != "" {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == "" // a zone may hold any character, and clients do not send it
	}
	host = cleanHost(host)
	return host == "localhost" || slices.Contains(names, host)
}

// cleanHost returns a host name in lower case, without a final dot.
func cleanHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// namesOf returns the host names of an admin server: the host of its address,
// those of hosts, and those of the machine, whose host name is given. A scrape
// goes to a machine by its name. No name of an attacker's is among them, because
// whoever set them looks after this host.
func namesOf(address, hostname string, hosts []string) []string {
	host, _, _ := net.SplitHostPort(address) // validated before
	short, _, _ := strings.Cut(hostname, ".")
	var names []string
	for _, name := range slices.Concat([]string{host, hostname, short}, hosts) {
		if name = cleanHost(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// crossSite reports whether a browser says that a request comes from another site
// (by Fetch Metadata, or by Origin if it does not send that).
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && !strings.EqualFold(origin, "http://"+r.Host)
}

// followed reports whether somebody followed a link to the status page, from a
// dashboard or a chat. The site with the link cannot read the page.
func followed(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Origin") == "" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// refuse answers with a Kubernetes Status whose causes name what refused: one for
// each of messages, or one for message if there are none.
func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, cause, message string, messages ...string) {
	if len(messages) == 0 {
		messages = []string{message}
	}
	causes := make([]metav1.StatusCause, 0, len(messages))
	for _, m := range messages {
		causes = append(causes, metav1.StatusCause{Type: metav1.CauseType(cause), Message: m})
	}
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Message:  message,
		Reason:   reason,
		Details:  &metav1.StatusDetails{Causes: causes},
		Code:     int32(code),
	})
	if err != nil { // a struct of strings and numbers
		http.Error(w, fmt.Sprintf("encode status: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
