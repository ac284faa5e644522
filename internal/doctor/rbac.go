package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
)

// maxReviews bounds how much is asked about one credential on one cluster.
const maxReviews = 100

// use is what grants need of a credential on a cluster: that it may impersonate
// these, each with the clients that it is for.
type use struct {
	cluster string
	whom    map[attributes][]string
}

// attributes are those of a SelfSubjectAccessReview, of the verb impersonate. See
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
type attributes struct {
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name"`
}

// String says it as a person would: user alice.
func (a attributes) String() string {
	kind := strings.TrimSuffix(a.Resource, "s")
	switch a.Resource {
	case "serviceaccounts":
		return "service account " + a.Namespace + "/" + a.Name
	case "uids":
		kind = "UID"
	case "userextras":
		kind = "extra " + a.Subresource + "="
		return kind + a.Name
	}
	return kind + " " + a.Name
}

// uses are the clusters on which grants use a credential, in the order of the
// configuration.
func uses(cfg *config.Configuration, credential string) []use {
	var all []use
	for i := range cfg.Clusters {
		u := use{cluster: cfg.Clusters[i].Name, whom: make(map[attributes][]string)}
		used := false
		for j := range cfg.Clients {
			client := &cfg.Clients[j]
			for _, g := range client.Grants {
				if g.Credential == credential && g.Cluster == u.cluster {
					used = true
					u.add(client, g.Impersonate)
				}
			}
		}
		if used {
			all = append(all, u)
		}
	}
	return all
}

// add adds what one grant needs.
func (u *use) add(client *config.Client, as auth.Impersonation) {
	need := func(a attributes) {
		a.Verb = "impersonate"
		if !slices.Contains(u.whom[a], client.Name) {
			u.whom[a] = append(u.whom[a], client.Name)
		}
	}
	user := func(name string) {
		if account, ok := strings.CutPrefix(name, "system:serviceaccount:"); ok {
			if namespace, name, ok := strings.Cut(account, ":"); ok {
				need(attributes{Resource: "serviceaccounts", Namespace: namespace, Name: name})
				return
			}
		}
		need(attributes{Resource: "users", Name: name})
	}
	if as.User != "" {
		user(as.User)
	}
	for _, name := range client.AllowImpersonation.Users {
		user(name)
	}
	for _, group := range slices.Concat(as.Groups, client.AllowImpersonation.Groups) {
		need(attributes{Resource: "groups", Name: group})
	}
	if as.UID != "" {
		need(attributes{Group: "authentication.k8s.io", Resource: "uids", Name: as.UID})
	}
	for key, values := range as.Extra {
		for _, value := range values {
			need(attributes{Group: "authentication.k8s.io", Resource: "userextras", Subresource: key, Name: value})
		}
	}
}

// allowed asks a cluster whether it lets the credential do what the grants need.
func (o *opened) allowed(ctx context.Context, f *findings, s *site, lease *auth.Lease, u use) {
	name, err := s.whoami(ctx, lease)
	if errors.Is(err, errNoServer) {
		return // which was said of the cluster
	}
	if err != nil {
		f.fail("identity", "renew it, or correct which cluster it is for", "on cluster %s: %v", u.cluster, err)
		return
	}
	if name != "" {
		f.ok("identity", "cluster %s knows it as %s", u.cluster, name)
	}
	whom := slices.SortedFunc(maps.Keys(u.whom), func(a, b attributes) int { return strings.Compare(a.String(), b.String()) })
	if len(whom) == 0 {
		return
	}
	if rest := len(whom) - maxReviews; rest > 0 {
		whom = whom[:maxReviews]
		f.warn("impersonation", "kubectl auth can-i impersonate users/NAME tells of others", "only %d of %d impersonations on cluster %s are asked about", maxReviews, maxReviews+rest, u.cluster)
	}
	before := len(f.list)
	f.list = append(f.list, each(whom, func(a attributes) []Finding { return s.review(ctx, f.of, lease, a, u.whom[a]) })...)
	if len(f.list) == before {
		f.ok("impersonation", "cluster %s lets it impersonate all that grants name: %s", u.cluster, list(whom))
	}
}

// list names a few.
func list(whom []attributes) string {
	const most = 6
	var all []string
	for i, a := range whom {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(whom)-most))
			break
		}
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}

// review asks one question, and says what is wrong with the answer, if anything.
func (s *site) review(ctx context.Context, of string, lease *auth.Lease, a attributes, clients []string) []Finding {
	f := &findings{of: of}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": a},
	})
	if err != nil { // strings
		f.fail("impersonation", "report this", "%v", err)
		return f.list
	}
	answer, err := s.ask(ctx, lease, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
	var review struct {
		Kind   string `json:"kind"`
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	switch {
	case err != nil:
		f.fail("impersonation", "look at the cluster's findings", "cluster %s does not say whether it may impersonate %s: %v", s.config.Name, a, err)
	case answer.code >= 300 || json.Unmarshal(answer.body, &review) != nil || review.Kind != "SelfSubjectAccessReview":
		f.warn("impersonation", "bind it to the ClusterRole system:basic-user, so that it may ask", "cluster %s does not say whether it may impersonate %s (%d)", s.config.Name, a, answer.code)
	case !review.Status.Allowed:
		f.fail("impersonation", fmt.Sprintf("let it: kubectl create clusterrole NAME --verb=impersonate --resource=%s --resource-name=%s, and bind that to it", a.resource(), a.Name),
			"cluster %s does not let it impersonate %s, as %s %s", s.config.Name, a, strings.Join(clients, ", "), plural(len(clients), "needs", "need"))
	}
	return f.list
}

// resource is how kubectl writes it.
func (a attributes) resource() string {
	r := a.Resource
	if a.Group != "" {
		r += "." + a.Group
	}
	if a.Subresource != "" {
		r += "/" + a.Subresource
	}
	return r
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}
