package doctor

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/endpoints"
)

// discovery looks for further API servers, and returns those that nothing else
// names.
func (d *doctor) discovery(ctx context.Context, f *findings, s *site, known []*server) []*server {
	if s.config.Discovery.Mode != config.DiscoverEndpoints || s.endpoint.TLS == nil || s.endpoint.TLS.InsecureSkipVerify {
		return nil
	}
	const do = "let the kubeconfig's user list endpointslices in the namespace default, or set discovery.mode to none and name all servers"
	a, err := s.ask(ctx, nil, http.MethodGet, endpoints.Path, nil)
	switch {
	case err != nil:
		f.warn("discovery", do, "the cluster's API servers are not known: %v", err)
		return nil
	case a.code != http.StatusOK:
		f.warn("discovery", do, "the cluster does not say which API servers it has (%d)", a.code)
		return nil
	}
	addresses, err := endpoints.Parse(a.body)
	if err != nil {
		f.warn("discovery", do, "%v", err)
		return nil
	}
	f.ok("discovery", "the cluster names %s: %s", count(len(addresses), "API server"), strings.Join(addresses, ", "))
	have := make(map[string]bool)
	for _, k := range known {
		have[k.id] = true
	}
	var more []*server
	for _, address := range addresses {
		if !have[address] {
			u := &url.URL{Scheme: s.endpoint.URL.Scheme, Host: address, Path: s.endpoint.URL.Path, RawPath: s.endpoint.URL.RawPath}
			more = append(more, &server{id: address, url: u, serverName: s.endpoint.URL.Hostname(), discovered: true})
		}
	}
	return more
}

// groups asks for the cluster's API groups, by which requests are counted.
func (d *doctor) groups(ctx context.Context, f *findings, s *site) {
	a, err := s.ask(ctx, nil, http.MethodGet, "/apis", nil)
	var list struct {
		Groups []struct {
			Name string `json:"name"`
		} `json:"groups"`
	}
	const do = "bind the kubeconfig's user to the ClusterRole system:discovery: without it, metrics name no groups and resources"
	switch {
	case err != nil:
		f.warn("api-groups", do, "%v", err)
	case a.code != http.StatusOK:
		f.warn("api-groups", do, "the kubeconfig's user may not ask for them (%d)", a.code)
	case json.Unmarshal(a.body, &list) != nil || len(list.Groups) == 0:
		f.warn("api-groups", "is it an API server?", "the answer to /apis is not a list of groups")
	default:
		f.ok("api-groups", "%s besides the core group", count(len(list.Groups), "group"))
	}
}
