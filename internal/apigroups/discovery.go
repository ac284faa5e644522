package apigroups

import (
	"encoding/json"
	"errors"
	"fmt"
)

// AcceptDiscovery asks /api and /apis for aggregated discovery: v2 (Kubernetes
// 1.30 and later), else v2beta1 (1.26 and later), else the server's plain list.
const AcceptDiscovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList," +
	"application/json"

// ErrNotAggregated says that a document is JSON but no APIGroupDiscoveryList:
// the server is too old for aggregated discovery.
var ErrNotAggregated = errors.New("not an aggregated discovery document")

// maxResources bounds a table, and with it the label values a cluster can
// bring into the metrics. A cluster with 1,000 CRDs stays far below.
const maxResources = 8192

// Discovery is what a cluster's discovery documents say. It is immutable.
type Discovery struct {
	groups map[string]*group
	stale  map[string]struct{} // groups with a version that could not be refreshed
}

// discoveryList is the part of apidiscovery.k8s.io/v2 APIGroupDiscoveryList
// (v2beta1 has the same shape) that matters here.
type discoveryList struct {
	Kind  string `json:"kind"`
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Versions []struct {
			Freshness string `json:"freshness"`
			Resources []struct {
				Resource string `json:"resource"`
			} `json:"resources"`
		} `json:"versions"`
	} `json:"items"`
}

// Parse reads aggregated discovery documents, usually those of /api and /apis.
// Names that cannot be Kubernetes names are left out, and so is every resource
// beyond the 8,192nd: lookups say Other for them. The error is ErrNotAggregated
// (wrapped) for a server without aggregated discovery.
func Parse(docs ...[]byte) (*Discovery, error) {
	d := &Discovery{groups: map[string]*group{}, stale: map[string]struct{}{}}
	total := 0
	for _, doc := range docs {
		var list discoveryList
		if err := json.Unmarshal(doc, &list); err != nil {
			return nil, fmt.Errorf("parse discovery document: %w", err)
		}
		if list.Kind != "APIGroupDiscoveryList" {
			return nil, fmt.Errorf("parse discovery document of kind %.64q: %w", list.Kind, ErrNotAggregated)
		}
		for _, item := range list.Items {
			name := item.Metadata.Name
			if name != "" && !validName(name) {
				continue
			}
			g, ok := d.groups[name]
			if !ok {
				if total++; total > maxResources {
					continue
				}
				g = &group{name: name, resources: map[string]string{}}
				d.groups[name] = g
			}
			for _, v := range item.Versions {
				if v.Freshness == "Stale" {
					d.stale[name] = struct{}{}
				}
				for _, r := range v.Resources {
					if _, known := g.resources[r.Resource]; known || !validName(r.Resource) {
						continue
					}
					if total++; total > maxResources {
						continue
					}
					g.resources[r.Resource] = r.Resource
				}
			}
		}
	}
	return d, nil
}
